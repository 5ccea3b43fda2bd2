"""How long items took: of any number of them, in the memory of few."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from distmap.wire import BatchMeasures

_STEP: Final = math.log(1.02)
"""Times are told apart that differ by 2 percent."""
_LEAST: Final = 1e-6
_EDGES: Final = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.93, 0.96, 0.98, 0.99, 0.995, 1)
"""Shares of a batch's items, each taken as one time: what matters is how long the slow ones took."""
_SLOWEST: Final = 10
_EXACT: Final = 3
"""Of so many items, a batch's measures tell the time of each."""


@dataclass(frozen=True, order=True)
class SlowItem:
    """An item that took long."""

    seconds: float
    child: str
    """ARN of its child."""
    index: int | None = field(default=None, compare=False)
    source: str | None = field(default=None, compare=False)
    """The file it is in, where the map reads several."""
    input: str | None = field(default=None, compare=False)
    """The item as JSON text, cut off where it is long; None where it isn't known."""


@dataclass
class ItemTimes:
    """The times of items, by a factor of 1.02."""

    count: float = 0
    most: float = 0.0
    estimated: bool = False
    """Whether there were batches of more than three items: between their median, their p99 and their slowest item
    their times are spread as a log-normal distribution has them."""
    shares: int = 0
    """Items of which only their share of their child's time is known."""
    slowest: list[SlowItem] = field(default_factory=list)
    _counts: dict[int, float] = field(default_factory=dict)

    def add(self, seconds: float, weight: float = 1.0) -> None:
        """Add an item, or several that took as long."""
        self.count += weight
        self.most = max(self.most, seconds)
        number = math.floor(math.log(max(seconds, _LEAST)) / _STEP)
        self._counts[number] = self._counts.get(number, 0.0) + weight

    def add_shares(self, seconds: float, items: int) -> None:
        """Add the items of a child that says nothing of each."""
        self.shares += items
        self.add(seconds / items, items)

    def add_batch(self, measures: BatchMeasures) -> None:
        """Add the items of a batch that measured them."""
        number, median, most = measures["items"], measures["median"], measures["most"]
        self.add(most)
        if number > 1:
            self.add(median)
        if number == _EXACT:
            self.add(min(max(measures["seconds"] - median - most, 0.0), median))
        elif number > _EXACT:
            self.estimated = True
            self._spread(measures)

    def _spread(self, measures: BatchMeasures) -> None:
        """Add the items of a batch but the one at its median, and the slowest."""
        number, low = measures["items"], max(measures["median"], _LEAST)
        at = NormalDist().inv_cdf((math.ceil(number * 0.99) - 0.5) / number)
        steepness = math.log(max(measures["p99"], low) / low) / at
        for point, share in _points(number):
            self.add(min(low * math.exp(steepness * point), measures["most"]), (number - 2) * share)

    def note(self, item: SlowItem) -> None:
        """Keep an item if it is one of the slowest."""
        if len(self.slowest) < _SLOWEST:
            heapq.heappush(self.slowest, item)
        else:
            heapq.heappushpop(self.slowest, item)

    def is_slow(self, seconds: float) -> bool:
        """Whether an item would be one of the slowest so far."""
        return len(self.slowest) < _SLOWEST or seconds > self.slowest[0].seconds

    def merge(self, other: ItemTimes) -> None:
        """Add what others took."""
        self.count += other.count
        self.most = max(self.most, other.most)
        self.estimated = self.estimated or other.estimated
        self.shares += other.shares
        for number, count in other._counts.items():
            self._counts[number] = self._counts.get(number, 0.0) + count
        for item in other.slowest:
            self.note(item)

    def quantile(self, share: float) -> float | None:
        """Return the time that a share of the items took at most; None where none is known."""
        left = share * self.count
        for number in sorted(self._counts):
            left -= self._counts[number]
            if left <= self.count * 1e-9:
                return min(self.most, math.exp((number + 0.5) * _STEP))
        return self.most if self.count else None


@lru_cache(maxsize=1_024)
def _points(number: int) -> tuple[tuple[float, float], ...]:
    """Return points of a normal distribution for so many items but the slowest, and the share that each stands for."""
    below = (number - 1) / number
    return tuple((NormalDist().inv_cdf((a + b) / 2 * below), b - a) for a, b in pairwise(_EDGES))
