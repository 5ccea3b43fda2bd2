"""Warnings about one map: what it will cost and how fast it can start, as it is declared."""

from __future__ import annotations

from constructs import Construct

from cdk_distributed_map.plan import Platform, dollars_text, seconds_text, standard_children
from cdk_distributed_map.settings import checks, synthesis_warnings
from cdk_distributed_map.settings.workers import MapSettings

_LARGE_SOURCE = 10_000


def add(scope: Construct, settings: MapSettings, *, worker_seconds: float | None) -> None:
    """Add the warnings about one map."""
    _dispatch_rate(scope, settings, worker_seconds)
    synthesis_warnings.tolerance_of_zero(scope, settings.tolerated_failure_count, settings.tolerated_failure_percentage)
    count = settings.items.known_count()
    large = not settings.items.is_small and (count is None or count > _LARGE_SOURCE)
    # The items of a map that nests others can't be batched, and are few.
    if settings.batches is None and not settings.express and not settings.nests and large:
        number_of_items = "an unknown number of" if count is None else f"{count:,}"
        number, starts = (1_000_000 if count is None else count), Platform().standard_starts
        dollars = dollars_text(standard_children(number).total).removeprefix("$").removesuffix(".00")
        slow, fast = (f"{number / rate / 3600:.1f} h" for rate in (starts.low, starts.high))
        if number < starts.low * 3600:
            slow, fast = (seconds_text(number / rate) for rate in (starts.low, starts.high))
        synthesis_warnings.warn(
            scope,
            synthesis_warnings.ONE_ITEM_PER_CHILD,
            f"each of {number_of_items} items starts a Standard execution of its own: {number:,} of them cost about "
            f"{dollars} USD and take {fast} to {slow} to start, at {starts.low:,.0f} to {starts.high:,.0f} a "
            "second; give batching=Batching.automatic(), with a worker that "
            "takes batches, as process_items does",
        )
    if not settings.results.names_items:
        synthesis_warnings.warn(
            scope,
            synthesis_warnings.RESULTS_WITHOUT_ITEMS,
            f"results are exported with {settings.results.transformation}, which leaves out what the children that "
            "succeeded got, and when: only answers of process_items name their items then; what other workers answer "
            "has no index, batches of them can't be accounted for, results of foreign items aren't noticed, and the "
            "report lacks those children's times; leave transformation out, and take plain values from "
            "`distmap results` or a combine function",
        )
    if checks.is_known(settings.tolerated_failure_percentage) and settings.tolerated_failure_percentage == 100:
        synthesis_warnings.warn(
            scope,
            synthesis_warnings.ALL_FAILURES_TOLERATED,
            "tolerated_failure_percentage is 100, so a run in which every item fails succeeds",
        )


def _dispatch_rate(scope: Construct, settings: MapSettings, worker_seconds: float | None) -> None:
    if worker_seconds is None or not checks.is_known(settings.max_concurrency):
        return
    rate = Platform().express_starts.high if settings.express else Platform().standard_starts.high
    reachable = rate * worker_seconds
    if isinstance(settings.max_concurrency, int | float) and settings.max_concurrency > reachable:
        kind = "Express" if settings.express else "Standard"
        synthesis_warnings.warn(
            scope,
            synthesis_warnings.DISPATCH_RATE,
            f"max_concurrency {settings.max_concurrency:,} can't be reached: {kind} children start at up to "
            f"{rate:,.0f} a second, and even with every one of them running into the worker's timeout of "
            f"{worker_seconds:g} s at most {reachable:,.0f} run at once; lower it, or give each child more items",
        )
