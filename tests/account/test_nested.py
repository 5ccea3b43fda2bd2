"""Maps inside maps: what is lost in an inner one for no fault of its own is done in a round, with nobody asking."""

from __future__ import annotations

from typing import Any

from tests.account.lab import Lab, Run

FOR_EVER = ["crash"] * 99


def inner(ledger: dict[str, Any]) -> dict[str, int]:
    """Return what a ledger has of the inner map, zeros left out."""
    (nested,) = ledger["nested"]
    assert nested["problems"] == []
    names = ("mapRuns", "captured", "succeeded", "failed", "unprocessed", "pending", "missing", "duplicates")
    return {name: nested[name] for name in names if nested[name]}


def agreed(run: Run) -> dict[str, Any]:
    """Return the ledger of a run, once a recount and the metrics say the same."""
    ledger, recounted = run.ledger(), run.recount()
    assert recounted["problems"] == []
    for name in ("captured", "succeeded", "failed", "duplicates", "rounds", "recovered"):
        assert recounted[name] == ledger[name]
    assert inner(recounted) == inner(ledger)
    (metrics,) = run.metrics()
    told = [metrics[name] for name in ("ItemsCaptured", "ItemsSucceeded", "ItemsDuplicated", "Rounds")]
    assert told == [ledger[name] for name in ("captured", "succeeded", "duplicates", "rounds")]
    return ledger


def test_a_crash_in_an_inner_map_is_healed_by_a_round(lab: Lab) -> None:
    run = lab.run("Nested", 30, {13: ["crash"]})

    run.execution.check()
    ledger = agreed(run)
    assert (ledger["captured"], ledger["succeeded"], ledger["recovered"], ledger["rounds"]) == (3, 3, 1, 1)
    assert inner(ledger) == {"mapRuns": 3, "captured": 30, "succeeded": 30}
    assert run.done() == set(range(30))
    assert run.failures() == []
    # The item around it ran again as a whole, and no other.
    assert {index // 10 for index, _ in run.record() if [at for at, _ in run.record()].count(index) > 1} == {1}


def test_an_item_that_kills_its_process_is_alone_in_an_inner_map_too(lab: Lab) -> None:
    run = lab.run("Nested", 20, {13: FOR_EVER})

    run.execution.check()
    ledger = agreed(run)
    assert (ledger["succeeded"], ledger["rounds"], ledger["duplicates"]) == (2, 1, 0)
    assert inner(ledger) == {"mapRuns": 2, "captured": 20, "succeeded": 19, "failed": 1}
    (failure,) = run.failures()
    assert (failure["path"], failure["index"], failure["error"]) == ("1", 3, "Runtime.ExitError")


def test_two_that_do_are_more_than_is_tolerated(lab: Lab) -> None:
    run = lab.run("Nested", 20, {18: FOR_EVER, 19: FOR_EVER, 2: ["permanent"]})

    assert run.execution.error == "Distmap.ToleranceExceeded"
    ledger = agreed(run)
    # Two rounds in a row brought nothing.
    assert (ledger["succeeded"], ledger["failed"], ledger["rounds"]) == (1, 1, 3)
    assert [(each.get("path"), each["index"]) for each in run.failures()] == [(None, 1), ("0", 2), ("1", 8), ("1", 9)]
