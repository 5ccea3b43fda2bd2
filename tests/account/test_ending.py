"""Runs that fail, time out or are stopped: the deployed rule has them accounted for, and a redrive goes on with them.

Each row of the table in docs/account.md, what a redrive of each kind of failure does, is a test here.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.account.lab import Lab, Run

TOLERANT: dict[str, Any] = {"batch": 10, "count": 40, "percentage": 100}


def numbers(ledger: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of a ledger that aren't 0."""
    names = ("captured", "succeeded", "failed", "unprocessed", "pending", "missing", "rounds")
    return {name: ledger[name] for name in names if ledger[name]}


def attempts(run: Run) -> int:
    """Return how often any item was tried."""
    return len(run.record())


def last_metrics(run: Run) -> tuple[int, int, int]:
    """Return how often metrics were emitted, and what they said last of captured and succeeded items."""
    every = run.metrics()
    return len(every), every[-1]["ItemsCaptured"], every[-1]["ItemsSucceeded"]


def test_a_run_that_fails_before_its_items_says_so_and_a_redrive_begins_with_them(lab: Lab) -> None:
    lab.local.faults.crash = 1.0
    run = lab.run("Batched", 20, **TOLERANT)
    lab.calm()

    ledger = run.ledger()
    assert (run.execution.status, run.execution.error) == ("FAILED", "Runtime.ExitError")
    assert (ledger["captured"], ledger["capturedFrom"], ledger["complete"]) == (0, "unknown", False)
    assert "before it read an item: Runtime.ExitError" in ledger["runError"]
    assert run.failures() == []

    run.redrive().execution.check()
    assert numbers(run.ledger(redrives=1)) == {"captured": 20, "succeeded": 20}
    assert attempts(run) == 20


def test_a_run_that_is_stopped_early_goes_on_with_its_map_when_it_is_redriven(lab: Lab) -> None:
    # After 20 % of its items, which are in batches that fail as a whole, one at a time.
    run = lab.run("Ending", 200, {index: ["error"] for index in range(50)}, batch=10)

    ledger = run.ledger()
    assert (run.execution.status, run.execution.error) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    assert ledger["error"] == "States.ExceedToleratedFailureThreshold"
    assert numbers(ledger) == {"captured": 200, "failed": 50, "pending": 150}
    assert len(run.failures()) == 200
    assert last_metrics(run) == (1, 200, 0)

    run.redrive().execution.check()
    assert numbers(run.ledger(redrives=1)) == {"captured": 200, "succeeded": 200}
    assert run.failures() == []
    assert attempts(run) == 250
    assert last_metrics(run) == (2, 200, 200)


def test_a_run_that_exceeded_its_tolerance_gets_rounds_anew_when_it_is_redriven(lab: Lab) -> None:
    run = lab.run("Batched", 20, {3: ["permanent"], 4: ["error"] * 9}, batch=10, count=1, percentage=100)

    assert run.execution.error == "Distmap.ToleranceExceeded"
    assert numbers(run.ledger()) == {"captured": 20, "succeeded": 18, "failed": 2, "rounds": 2}
    assert sorted(failure["index"] for failure in run.failures()) == [3, 4]
    assert last_metrics(run) == (1, 20, 18)
    tried = attempts(run)

    run.redrive()
    assert run.execution.check().output["combined"] == {"done": [*range(4), *range(5, 20)], "not": [4]}
    assert numbers(run.ledger(redrives=1)) == {"captured": 20, "succeeded": 19, "failed": 1, "rounds": 4}
    # Those two alone, a permanent failure too: who redrives has mended something.
    assert {index for index, _ in run.record()[tried:]} == {3, 4}
    assert last_metrics(run) == (2, 20, 19)


def test_a_run_that_failed_to_combine_combines_again_when_it_is_redriven(lab: Lab) -> None:
    run = lab.start("Batched", 20, {19: ["gate"]}, **TOLERANT)
    flag = lab.folder / f"{run.block}.combine-fails"
    flag.touch()
    run.open()
    run.wait()
    assert (run.execution.status, run.execution.error) == ("FAILED", "ValueError")
    ledger = run.ledger()
    assert numbers(ledger) == {"captured": 20, "succeeded": 20}
    assert (ledger["error"], ledger["cause"] is None) == ("ValueError", False)
    assert last_metrics(run) == (1, 20, 20)
    flag.unlink()
    tried = attempts(run)

    run.redrive()
    assert run.execution.check().output["combined"] == {"done": [*range(20)]}
    assert attempts(run) == tried
    healed = run.ledger(redrives=1)
    assert (healed["status"], healed["error"], healed["chain"][0]["status"]) == ("SUCCEEDED", None, "SUCCEEDED")
    assert last_metrics(run) == (1, 20, 20)


def test_a_run_that_timed_out_in_a_wait_waits_again_when_it_is_redriven(lab: Lab) -> None:
    run = lab.run("Ending", 20, {4: ["error"]}, batch=10)

    assert run.execution.status == "TIMED_OUT"
    assert numbers(run.ledger()) == {"captured": 20, "succeeded": 19, "failed": 1}
    assert [failure["index"] for failure in run.failures()] == [4]
    assert last_metrics(run) == (1, 20, 19)


def test_a_run_that_timed_out_in_its_map_goes_on_with_it_when_it_is_redriven(lab: Lab) -> None:
    run = lab.start("Ending", 20, {0: ["gate"]}, batch=10)
    run.until(lambda: any(what == "gate" for _, what in run.record()))
    lab.workers_only()
    lab.local.faults.throttle = 1.0
    run.open()
    run.wait()
    lab.calm()

    assert run.execution.status == "TIMED_OUT"
    ledger = run.ledger()
    assert ledger["captured"] == ledger["succeeded"] + ledger["pending"] + ledger["failed"] == 20
    assert ledger["pending"] >= 10
    assert len(run.failures()) == 20 - ledger["succeeded"]

    run.redrive().execution.check()
    assert numbers(run.ledger(redrives=1)) == {"captured": 20, "succeeded": 20}


@pytest.mark.parametrize("kind", ["Batched", "Express"])
def test_a_run_that_was_stopped_goes_on_with_its_map_when_it_is_redriven(lab: Lab, kind: str) -> None:
    run = lab.start(kind, 30, {15: ["gate"]}, **TOLERANT).stop_at_gate()

    ledger = run.ledger()
    assert (run.execution.status, ledger["error"]) == ("ABORTED", "Enough")
    # Nothing is exported of it, so that nobody knows which items were done.
    assert numbers(ledger) == {"captured": 30, "pending": 30}
    assert len(run.failures()) == 30
    assert last_metrics(run) == (1, 30, 0)

    run.redrive().execution.check()
    assert numbers(run.ledger(redrives=1)) == {"captured": 30, "succeeded": 30}
    assert run.failures() == []
    assert last_metrics(run) == (2, 30, 30)


def test_a_run_that_was_stopped_in_a_round_keeps_what_came_before_it(lab: Lab) -> None:
    run = lab.start("Batched", 20, {4: ["error", "gate"]}, **TOLERANT).stop_at_gate()

    assert numbers(run.ledger()) == {"captured": 20, "succeeded": 19, "pending": 1, "rounds": 1}
    (failure,) = run.failures()
    assert (failure["index"], failure["outcome"], failure["attempt"]) == (4, "PENDING", 1)

    run.redrive().execution.check()
    assert numbers(run.ledger(redrives=1)) == {"captured": 20, "succeeded": 20, "rounds": 1}
