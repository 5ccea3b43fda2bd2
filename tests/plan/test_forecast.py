"""What a plan says of time: published runs, what must hold of any run, and blocks against exact events."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_distributed_map.plan import (
    Forecast,
    Platform,
    Setting,
    Times,
    Work,
    cpu_share_of,
    forecast,
    make_bill,
    simulate,
)
from cdk_distributed_map.prices import Prices

LIKELY = Platform().likely()
EVERY = 10**9
PASS = Times.of(1e-5)
"""What a Pass state takes."""


# -- published runs: what was told of them, and what wasn't is said to be assumed


@pytest.mark.parametrize(
    ("work", "setting", "least", "most"),
    [
        # "7+ s" from the start of the Map Run to its end
        ({"items": 100, "times": PASS, "calls_function": False, "source": "state"}, {"express": True}, 7, 9),
        # "less than 90 seconds" of "a couple of minutes"
        (
            {"items": 1_292_954, "times": PASS, "calls_function": False, "item_bytes": 64},
            {"batch": 1_000, "concurrency": 10_000},
            60,
            90,
        ),
        # 26 s for the child alone, so with the Map Run's own seconds
        ({"items": 100, "times": Times.of(0.23), "source": "listing"}, {"batch": 100}, 26, 26 + 8.5),
        # "a little under 25 seconds"; one item took 0.23 s, or 3 s in a cold environment
        ({"items": 1_000, "times": Times.of(0.23, 3), "source": "listing"}, {"concurrency": 1_000}, 20, 25),
        # "up to 5 minutes", "more than a minute" for some of 21 children: with a minute for each, at least
        (
            {"items": 1_026, "times": Times.of(60 / 50), "source": "listing", "states": 2},
            {"batch": 50, "concurrency": 500},
            60,
            5 * 60,
        ),
    ],
    ids=["no-op", "rows", "one-child", "unbatched", "claims"],
)
def test_the_range_of_a_plan_meets_what_published_runs_took(
    work: dict[str, Any], setting: dict[str, Any], least: float, most: float
) -> None:
    found = forecast(Work(**work), Setting(**setting))

    assert found.p10 <= most
    assert found.p90 >= least


def test_a_loop_of_map_runs_pays_for_the_start_and_end_of_each() -> None:
    # 558 Map Runs took 45 to 60 minutes, 4.8 to 6.5 s each. How long a copy took wasn't told: 0.1 s is assumed.
    work: dict[str, Any] = {"items": 558_000, "times": Times.of(0.1, 0.5), "items_at_once": 40, "calls_function": False}
    setting = Setting(batch=100, express=True, concurrency=1_000)
    loop = forecast(Work(**work, source="listing", map_runs=558), setting)
    one = forecast(Work(**work, source="listing"), setting)

    assert loop.p10 <= 60 * 60
    assert loop.p90 >= 45 * 60
    assert loop.limits[0].name == "fixed seconds"
    assert one.p90 < 4 * 60


# -- what must hold


SETTINGS = st.builds(
    Setting,
    batch=st.integers(1, 500),
    express=st.booleans(),
    concurrency=st.integers(1, 2_000),
    memory_mb=st.sampled_from([128, 512, 1769, 3008]),
)
WORKS = st.builds(
    Work,
    items=st.integers(0, 20_000),
    times=st.builds(Times.of, st.floats(0.001, 0.5), st.floats(0.5, 1.0)),
    source=st.sampled_from(["state", "listing", "file", "captured"]),
    states=st.integers(1, 4),
    map_runs=st.integers(1, 4),
    retried=st.sampled_from([0.0, 0.1]),
    run_again=st.sampled_from([0.0, 0.2]),
    rounds=st.integers(0, 2),
    accounts=st.booleans(),
)


@given(work=WORKS, setting=SETTINGS, more=st.integers(1, 5_000))
def test_more_items_never_cost_less(work: Work, setting: Setting, more: int) -> None:
    larger = dataclasses.replace(work, items=work.items + more)
    before, after = (make_bill(each, setting, platform=LIKELY, price=Prices()).total for each in (work, larger))

    assert after >= before - 1e-12


@settings(max_examples=30, deadline=None)
@given(
    items=st.integers(1, 5_000),
    concurrency=st.integers(1, 500),
    more=st.integers(1, 500),
    batch=st.integers(1, 20),
    express=st.booleans(),
)
def test_a_higher_concurrency_is_never_slower(
    items: int,
    concurrency: int,
    more: int,
    batch: int,
    express: bool,  # noqa: FBT001 - drawn
) -> None:
    work = Work(items=items, times=Times.of(0.2), source="state")
    low, high = (
        simulate(
            work,
            Setting(batch=batch, express=express, concurrency=each),
            LIKELY,
            rng=Random(0),  # noqa: S311 - no secret
            most_events=EVERY,
        ).ended
        for each in (concurrency, min(1_000, concurrency + more))
    )

    # A last, smaller batch may find a cold environment where it found a warm one.
    assert high <= low + LIKELY.cold_seconds.middle


def test_cost_is_independent_of_the_seed_and_times_are_repeatable() -> None:
    work, setting = Work(items=5_000, times=Times.of(0.1, 1)), Setting(batch=10, concurrency=100)
    first, again, other = (forecast(work, setting, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.bill == other.bill
    assert first.p50 != other.p50


@pytest.mark.parametrize(
    ("setting", "times"),
    [
        ({"batch": 100, "concurrency": 1_000}, Times.of(0.05, 0.3)),
        ({"batch": 100, "concurrency": 1_000, "express": True}, Times.of(0.05, 0.3)),
        ({"batch": 100, "concurrency": 1_000, "express": True}, Times.of(0.05)),
        ({"batch": 50, "concurrency": 3_000, "express": True}, Times.of(0.05, 0.3)),
    ],
    ids=["starts", "concurrency", "constant", "throttled"],
)
def test_blocks_come_to_what_exact_events_do(setting: dict[str, Any], times: Times) -> None:
    work = Work(items=5_000_000, times=times)
    exact, blocks = (
        simulate(work, Setting(**setting), LIKELY, rng=Random(3), most_events=most)  # noqa: S311 - no secret
        for most in (EVERY, 10_000)
    )

    assert blocks.ended == pytest.approx(exact.ended, rel=0.03)


# -- what binds


@pytest.mark.parametrize(
    ("work", "setting", "name"),
    [
        ({}, {"batch": 10, "concurrency": 1_000}, "starts"),
        ({}, {"batch": 100, "concurrency": 10}, "concurrency"),
        ({"reserved": 10}, {"batch": 100, "concurrency": 1_000}, "function"),
        ({"times": Times.of(0.001), "source": "listing"}, {"batch": 1_000}, "reading"),
        ({"items": 10, "times": Times.of(0.01)}, {}, "fixed seconds"),
        ({"items": 2_000, "times": Times.of(1, 60)}, {"express": True}, "stragglers"),
        ({"states": 99}, {"batch": 10, "concurrency": 10_000}, "transitions"),
    ],
    ids=["starts", "concurrency", "function", "reading", "fixed", "stragglers", "transitions"],
)
def test_the_binding_limit_is_named(work: dict[str, Any], setting: dict[str, Any], name: str) -> None:
    whole = {"items": 200_000, "times": Times.of(0.05, 0.1), **work}
    found = forecast(Work(**whole), Setting(**setting), trials=1)

    assert found.limits[0].name == name
    assert found.limits[0].seconds > 0
    assert found.limits[0].remedy


def test_phases_add_up_to_the_time() -> None:
    found: Forecast = forecast(Work(items=50_000, times=Times.of(0.05, 0.1)), Setting(batch=10, concurrency=50))

    assert sum(found.phases.values()) == pytest.approx(found.p50)
    assert min(found.phases.values()) >= 0
    assert found.p10 <= found.p50 <= found.p90
    assert found.peak == 50


def test_a_run_of_nothing_takes_its_fixed_seconds() -> None:
    found = forecast(Work(items=0, times=Times.of(1)), Setting())

    assert 4 <= found.p50 <= 9
    assert found.children == 0


# -- what AWS would refuse or end


@pytest.mark.parametrize(
    ("work", "setting", "message"),
    [
        ({"times": Times.of(4)}, {"batch": 100, "express": True}, "Express children end after 300 s"),
        ({"times": Times.of(10)}, {"batch": 100}, "the function ends after 900 s: take fewer items a batch"),
        ({"timeout": 60}, {"batch": 100}, "the function ends after 60 s: take fewer items a batch, or give it"),
        ({"item_bytes": 300_000}, {}, "an item has 300,000 bytes, and a child takes 262,144"),
        ({"map_runs": 2_000, "map_runs_at_once": 2_000}, {}, "2,000 Map Runs would be open at once"),
        ({"map_runs": 6_000}, {}, "about 30,000 events, and AWS ends it after 25,000"),
    ],
    ids=["express", "function", "timeout", "bytes", "open", "events"],
)
def test_fails_when_aws_would_refuse_or_end_the_run(
    work: dict[str, Any], setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        forecast(Work(**{"items": 10_000, "times": Times.of(1), **work}), Setting(**setting))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Work(items=100_000_001, times=PASS), "items must be from 0 to 100,000,000"),
        (lambda: Work(items=1, times=PASS, reserved=0), "reserved must be at least 1"),
        (lambda: Work(items=1, times=PASS, retried=2), "retried must be a share from 0 to 1, got 2"),
        (lambda: Setting(concurrency=10_001), "concurrency must be from 1 to 10,000, got 10,001"),
        (lambda: Setting(memory_mb=64), "memory_mb must be from 128 to 10,240, got 64"),
        (lambda: Times.of(0), "the median must be over 0 seconds, got 0"),
        (lambda: Times.of(2, 1), "at least the median of 2 s, got 1 s"),
        (lambda: Times.measured([]), "some of at least 0 seconds, got 0 of them"),
        (lambda: Platform().changed({"row": 1}), "quotas have no 'row'"),
        (lambda: Platform().changed({"transitions": 0}), "transitions must be over 0, got 0"),
        (lambda: Platform().changed({"transitions": [1, 2]}), r"transitions must be a number over 0, got \[1, 2\]"),
        (lambda: Platform().changed({"rows": [2, 1]}), "its least and its greatest"),
    ],
    ids=[
        "items",
        "reserved",
        "share",
        "concurrency",
        "memory",
        "zero",
        "p99",
        "none",
        "quota",
        "no-rate",
        "pair",
        "order",
    ],
)
def test_fails_when_an_input_is_out_of_bounds(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_times_have_the_percentiles_they_were_given() -> None:
    times = Times.of(0.05, 0.3)

    assert times.quantile(0.5) == pytest.approx(0.05)
    assert times.quantile(0.99) == pytest.approx(0.3)
    assert Times.measured([1, 2, 3, 4]).quantile(0.99) == 4
    # A hundred in a row vary less: the mean of them is nearly the mean.
    assert times.quantile(0.99, 100) < 100 * times.mean * 1.4


def test_the_share_that_computes_is_told_by_times_at_several_sizes_of_memory() -> None:
    # 0.2 s of waiting and 0.1 s of a whole core
    seconds = {memory: 0.2 + 0.1 * 1_769 / min(memory, 1_769) for memory in (512, 3_008, 1_024)}
    share = cpu_share_of(seconds)

    assert share == pytest.approx((seconds[1_024] - 0.2) / seconds[1_024])
    work = Work(items=1, times=Times.of(seconds[1_024]), times_memory_mb=1_024, cpu_share=share)
    assert work.item_times(Setting(memory_mb=512)).mean == pytest.approx(seconds[512])
    assert cpu_share_of({512: 0.1, 1_024: 0.2}) == 0


def test_fails_when_sizes_of_memory_give_the_same_core() -> None:
    with pytest.raises(ValueError, match="two sizes of memory up to 1,769 MB, got 2048, 3008"):
        cpu_share_of({2_048: 0.1, 3_008: 0.2})


def test_fails_when_memory_is_less_than_a_process_had() -> None:
    work = Work(items=10, times=Times.of(1), used_mb=900)

    assert forecast(work, Setting(memory_mb=1_024)).children == 10
    with pytest.raises(ValueError, match="a process of the function had 900 MB, and 512 MB are given"):
        forecast(work, Setting(memory_mb=512))
