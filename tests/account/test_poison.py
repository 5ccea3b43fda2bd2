"""Items that take others with them: those are done all the same, and what did it is alone at last."""

from __future__ import annotations

import pytest

from tests.account.lab import Lab

MANY = 9
FOR_EVER = ["crash"] * 99


def test_an_item_that_kills_its_process_is_left_alone(lab: Lab) -> None:
    run = lab.run("Batched", 300, {150: FOR_EVER}, batch=100, count=0, percentage=0)

    ledger = run.ledger()
    assert run.execution.error == "Distmap.ToleranceExceeded"
    assert "1 of 300 items did not succeed" in str(run.execution.cause)
    assert (ledger["succeeded"], ledger["failed"]) == (299, 1)
    (failure,) = run.failures()
    assert (failure["index"], failure["error"]) == (150, "Runtime.ExitError")
    assert run.done() == set(range(300)) - {150}


def test_an_item_that_kills_its_process_is_tolerated_as_one(lab: Lab) -> None:
    run = lab.run("Batched", 300, {150: FOR_EVER}, batch=100, count=1, percentage=100)

    run.execution.check()
    assert run.execution.output["ledger"]["errors"] == [{"error": "Runtime.ExitError", "count": 1}]
    assert len(run.execution.output["combined"]["done"]) == 299


@pytest.mark.slow  # its function's timeout is one of real time
def test_an_item_that_times_out_its_batch_is_left_alone(lab: Lab) -> None:
    run = lab.run("Hasty", 20, {7: ["slow"] * MANY}, batch=20)

    ledger = run.ledger()
    assert run.execution.error == "Distmap.ToleranceExceeded"
    assert (ledger["succeeded"], ledger["failed"] + ledger["unprocessed"]) == (19, 1)
    (failure,) = run.failures()
    assert (failure["index"], failure["error"]) == (7, "Sandbox.Timedout")


def test_permanent_errors_run_once_though_others_run_again(lab: Lab) -> None:
    run = lab.run("Batched", 50, {1: ["permanent"] * MANY, 2: ["error"]}, batch=10, count=1, percentage=100)

    run.execution.check()
    tried = [index for index, _ in run.record()]
    assert (tried.count(1), tried.count(2)) == (1, 2)
    (failure,) = run.failures()
    assert (failure["index"], failure["error"], failure["cause"], failure["attempt"]) == (
        1,
        "PermanentError",
        "never",
        0,
    )


def test_single_items_that_fail_for_good_run_once_too(lab: Lab) -> None:
    run = lab.run("ExpressSingle", 5, {1: ["permanent"] * MANY, 2: ["crash"]}, count=1, percentage=100)

    run.execution.check()
    assert [index for index, _ in run.record()].count(1) == 1
    assert [failure["index"] for failure in run.failures()] == [1]


def test_errors_that_are_not_named_do_not_run_again(lab: Lab) -> None:
    run = lab.run("Express", 20, {1: ["other"], 2: ["error"]}, batch=10, count=1, percentage=100)

    run.execution.check()
    assert [failure["error"] for failure in run.failures()] == ["ValueError"]
    assert run.execution.output["ledger"]["recovered"] == 1
