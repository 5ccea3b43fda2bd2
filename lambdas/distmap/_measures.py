"""What a batch measures of its items, and in which order it takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, Final

from distmap.wire import BatchMeasures

# Those of an object in a listing of S3, as the map makes it and as our capture does: other things have sizes too.
_OF_LISTED: Final = {"Key", "LastModified", "Size"}
_OF_CAPTURED: Final = {"bucket", "etag", "key", "lastModified", "size"}


def largest_first(values: Sequence[Any]) -> Iterable[int]:
    """Return the positions of the items in the order in which they are taken.

    The largest come first where all are objects that S3 listed: one that is begun last would keep the others waiting,
    and what the deadline leaves is then small. Otherwise the order is that of the batch.
    """
    first = values[0] if values else None
    if not isinstance(first, dict):
        return range(len(values))
    name = "Size" if first.keys() >= _OF_LISTED else "size" if first.keys() >= _OF_CAPTURED else None
    if name is None:
        return range(len(values))
    sizes = [value.get(name) if isinstance(value, dict) else None for value in values]
    if not all(type(size) in (int, float) for size in sizes):
        return range(len(values))
    return sorted(range(len(values)), key=lambda position: -sizes[position])  # type: ignore[operator] # just checked


def measure(seconds: Sequence[float | None], identifiers: Sequence[str]) -> BatchMeasures | None:
    """Return what was measured of a batch's items.

    Args:
        seconds: How long each took; None for one that wasn't tried to its end.
        identifiers: Theirs.

    Returns:
        None where none was tried.
    """
    found = sorted(each for each in seconds if each is not None)
    if not found:
        return None
    measures: BatchMeasures = {
        "items": len(found),
        "seconds": rounded(sum(found)),
        "median": rounded(found[(len(found) - 1) // 2]),
        "p99": rounded(found[ceil(len(found) * 0.99) - 1]),
        "most": rounded(found[-1]),
        "slowest": identifiers[seconds.index(found[-1])],
    }
    memory = peak_memory_mb()
    if memory is not None:
        measures["memoryMB"] = memory
    return measures


def rounded(seconds: float) -> float:
    """Return a time with three digits."""
    return float(f"{seconds:.3g}")


def peak_memory_mb() -> int | None:
    """Return the most memory that this process has had since it began, in MiB; None where the system doesn't tell."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1024 * 1024 if sys.platform == "darwin" else 1024))
