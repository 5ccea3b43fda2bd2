"""The client: start a run, watch it, get its results, account for every item, run again what failed.

It knows boto3 and never the CDK, so it starts without Node. A `client` finds pipelines and runs by their names; `run`
is the facade over what one run can be asked and told to do, `start` starts one, and the folders do the work. Names are
imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import Counts, MapRun, RunDescription, RunSummary
    from cdk_distributed_map.runs.client import Client
    from cdk_distributed_map.runs.errors import (
        AmbiguousNameError,
        AwsError,
        ConnectionLostError,
        CredentialsError,
        InputError,
        MissingPackageError,
        NotFoundError,
        NotReadyError,
        ResultFilesError,
        RunFailedError,
        RunsError,
        RunStateError,
        ThrottledError,
        UnavailableItemsError,
    )
    from cdk_distributed_map.runs.ledger.nested import NestedAccount
    from cdk_distributed_map.runs.ledger.of_run import Ledger
    from cdk_distributed_map.runs.results.item_failures import Failure
    from cdk_distributed_map.runs.results.item_results import ItemResult
    from cdk_distributed_map.runs.results.tables import to_pandas, to_polars
    from cdk_distributed_map.runs.run import Pipeline, Run
    from cdk_distributed_map.runs.watch.progress import Progress

__all__ = [
    "AmbiguousNameError",
    "AwsError",
    "Client",
    "ConnectionLostError",
    "Counts",
    "CredentialsError",
    "Failure",
    "InputError",
    "ItemResult",
    "Ledger",
    "MapRun",
    "MissingPackageError",
    "NestedAccount",
    "NotFoundError",
    "NotReadyError",
    "Pipeline",
    "Progress",
    "ResultFilesError",
    "Run",
    "RunDescription",
    "RunFailedError",
    "RunStateError",
    "RunSummary",
    "RunsError",
    "ThrottledError",
    "UnavailableItemsError",
    "to_pandas",
    "to_polars",
]

_MODULES = {
    "Client": "client",
    "Counts": "aws.descriptions",
    "Failure": "results.item_failures",
    "ItemResult": "results.item_results",
    "Ledger": "ledger.of_run",
    "MapRun": "aws.descriptions",
    "NestedAccount": "ledger.nested",
    "Pipeline": "run",
    "Progress": "watch.progress",
    "Run": "run",
    "RunDescription": "aws.descriptions",
    "RunSummary": "aws.descriptions",
    "to_pandas": "results.tables",
    "to_polars": "results.tables",
}

# Hidden from type checkers, which see the imports above and still report a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - only what is used is imported

        return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
