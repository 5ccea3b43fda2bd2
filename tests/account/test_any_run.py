"""What holds for any run: everyone who counts comes to the same, and a tolerance is kept to the item."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.account.lab import Lab, Plan, Run

KINDS = {
    # Rounds for what is no fault of an item's own, and for items that failed.
    "Batched": (10, 2),
    "Single": (0, 0),
    "Express": (1, 3),
    "ExpressSingle": (3, 0),
}
FAULTS = {"throttle": 0.1, "crash": 0.05, "lost_answer": 0.05, "express_duplicate": 0.3}
COUNTS = ("captured", "succeeded", "failed", "unprocessed", "pending", "missing", "duplicates")
ACTIONS = st.sampled_from(["ok", "error", "error", "permanent", "crash"])


@st.composite
def plans(draw: st.DrawFn, items: int) -> Plan:
    """Draw what goes wrong, for some of the items."""
    if not items:
        return {}
    wrong = st.dictionaries(st.integers(0, items - 1), st.lists(ACTIONS, min_size=1, max_size=4), max_size=8)
    return draw(wrong)


def check(run: Run, *, redrives: int = 0) -> dict[str, Any]:
    """Hold everything that says what became of the items of a run against each other, and return its ledger."""
    ledger, failures = run.ledger(redrives=redrives), run.failures()
    every = set(range(run.items))
    assert (ledger["problems"], ledger["addsUp"], ledger["complete"], ledger["missing"]) == ([], True, True, 0)
    assert ledger["captured"] == run.items
    assert sum(ledger[name] for name in COUNTS[1:6]) == run.items

    left = [failure["index"] for failure in failures]
    assert len(left) == len(set(left)) == run.items - ledger["succeeded"]
    succeeded = every - set(left)
    assert succeeded <= run.done()
    outcomes = {"failed": {"FAILED", "TIMED_OUT"}, "unprocessed": {"UNPROCESSED"}, "pending": {"PENDING"}}
    for name, those in outcomes.items():
        assert sum(failure["outcome"] in those for failure in failures) == ledger[name]
    assert all(failure["item"]["from"] % 1_000_000 == failure["index"] for failure in failures)

    recount = run.recount()
    assert ledger["rounds"] or {name: recount[name] for name in COUNTS} == {name: ledger[name] for name in COUNTS}
    results = [(result.index, result.value % 1_000_000) for result in run.results()]
    assert sorted(results) == [(index, index) for index in sorted(succeeded)]
    if run.execution.status == "SUCCEEDED":
        said = run.execution.output["ledger"]
        assert {name: said[name] for name in (*COUNTS, "rounds", "recovered", "addsUp")} == {
            name: ledger[name] for name in (*COUNTS, "rounds", "recovered", "addsUp")
        }
    last = run.metrics()[-1]
    assert (last["ItemsCaptured"], last["ItemsSucceeded"]) == (run.items, ledger["succeeded"])
    return ledger


def expected(plan: Plan, kind: str) -> set[int]:
    """Return the items that can't succeed, where nothing but the plan goes wrong and no item takes others with it."""
    _, rerun = KINDS[kind]
    return {
        index
        for index, actions in plan.items()
        for at, action in [next((each for each in enumerate((*actions, "ok")) if each[1] != "error"), (0, ""))]
        if action == "permanent" or at > rerun
    }


def within(bad: int, items: int, count: float, percentage: float) -> bool:
    """Whether so many items are tolerated."""
    return bad <= count and bad * 100 <= Fraction(repr(percentage)) * items


def example(lab: Lab, kind: str, data: st.DataObject) -> None:
    """Run anything, and hold what is said of it against each other; where it failed, redrive it and look again."""
    items = data.draw(st.integers(0, 40), label="items")
    plan = data.draw(plans(items), label="plan")
    faulty = data.draw(st.booleans(), label="faulty")
    count, percentage = data.draw(st.integers(0, 10)), data.draw(st.sampled_from([0.0, 7.5, 33.3, 100]))
    for fault, share in FAULTS.items():
        lab.local.faults.set(fault, share if faulty else 0)
    try:
        run = lab.run(
            kind, items, plan, batch=data.draw(st.integers(1, 15), label="batch"), count=count, percentage=percentage
        )
        ledger = check(run)
        bad = items - ledger["succeeded"]
        tolerated = within(bad, items, count, percentage)
        assert run.execution.status == ("SUCCEEDED" if tolerated else "FAILED"), run.execution
        assert run.execution.error == (None if tolerated else "Distmap.ToleranceExceeded")
        if not faulty and not any("crash" in actions for actions in plan.values()):
            assert {failure["index"] for failure in run.failures()} == expected(plan, kind)
            assert set(range(items)) - run.done() == expected(plan, kind)
        if run.execution.status == "FAILED":
            check(run.redrive(), redrives=1)
    finally:
        lab.calm()


# Not shrunk: faults strike as they like.
FEW = settings(
    max_examples=3,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@FEW
def test_everyone_counts_the_same(lab: Lab, kind: str, data: st.DataObject) -> None:
    example(lab, kind, data)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(FEW, max_examples=25)
def test_everyone_counts_the_same_of_many_runs(lab: Lab, kind: str, data: st.DataObject) -> None:
    example(lab, kind, data)


EDGES = [
    # Of 40 items three fail, which is 7.5 %.
    ({"count": 3, "percentage": 100}, True),
    ({"count": 2, "percentage": 100}, False),
    ({"count": 40, "percentage": 7.5}, True),
    ({"count": 40, "percentage": 7.4999}, False),
    ({"count": 3, "percentage": 7.5}, True),
    ({"count": 2, "percentage": 7.5}, False),
    ({"count": 0, "percentage": 100}, False),
]
# What holds a run to its tolerance is the same for each kind of children: the second kind has one case of each answer.
TOLERANCES = [
    pytest.param(kind, *edge, id=f"{edge[0]}-{edge[1]}-{kind}", marks=pytest.mark.slow if at > 1 and number else ())
    for number, kind in enumerate(["Batched", "ExpressSingle"])
    for at, edge in enumerate(EDGES)
]


@pytest.mark.parametrize(("kind", "tolerated", "kept"), TOLERANCES)
def test_a_tolerance_is_kept_to_the_item(lab: Lab, kind: str, tolerated: dict[str, float], *, kept: bool) -> None:
    run = lab.run(kind, 40, {index: ["permanent"] for index in (0, 20, 39)}, batch=20, **tolerated)

    assert run.execution.status == ("SUCCEEDED" if kept else "FAILED"), run.execution
    assert check(run)["failed"] == 3
