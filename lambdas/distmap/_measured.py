"""What the batches of a run measured of their items, added up: see :class:`distmap.wire.BatchMeasures`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, TypeGuard

from distmap._measures import rounded
from distmap.wire import BatchMeasures

_TIMES: Final = ("seconds", "median", "p99", "most")


class Measured:
    """Adds up measures: of counts, sums and extremes exactly, of medians and percentiles by those of the batches.

    Half of the items are in batches whose median is at most the median here, and 99 in 100 are in batches whose 99th
    percentile is at most the one here. Where children get single items that is exact.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._items = 0
        self._seconds = 0.0
        self._most = -1.0
        self._slowest = ""
        self._memory: int | None = None
        # They have three digits, so that there are some thousand different ones at most.
        self._medians: Counter[float] = Counter()
        self._p99s: Counter[float] = Counter()

    def add(self, measures: Any) -> None:
        """Add those of a batch; not what isn't as this package writes it, as of a worker in another language."""
        if not is_measures(measures):
            return
        items = measures["items"]
        self._items += items
        self._seconds += measures["seconds"]
        self._medians[rounded(measures["median"])] += items
        self._p99s[rounded(measures["p99"])] += items
        if measures["most"] > self._most:
            self._most, self._slowest = float(measures["most"]), measures["slowest"]
        memory = measures.get("memoryMB")
        if type(memory) is int and memory >= 0:
            self._memory = memory if self._memory is None else max(memory, self._memory)

    def total(self) -> BatchMeasures | None:
        """Return those of all items; None where nothing was measured."""
        if not self._items:
            return None
        total: BatchMeasures = {
            "items": self._items,
            "seconds": rounded(self._seconds),
            "median": self._quantile(self._medians, 0.5),
            "p99": self._quantile(self._p99s, 0.99),
            "most": self._most,
            "slowest": self._slowest,
        }
        if self._memory is not None:
            total["memoryMB"] = self._memory
        return total

    def _quantile(self, weights: Counter[float], share: float) -> float:
        left = share * self._items
        for value in sorted(weights):
            left -= weights[value]
            if left <= 0:
                return value
        return max(weights)

    def suspend(self) -> list[Any]:
        """Return what is known, as JSON, for :meth:`resume` in another invocation."""
        weights = [sorted(each.items()) for each in (self._medians, self._p99s)]
        return [self._items, self._seconds, self._most, self._slowest, self._memory, *weights]

    def resume(self, left: list[Any]) -> None:
        """Take up what :meth:`suspend` returned."""
        self._items, self._seconds, self._most, self._slowest, self._memory, medians, p99s = left
        self._medians, self._p99s = Counter(dict(medians)), Counter(dict(p99s))


def is_measures(measures: Any) -> TypeGuard[BatchMeasures]:
    """Tell whether something is as this package writes what it measures."""
    if not isinstance(measures, Mapping) or type(measures.get("slowest")) is not str:
        return False
    items, times = measures.get("items"), [measures.get(name) for name in _TIMES]
    return type(items) is int and items > 0 and all(map(_is_time, times))


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value) and value >= 0
