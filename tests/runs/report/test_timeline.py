"""What happened over time, and how long items took."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from cdk_distributed_map.runs.report.item_times import ItemTimes
from cdk_distributed_map.runs.report.timeline import Timeline, aligned
from tests.runs.report.scene import measures


def test_concurrency_is_that_of_the_children_however_wide_the_bars_are() -> None:
    """Many short children in one bar are not at work at once."""
    busy = Timeline()
    for second in range(600):  # two at once, of a second each, for ten minutes
        for _ in range(2):
            busy.spread(1_000 + second, 1_001 + second)
    busy.spread(1_100, 1_500)
    (fine,) = busy.segments()
    (coarse,) = busy.segments(8.0)
    assert fine.levels[:100] == (2.0,) * 100
    assert fine.levels[100:500] == (3.0,) * 400
    assert coarse.levels[:12] == pytest.approx([2.0] * 12)
    assert coarse.levels[13:62] == pytest.approx([3.0] * 49)
    assert sum(coarse.levels) * 8 == pytest.approx(1_600)


def test_any_number_of_children_is_kept_in_few_buckets() -> None:
    busy = Timeline()
    for second in range(50_000):
        busy.spread(second, second + 2.5)
        busy.add(second, "succeeded", 3)
    (segment,) = busy.segments()
    assert len(segment.levels) <= 2_048
    assert segment.levels[100] == pytest.approx(2.5)
    assert sum(segment.amounts["succeeded"]) == 150_000


def test_no_time_axis_has_a_dead_gap() -> None:
    """A redrive a day later, and children that trickle in, each in a stretch of its own."""
    day = Timeline()
    for start in (0, 86_400):
        for second in range(0, 100, 10):
            day.spread(start + second, start + second + 12)
    assert [(each.start, each.end) for each in day.segments()] == [(0, 103), (86_400, 86_503)]
    long = Timeline()
    long.spread(0, 5_000)  # nothing begins or ends for long, and yet it isn't dead
    assert [(each.start, each.end) for each in long.segments()] == [(0, 5_001)]
    trickle = Timeline()
    for hour in range(2_000):
        trickle.spread(hour * 3_600, hour * 3_600 + 5)
    assert sum(len(each.levels) for each in aligned([trickle, day], most=120)[0]) <= 120


def test_times_of_small_batches_are_exact() -> None:
    times = ItemTimes()
    for batch in ([0.1], [0.2, 0.4], [0.5, 1.0, 3.0]):
        times.add_batch(measures(batch, 0))  # type: ignore[arg-type] # as a batch sends it
    assert (times.count, times.most, times.estimated) == (6, 3.0, False)
    for share, seconds in ((1 / 6, 0.1), (2 / 6, 0.2), (0.5, 0.4), (4 / 6, 0.5), (5 / 6, 1.0), (1, 3.0)):
        assert times.quantile(share) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize("size", [10, 100, 1_000])
def test_times_of_large_batches_are_near(size: int) -> None:
    """What is estimated of batches is near what single items would have told."""
    draw, times, every = random.Random(5), ItemTimes(), []  # noqa: S311 - no secret
    for _ in range(20_000 // size):
        batch = [draw.lognormvariate(math.log(0.05), 0.7) for _ in range(size)]
        every += batch
        times.add_batch(measures(batch, 0))  # type: ignore[arg-type] # likewise
    every.sort()
    assert times.estimated
    assert times.count == pytest.approx(20_000)
    for share in (0.5, 0.95, 0.99):
        assert times.quantile(share) == pytest.approx(every[int(share * 20_000) - 1], rel=0.15), share
    assert times.quantile(1.0) == every[-1] == times.most


def test_times_of_nothing_are_not_known() -> None:
    times: Any = ItemTimes()
    assert times.quantile(0.5) is None
    times.add_shares(2.0, 4)
    assert (times.count, times.shares) == (4, 4)
    assert times.quantile(0.99) == pytest.approx(0.5, rel=0.02)
