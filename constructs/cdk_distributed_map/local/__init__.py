"""The engine that runs synthesized state machines on this machine.

It reads state machines from an embedded AWS and answers the Step Functions API for their executions. What it can't
run it refuses, by field and with the remedy.
"""

from cdk_distributed_map.local.embedded.clients import EndpointClients, EndpointInvoker
from cdk_distributed_map.local.endpoints.endpoint import Endpoint
from cdk_distributed_map.local.engine import Engine
from cdk_distributed_map.local.errors import ApiError, UnsupportedError
from cdk_distributed_map.local.execution.services import (
    AllowAll,
    Answer,
    Authorizer,
    Clients,
    FunctionInvoker,
    Invocation,
    InvokeError,
)

__all__ = [
    "AllowAll",
    "Answer",
    "ApiError",
    "Authorizer",
    "Clients",
    "Endpoint",
    "EndpointClients",
    "EndpointInvoker",
    "Engine",
    "FunctionInvoker",
    "Invocation",
    "InvokeError",
    "UnsupportedError",
]
