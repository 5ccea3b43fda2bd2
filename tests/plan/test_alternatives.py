"""Other settings for the same work."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_distributed_map.plan import (
    Alternative,
    Platform,
    Setting,
    Times,
    Work,
    alternatives,
    best,
    changes,
    evaluate,
    fewer,
    pareto,
)
from cdk_distributed_map.prices import Prices

HERE: dict[str, Any] = {"platform": Platform(), "prices": Prices()}
TODAY = Setting(batch=100, concurrency=50)
BATCHES, CONCURRENCIES = (1, 10, 100, 1_000), (10, 100, 500)


def of(seconds: float, dollars: float, **setting: Any) -> Alternative:
    return Alternative(setting=Setting(**setting), seconds=seconds, dollars=dollars)


@settings(max_examples=3, deadline=None)
@given(
    items=st.integers(1_000, 20_000),
    seconds=st.floats(0.01, 0.3),
    reserved=st.sampled_from([None, 50, 500]),
    batch=st.sampled_from([1, 20, 100]),
)
def test_no_setting_of_a_grid_is_both_cheaper_and_faster(
    items: int, seconds: float, reserved: int | None, batch: int
) -> None:
    work = Work(items=items, times=Times.of(seconds), reserved=reserved)
    today = dataclasses.replace(TODAY, batch=batch)
    found = [each for each in alternatives(work, today, tune=True, **HERE) if each.is_pareto]
    grid = [
        evaluate(work, Setting(batch=size, concurrency=at_once, express=express), current=today, **HERE)
        for size in BATCHES
        for at_once in CONCURRENCIES
        for express in (False, True)
    ]

    assert found
    for each in filter(None, grid):
        better = [one for one in found if each.dollars < one.dollars * 0.99 and each.seconds < one.seconds * 0.97]
        assert better == []


def test_each_alternative_is_dearer_and_faster_than_the_one_before() -> None:
    work = Work(items=100_000, times=Times.of(0.05), reserved=50)
    found = [each for each in alternatives(work, TODAY, **HERE) if each.is_pareto]

    assert [each.dollars for each in found] == sorted(each.dollars for each in found)
    assert [each.seconds for each in found] == sorted((each.seconds for each in found), reverse=True)


def test_todays_setting_is_among_them_unless_aws_ends_it() -> None:
    work = Work(items=10_000, times=Times.of(0.05))

    assert [each for each in alternatives(work, TODAY, **HERE) if each.is_current]
    slow = dataclasses.replace(work, times=Times.of(100))
    assert not [each for each in alternatives(slow, TODAY, **HERE) if each.is_current]


def test_memory_is_tried_where_it_is_known_what_it_changes() -> None:
    work = Work(items=5_000, times=Times.of(0.05), times_memory_mb=128, cpu_share=1.0)
    tried = alternatives(work, Setting(batch=100, concurrency=50, memory_mb=128), **HERE)

    assert len({each.setting.memory_mb for each in tried}) > 1
    unknown = alternatives(dataclasses.replace(work, cpu_share=0.0), TODAY, **HERE)
    assert {each.setting.memory_mb for each in unknown} == {TODAY.memory_mb}


def test_the_best_is_by_its_objective() -> None:
    cheap, even, fast = of(100, 1.0), of(20, 1.2), of(19, 50.0)

    assert [best([fast, cheap, even], name) for name in ("cost", "time", "balanced")] == [cheap, fast, even]
    # What costs about the same is chosen by its time, and the other way around.
    assert best([of(100, 1.0), of(10, 1.001)], "cost") == of(10, 1.001)
    assert best([], "cost") is None


def test_fails_when_an_objective_is_unknown() -> None:
    with pytest.raises(ValueError, match="objective must be one of cost, time, balanced, got 'fun'"):
        best([of(1, 1)], "fun")  # type: ignore[arg-type]  # what is tested


def test_the_lines_to_change_are_those_that_differ() -> None:
    other = Setting(batch=500, express=True, concurrency=200, memory_mb=512)

    assert changes(TODAY, TODAY) == []
    assert changes(other, TODAY) == [
        "batching=Batching(max_items=500),",
        "child_type=sfn.StateMachineType.EXPRESS,",
        "max_concurrency=200,",
        "worker=Worker.python(..., memory_size=512),",
    ]


def test_few_are_shown_with_the_ends_and_todays() -> None:
    front = [of(1_000 / number, 2.0**number, batch=number) for number in range(1, 30)]
    front[4] = dataclasses.replace(front[4], is_current=True)
    shown = fewer(front)

    assert len(shown) <= 8
    assert all(each in shown for each in (front[0], front[4], front[-1]))
    # Of those that cost about the same, the fastest.
    assert fewer([of(100, 1.0), of(10, 1.001), of(5, 2.0)]) == [of(10, 1.001), of(5, 2.0)]


def test_pareto_leaves_out_what_is_dearer_and_slower() -> None:
    assert pareto([of(5, 3), of(10, 1), of(7, 2), of(8, 2), of(6, 4)]) == [of(10, 1), of(7, 2), of(5, 3)]
