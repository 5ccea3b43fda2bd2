"""What batches measured, added up over a run: exact where children get single items, by batches otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmap._measured import Measured, is_measures
from distmap._measures import measure, rounded

SECONDS = st.lists(st.floats(1e-6, 900), min_size=1, max_size=60)


def measured(batches: list[list[float]]) -> Measured:
    found, at = Measured(), 0
    for number, seconds in enumerate(batches):
        found.add(measure(seconds, [str(at + n) for n in range(len(seconds))]))
        at += len(seconds)
        if number % 7 == 3:  # another invocation goes on
            left = json.loads(json.dumps(found.suspend()))
            found = Measured()
            found.resume(left)
    return found


@given(SECONDS)
def test_of_single_items_everything_is_exact(seconds: list[float]) -> None:
    total: Any = measured([[each] for each in seconds]).total()

    expected: Any = measure(seconds, [str(n) for n in range(len(seconds))])
    for name in ("items", "median", "p99", "most", "memoryMB"):
        assert total[name] == expected[name]
    assert rounded(seconds[int(total["slowest"])]) == total["most"]
    assert total["seconds"] == pytest.approx(sum(seconds), rel=0.01)


@given(st.lists(SECONDS, min_size=1, max_size=12))
def test_of_batches_sums_and_extremes_are_exact_and_no_percentile_is_too_low(batches: list[list[float]]) -> None:
    total: Any = measured(batches).total()

    every = sorted(each for batch in batches for each in batch)
    assert (total["items"], total["most"]) == (len(every), rounded(every[-1]))
    assert min(map(min, batches)) * 0.99 <= total["median"] <= every[-1] * 1.01
    within = sum(rounded(each) <= total["p99"] for each in every)
    assert within >= 0.97 * len(every) - len(batches)  # each batch leaves out one in a hundred of its own


@pytest.mark.parametrize(
    "change",
    [
        {"items": 0},
        {"items": True},
        {"items": "3"},
        {"seconds": -1},
        {"median": float("nan")},
        {"most": None},
        {"slowest": 3},
        {"p99": "1"},
    ],
    ids=str,
)
def test_what_no_batch_of_ours_measured_is_left_out(change: dict[str, Any]) -> None:
    found = Measured()
    ours: Any = measure([1.0], ["0"])
    lacking = {key: value for key, value in ours.items() if key not in change}
    wrong: Any
    for wrong in ({**ours, **change}, None, [], "x", lacking):
        assert not is_measures(wrong)
        found.add(wrong)
    assert found.total() is None
