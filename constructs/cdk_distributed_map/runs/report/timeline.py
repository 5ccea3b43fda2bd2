"""What happened over time: sums in few buckets, whatever the length, and without the times at which nothing did."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

_BUCKETS: Final = 2_048
"""Buckets with something in them that a timeline keeps at most: then they are made twice as wide."""
_DEAD_BARS: Final = 8
"""Bars without anything that are a gap: they are left out."""


@dataclass(slots=True)
class _Bucket:
    begun: int = 0
    begun_at: float = 0.0
    """Sum of the times at which they begun."""
    ended: int = 0
    ended_at: float = 0.0
    amounts: dict[str, float] = field(default_factory=dict)

    def add(self, other: _Bucket) -> None:
        self.begun += other.begun
        self.begun_at += other.begun_at
        self.ended += other.ended
        self.ended_at += other.ended_at
        for name, amount in other.amounts.items():
            self.amounts[name] = self.amounts.get(name, 0.0) + amount


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of time in which something happened."""

    start: float
    """Seconds since the epoch."""
    width: float
    """Seconds of a bar."""
    levels: tuple[float, ...]
    """How much went on at once in each bar, in the mean."""
    amounts: dict[str, tuple[float, ...]]
    """What was added up in each bar."""

    @property
    def end(self) -> float:
        """Where it ends."""
        return self.start + self.width * len(self.levels)


class Timeline:
    """What went on at once, and what was added up, by time.

    How many went on at once is exact for any bar: of each bucket it is known how many begun and ended in it, and when
    in the mean.
    """

    def __init__(self) -> None:
        self.width = 1.0
        self._origin: float | None = None
        self._buckets: dict[int, _Bucket] = {}

    def add(self, at: float, name: str, amount: float = 1.0) -> None:
        """Add to what happened at a time, in seconds since the epoch."""
        amounts = self._bucket(at).amounts
        amounts[name] = amounts.get(name, 0.0) + amount

    def spread(self, start: float, end: float) -> None:
        """Note that something went on between two times."""
        bucket = self._bucket(start)
        bucket.begun += 1
        bucket.begun_at += start - self._known_origin
        bucket = self._bucket(max(start, end))
        bucket.ended += 1
        bucket.ended_at += max(start, end) - self._known_origin

    def __bool__(self) -> bool:
        return bool(self._buckets)

    @property
    def _known_origin(self) -> float:
        return 0.0 if self._origin is None else self._origin

    def _bucket(self, at: float) -> _Bucket:
        if self._origin is None:
            self._origin = math.floor(at)
        bucket = self._buckets.setdefault(int((at - self._origin) // self.width), _Bucket())
        if len(self._buckets) > _BUCKETS:
            self._widen()
            return self._buckets[int((at - self._origin) // self.width)]
        return bucket

    def _widen(self) -> None:
        while len(self._buckets) > _BUCKETS // 2:
            self.width *= 2
            wider: dict[int, _Bucket] = {}
            for number, bucket in self._buckets.items():
                wider.setdefault(number // 2, _Bucket()).add(bucket)
            self._buckets = wider

    def segments(self, width: float | None = None) -> list[Segment]:
        """Return the stretches in which something happened.

        Args:
            width: Seconds of a bar: the timeline's own width, twice, four times that and so on. Default: its own.
        """
        width = self.width if width is None else width
        factor = round(width / self.width)
        bars: dict[int, _Bucket] = {}
        for number, bucket in self._buckets.items():
            bars.setdefault(number // factor, _Bucket()).add(bucket)
        return [self._segment(numbers, running, bars, width) for numbers, running in _stretches(bars)]

    def _segment(self, numbers: range, running: int, bars: dict[int, _Bucket], width: float) -> Segment:
        found = [bars.get(number, _Bucket()) for number in numbers]
        levels = []
        for number, bar in zip(numbers, found, strict=True):
            end = (number + 1) * width
            # What ran all along, and of what begun and ended in the bar the time since, up to its end.
            busy = running * width + (bar.begun * end - bar.begun_at) - (bar.ended * end - bar.ended_at)
            running += bar.begun - bar.ended
            levels.append(max(0.0, busy / width))
        names = dict.fromkeys(name for bar in found for name in bar.amounts)
        return Segment(
            start=self._known_origin + numbers.start * width,
            width=width,
            levels=tuple(levels),
            amounts={name: tuple(bar.amounts.get(name, 0.0) for bar in found) for name in names},
        )


def _stretches(bars: dict[int, _Bucket]) -> Iterator[tuple[range, int]]:
    """Yield the numbers of bars that belong together, and how much is going on as the first of them begins."""
    running = before = 0
    start: int | None = None
    last = 0
    for number in sorted(bars):
        if start is None:
            start = number
        elif not running and number - last > _DEAD_BARS:
            yield range(start, last + 1), before
            start, before = number, running
        running += bars[number].begun - bars[number].ended
        last = number
    if start is not None:
        yield range(start, last + 1), before


def aligned(timelines: Sequence[Timeline], *, most: int) -> list[list[Segment]]:
    """Return the segments of some timelines in bars of the same width, which are no more than ``most`` all together."""
    width = max((each.width for each in timelines), default=1.0)
    for exponent in itertools.count():
        found = [each.segments(width * 2**exponent) for each in timelines]
        # Each timeline has a bar at least.
        if sum(len(part.levels) for parts in found for part in parts) <= max(most, len(timelines)):
            return found
    raise AssertionError  # it counts for ever
