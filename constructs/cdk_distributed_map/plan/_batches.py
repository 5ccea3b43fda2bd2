"""How many items the automatic batches of a run have."""

from __future__ import annotations

import math

from distmap import limits


def batch_size(
    items: int | None,
    *,
    concurrency: int,
    timeout: float | None = None,
    item_seconds: float | None = None,
    max_items: int | None = None,
    express: bool = False,
) -> int:
    """Return what a definition with ``Batching.automatic`` computes when a run starts.

    .. versionadded:: 0.1.0

    Args:
        items: Number of items; None where it isn't known.
        concurrency: Children that may run at once: the lesser of the map's and of what the worker reserves.
        timeout: Timeout of the worker in seconds. Default: a function's longest, 900.
        item_seconds: Seconds that an item takes. Default: unknown.
        max_items: Most items of a batch. Default: no limit of its own.
        express: Whether the children are Express executions. Default: Standard ones.

    Raises:
        ValueError: A number is out of bounds.

    Example::

        >>> batch_size(1_000_000, concurrency=100)
        200
        >>> batch_size(1_000_000, concurrency=100, item_seconds=10)
        89
    """
    seconds = limits.MAX_FUNCTION_SECONDS if timeout is None else timeout
    for name, value, least in (("items", items, 0), ("concurrency", concurrency, 1), ("max_items", max_items, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value:,}")
    if seconds <= 0 or (item_seconds is not None and item_seconds <= 0):
        raise ValueError(f"times must be over 0 seconds, got {seconds:g} and {item_seconds}")
    seconds = min(seconds, limits.MAX_EXPRESS_SECONDS) if express else seconds
    most = limits.MAX_ITEMS if max_items is None else max_items
    if max_items is None and (item_seconds is None or items is None):
        most = limits.USUAL_BATCH_ITEMS
    if item_seconds is not None or max_items is None:
        left = seconds - min(seconds * limits.WORKER_RESERVE_SHARE, limits.WORKER_RESERVE_MOST_SECONDS)
        most = min(most, math.floor(left / (limits.USUAL_ITEM_SECONDS if item_seconds is None else item_seconds)))
    if items is None:
        return max(1, most)
    rate = limits.EXPRESS_DISPATCH_PER_SECOND if express else limits.STANDARD_DISPATCH_PER_SECOND
    in_time = math.ceil(items / (rate * limits.BATCH_DISPATCH_SECONDS))
    share = max(math.ceil(items / (limits.BATCHES_AT_ONCE * concurrency)), min(items // concurrency, in_time))
    return max(1, min(most, share))
