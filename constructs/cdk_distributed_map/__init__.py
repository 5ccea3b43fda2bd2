"""Run a function over every item of a large data set on AWS Step Functions Distributed Map.

Names are imported on first use, so that the client and the command start without the CDK and without Node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdk_distributed_map._batching import Batching
    from cdk_distributed_map._captures import Capture
    from cdk_distributed_map._combine import Combiner
    from cdk_distributed_map._concurrency import ReservedConcurrency
    from cdk_distributed_map._formats import CsvDelimiter, FileFormat
    from cdk_distributed_map._observability import Alarms
    from cdk_distributed_map._pipeline import DistributedMapPipeline
    from cdk_distributed_map._results import OutputType, Results, Transformation
    from cdk_distributed_map._retry import RetryPolicy
    from cdk_distributed_map._sources import ItemSource
    from cdk_distributed_map._workers import ItemShape, Worker

__all__ = [
    "Alarms",
    "Batching",
    "Capture",
    "Combiner",
    "CsvDelimiter",
    "DistributedMapPipeline",
    "FileFormat",
    "ItemShape",
    "ItemSource",
    "OutputType",
    "ReservedConcurrency",
    "Results",
    "RetryPolicy",
    "Transformation",
    "Worker",
]

_MODULES = {
    "Alarms": "_observability",
    "Batching": "_batching",
    "Capture": "_captures",
    "Combiner": "_combine",
    "CsvDelimiter": "_formats",
    "DistributedMapPipeline": "_pipeline",
    "FileFormat": "_formats",
    "ItemShape": "_workers",
    "ItemSource": "_sources",
    "OutputType": "_results",
    "ReservedConcurrency": "_concurrency",
    "Results": "_results",
    "RetryPolicy": "_retry",
    "Transformation": "_results",
    "Worker": "_workers",
}

# Hidden from type checkers, which see the imports above and still report a misspelt name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib  # noqa: PLC0415 - only where a construct is used

        from cdk_distributed_map import _node  # noqa: PLC0415 - likewise

        _node.use_bundled_node()
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
