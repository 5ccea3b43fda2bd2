"""Run a function over every item of a large data set on AWS Step Functions Distributed Map.

Names are imported on first use, so that the client and the command start without the CDK and without Node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cdk_distributed_map.pipeline import DistributedMapPipeline
    from cdk_distributed_map.resources.functions import runtime_layer
    from cdk_distributed_map.resources.imported import ImportedPipeline
    from cdk_distributed_map.resources.nag import NagAcknowledgements
    from cdk_distributed_map.resources.observability import Alarms
    from cdk_distributed_map.settings.accounting import Accounting, Rerun
    from cdk_distributed_map.settings.batching import Batching
    from cdk_distributed_map.settings.bundling import Bundling
    from cdk_distributed_map.settings.captures import Capture
    from cdk_distributed_map.settings.combiner import Combiner
    from cdk_distributed_map.settings.concurrency import ReservedConcurrency
    from cdk_distributed_map.settings.formats import CsvDelimiter, FileFormat
    from cdk_distributed_map.settings.jobs import ItemBy
    from cdk_distributed_map.settings.overlap import Overlap
    from cdk_distributed_map.settings.results import OutputType, Results, Transformation
    from cdk_distributed_map.settings.retry import RetryPolicy
    from cdk_distributed_map.settings.sources import ItemSource
    from cdk_distributed_map.settings.workers import ItemShape, Worker

__all__ = [
    "Accounting",
    "Alarms",
    "Batching",
    "Bundling",
    "Capture",
    "Combiner",
    "CsvDelimiter",
    "DistributedMapPipeline",
    "FileFormat",
    "ImportedPipeline",
    "ItemBy",
    "ItemShape",
    "ItemSource",
    "NagAcknowledgements",
    "OutputType",
    "Overlap",
    "Rerun",
    "ReservedConcurrency",
    "Results",
    "RetryPolicy",
    "Transformation",
    "Worker",
    "runtime_layer",
]

_MODULES = {
    "Accounting": "settings.accounting",
    "Alarms": "resources.observability",
    "Batching": "settings.batching",
    "Bundling": "settings.bundling",
    "Capture": "settings.captures",
    "Combiner": "settings.combiner",
    "CsvDelimiter": "settings.formats",
    "DistributedMapPipeline": "pipeline",
    "FileFormat": "settings.formats",
    "ImportedPipeline": "resources.imported",
    "ItemBy": "settings.jobs",
    "ItemShape": "settings.workers",
    "ItemSource": "settings.sources",
    "NagAcknowledgements": "resources.nag",
    "OutputType": "settings.results",
    "Overlap": "settings.overlap",
    "Rerun": "settings.accounting",
    "ReservedConcurrency": "settings.concurrency",
    "Results": "settings.results",
    "RetryPolicy": "settings.retry",
    "Transformation": "settings.results",
    "Worker": "settings.workers",
    "runtime_layer": "resources.functions",
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
