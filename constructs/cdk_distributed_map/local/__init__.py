"""The engine that runs synthesized state machines on this machine.

It knows neither the construct nor the client. `server` starts the embedded AWS and the endpoint in front of it,
`engine` reads state machines from there and answers the Step Functions API for their executions; what it can't run it
refuses, by field and with the remedy. `deployed` is what a test gets of it, `simulation` runs a definition without AWS.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

# Where each of them is: whoever only asks whether a local AWS runs needs nothing of the engine.
_MODULES = {
    "AllowAll": "execution.services",
    "Answer": "execution.services",
    "ApiError": "errors",
    "Authorizer": "execution.services",
    "Clients": "execution.services",
    "Endpoint": "endpoints.endpoint",
    "EndpointClients": "embedded.clients",
    "EndpointInvoker": "embedded.clients",
    "Engine": "engine",
    "FunctionInvoker": "execution.services",
    "Invocation": "execution.services",
    "InvokeError": "execution.services",
    "UnsupportedError": "errors",
}

# Hidden from type checkers, which see the imports above and still report a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - only where the engine is used

        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
