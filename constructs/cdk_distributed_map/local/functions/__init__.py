"""Lambda functions, run from the code that is deployed: each concurrent execution is a process that stays warm.

It knows the embedded AWS for its functions, executions for faults, and bundles packages for this machine. `catalog`
reads what is deployed, `invoker` keeps Lambda's limits (`concurrency`) and answers as Lambda does, `pool` and `worker`
run the processes, `forks` starts them quickly, `child` is what runs in them; `simulated` takes only their time.
"""

from cdk_distributed_map.local.functions.catalog import DeployedFunctions
from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.containers import Containers
from cdk_distributed_map.local.functions.invoker import Catalog, Functions
from cdk_distributed_map.local.functions.launch import Credentials
from cdk_distributed_map.local.functions.libraries import MissingLibraryError
from cdk_distributed_map.local.functions.pythons import UnsupportedRuntimeError
from cdk_distributed_map.local.functions.results import InvokeResult, ServiceError
from cdk_distributed_map.local.functions.settings import FunctionSettings

__all__ = [
    "Catalog",
    "Containers",
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
