"""The load of one map, which the size of its automatic batches is computed from."""

from __future__ import annotations

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_distributed_map.resources import functions
from cdk_distributed_map.resources.map_resources import MapResources, WorkerResources
from cdk_distributed_map.settings import batch_size, expressions
from cdk_distributed_map.settings.batch_size import MapLoad, Term
from cdk_distributed_map.settings.readings import CapturedItems
from cdk_distributed_map.settings.workers import FunctionWorker
from distmap import limits

_UNKNOWN_SECONDS = 60
"""What the timeout of a function of another app is taken for."""


def of(scope: Construct, resources: MapResources, *, over_item_file: bool) -> MapLoad:
    """Return the load of a map.

    Args:
        scope: Where tokens are resolved.
        resources: What was made for the map.
        over_item_file: Whether it reads an item file, which the state's input tells of, and not the source itself.
    """
    settings = resources.map
    bounds = (1, limits.MAX_CONCURRENT_CHILDREN)
    allowed = expressions.number(scope, settings.max_concurrency, name="max_concurrency", bounds=bounds)
    function = resources.worker.function
    reserved = None if function is None else functions.reservation(function)
    at_most = None
    if not over_item_file and settings.items.max_items is not None:
        at_most = expressions.number(scope, settings.items.max_items, name="max_items", bounds=(1, limits.MAX_ITEMS))
    return MapLoad(
        concurrency=[batch_size.term(bound) for bound in (allowed, reserved) if bound is not None],
        count="$states.input.items.count" if over_item_file else settings.items.count(scope),
        may_lack_count=over_item_file,
        is_source=not over_item_file or isinstance(settings.items, CapturedItems),
        at_most=None if at_most is None else batch_size.term(at_most),
        seconds=_seconds(resources.worker, function, express=settings.express),
        express=settings.express,
    )


def _seconds(worker: WorkerResources, function: lambda_.IFunction | None, *, express: bool) -> Term | None:
    """Return how long a child's work may take."""
    ends: list[Term] = [limits.MAX_EXPRESS_SECONDS] if express else []
    if function is not None:
        timeout = functions.timeout(function)
        ends.append(_UNKNOWN_SECONDS if timeout is None else batch_size.term(timeout))
    if isinstance(worker.worker, FunctionWorker) and worker.worker.timeout is not None:
        ends.append(batch_size.term(worker.worker.timeout.to_seconds()))
    return batch_size.least(*ends) if ends else None
