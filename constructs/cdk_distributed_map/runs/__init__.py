"""The client: start a run, watch it, get its results, account for every item, run again what failed.

It knows boto3 and never the CDK, so it starts without Node. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdk_distributed_map.runs._client import Client, Pipeline
    from cdk_distributed_map.runs._described import Counts, MapRun, RunDescription, RunSummary
    from cdk_distributed_map.runs._errors import (
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
    from cdk_distributed_map.runs._ledger import Ledger
    from cdk_distributed_map.runs._nested import NestedAccount
    from cdk_distributed_map.runs._results import Failure, ItemResult
    from cdk_distributed_map.runs._run import Run
    from cdk_distributed_map.runs._tables import to_pandas, to_polars
    from cdk_distributed_map.runs._watch import Progress

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
    "Client": "_client",
    "Counts": "_described",
    "Failure": "_results",
    "ItemResult": "_results",
    "Ledger": "_ledger",
    "MapRun": "_described",
    "NestedAccount": "_nested",
    "Pipeline": "_client",
    "Progress": "_watch",
    "Run": "_run",
    "RunDescription": "_described",
    "RunSummary": "_described",
    "to_pandas": "_tables",
    "to_polars": "_tables",
}

# Hidden from type checkers, which see the imports above and still report a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - only what is used is imported

        return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, '_errors')}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
