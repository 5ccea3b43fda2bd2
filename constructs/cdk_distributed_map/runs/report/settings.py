"""The settings that a run ran with, for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.report.figures import Figures
    from cdk_distributed_map.runs.report.functions import Function

_FLOOR: Final = re.compile(r"\$floor\((\d+) / ")


def settings_of(run: RunHandle, figures: Figures, functions: Sequence[Function]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each setting that is known."""
    definition = run.pipeline.definition
    own = definition.item_file
    yield "children", "Express" if own.express else "Standard"
    each = "one item each"
    if own.batched:
        each = "batches"
        most = _most(own.max_items_per_batch)
        if most is not None:
            each += f" of up to {most}"
        if figures.children and figures.items:
            each += f", {figures.items / figures.children:,.3g} in the mean"
    yield "items in a child", each
    if figures.maps:
        first = figures.maps[0]
        yield "MaxConcurrency", f"{first.max_concurrency:,}" if first.max_concurrency else "none: 10,000 children"
        tolerated = f"{first.tolerated_failure_percentage:g}%"
        if first.tolerated_failure_count:
            tolerated += f", {first.tolerated_failure_count:,} items"
        yield "tolerated by the map", tolerated
    yield "accounts for itself", "yes" if definition.accounts else "no"
    yield "results", f"{own.transformation}, {own.output_type}, in s3://{own.results_bucket}/{run.prefix}"
    for function in functions:
        yield (
            f"function {function.name}",
            f"{function.memory_mb:,} MB, {function.timeout:g} s timeout, {function.architecture}, {function.runtime}",
        )
        yield "its log", function.log_group


def _most(given: int | str | None) -> str | None:
    """Return how many items a batch has at most, which a pipeline that has rounds works out anew for each."""
    if given is None:
        return None
    match = _FLOOR.search(str(given))
    if match is None and isinstance(given, str):
        return "as many items as the input says"
    return f"{int(given if match is None else match[1]):,} items"
