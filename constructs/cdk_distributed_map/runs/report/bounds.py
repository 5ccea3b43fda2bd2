"""Where the time of a run went, and what bound it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from distmap.limits import MAX_CONCURRENT_CHILDREN

if TYPE_CHECKING:
    from cdk_distributed_map.runs.report.figures import Figures
    from cdk_distributed_map.runs.report.timeline import Segment

_FULL: Final = 0.9
"""Share of the highest possible concurrency from which it is reached."""
_TAIL: Final = 0.5
"""Share of the peak below which the last children are alone."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A part of a run's time."""

    name: str
    seconds: float
    text: str
    remedy: str


def shares(figures: Figures) -> list[Share]:
    """Return the parts of a run's time that are known, in the order of time."""
    described = figures.described
    if described is None or not figures.maps or figures.maps[0].started is None:
        return []
    start = described.started.timestamp()
    spans = _spans(figures)
    end = max(start + described.seconds, spans[-1][1])
    waits = sum(max(0.0, after[0] - before[1]) for before, after in pairwise(spans))
    listed = [
        Share(
            name="before the map",
            seconds=max(0.0, spans[0][0] - start),
            text="capturing and reading the items",
            remedy="capture in parallel or list from an inventory, if this is long",
        ),
        *_of_maps(figures, spans),
        Share(
            name="between rounds",
            seconds=waits,
            text="accounts, and waits before what had not succeeded ran again",
            remedy="a shorter Accounting wait, or fewer rounds",
        ),
        Share(
            name="after the map",
            seconds=max(0.0, end - spans[-1][1]),
            text="export of the results, the account, and combining",
            remedy="combine less, or in the worker",
        ),
    ]
    return [each for each in listed if each.seconds > 0]


def binding(of_run: Sequence[Share]) -> Share:
    """Return what took most of the time."""
    return max(of_run, key=lambda share: share.seconds)


def _spans(figures: Figures) -> list[tuple[float, float]]:
    """Return when each Map Run began and ended."""
    last = figures.last
    spans = []
    for child in figures.maps:
        if child.started is not None:
            begun = child.started.timestamp()
            ended = child.stopped.timestamp() if child.stopped is not None else last
            spans.append((begun, max(begun, begun if ended is None else ended)))
    return spans


def _of_maps(figures: Figures, spans: list[tuple[float, float]]) -> list[Share]:
    limit = max((each.max_concurrency for each in figures.maps), default=0) or MAX_CONCURRENT_CHILDREN
    whole = sum(end - begin for begin, end in spans)
    if not figures.timeline:
        text = "the map; when its children ran isn't known"
        return [Share(name="the map", seconds=whole, text=text, remedy="export with Transformation.NONE to see more")]
    ramp = full = steady = tail = 0.0
    segments = figures.timeline.segments()
    peak = max(level for segment in segments for level in segment.levels)
    for segment in segments:
        one = _of_segment(segment, peak=peak, limit=limit)
        ramp, full, steady, tail = ramp + one[0], full + one[1], steady + one[2], tail + one[3]
    # Buckets reach beyond the children in them.
    scale = min(1.0, whole / max(ramp + full + steady + tail, 1e-9))
    throttled = figures.retries.throttled
    low = f"{peak:,.0f} of {limit:,} children at a time at most"
    why = "the worker was throttled" if throttled else "the map had no more children, or they began one after the other"
    more = "raise the worker's concurrency" if throttled else "smaller batches give more children to run at a time"
    return [
        Share(
            name="ramp",
            seconds=ramp * scale,
            text=f"until half as many children ran as at the peak, {peak:,.0f}",
            remedy="larger batches",
        ),
        Share(
            name="at MaxConcurrency",
            seconds=full * scale,
            text=f"{limit:,} children at a time, as many as MaxConcurrency allows",
            remedy="raise max_concurrency, if what the worker calls bears it",
        ),
        Share(name="below MaxConcurrency", seconds=steady * scale, text=f"{low}: {why}", remedy=more),
        Share(
            name="last children",
            seconds=tail * scale,
            text="fewer than half as many children ran as at the peak: the slowest ones held the rest up",
            remedy="smaller batches, or the largest items first",
        ),
        Share(
            name="without children",
            seconds=max(0.0, whole - (ramp + full + steady + tail) * scale),
            text="the map ran, and none of its children did: it was starting, or exporting",
            remedy="",
        ),
    ]


def _of_segment(segment: Segment, *, peak: float, limit: int) -> tuple[float, float, float, float]:
    """Return the seconds of ramp, at the limit, below it, and of the last children."""
    levels = segment.levels
    high = [number for number, level in enumerate(levels) if level >= peak * _TAIL]
    if not high:
        return 0.0, 0.0, 0.0, segment.width * len(levels)
    middle = levels[high[0] : high[-1] + 1]
    full = sum(level >= limit * _FULL for level in middle)
    width = segment.width
    return high[0] * width, full * width, (len(middle) - full) * width, (len(levels) - 1 - high[-1]) * width
