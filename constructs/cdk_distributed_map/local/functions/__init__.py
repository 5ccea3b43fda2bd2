"""Lambda functions, run from the code that is deployed: each concurrent execution is a process that stays warm."""

from cdk_distributed_map.local.functions._catalog import DeployedFunctions
from cdk_distributed_map.local.functions._config import FunctionConfig
from cdk_distributed_map.local.functions._invoker import Catalog, Functions
from cdk_distributed_map.local.functions._launch import Credentials
from cdk_distributed_map.local.functions._libraries import MissingLibraryError
from cdk_distributed_map.local.functions._pythons import UnsupportedRuntimeError
from cdk_distributed_map.local.functions._results import InvokeResult, ServiceError
from cdk_distributed_map.local.functions._settings import FunctionSettings

__all__ = [
    "Catalog",
    "Credentials",
    "DeployedFunctions",
    "FunctionConfig",
    "FunctionSettings",
    "Functions",
    "InvokeResult",
    "MissingLibraryError",
    "ServiceError",
    "UnsupportedRuntimeError",
]
