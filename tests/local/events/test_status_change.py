"""Events of executions: one for each change of status, with what AWS's have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local.events.bus import Bus
from cdk_distributed_map.local.events.status_change import detail

if TYPE_CHECKING:
    from tests.local.bench import Bench

PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
FAIL = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "No", "Cause": "as said"}}}
WAIT = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}}
MEMBERS = [
    "executionArn",
    "stateMachineArn",
    "name",
    "status",
    "startDate",
    "stopDate",
    "input",
    "output",
    "stateMachineVersionArn",
    "stateMachineAliasArn",
    "redriveCount",
    "redriveDate",
    "redriveStatus",
    "redriveStatusReason",
    "inputDetails",
    "outputDetails",
    "error",
    "cause",
]


@pytest.fixture
def told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The detail of each event, in order."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(bench.engine.services, "status_changed", lambda each: found.append(detail(each)))
    return found


def test_an_execution_that_succeeds_is_told_of_twice(bench: Bench, told: list[dict[str, Any]]) -> None:
    ended = bench.run(PASS, {"a": 1})
    running, succeeded = told
    assert list(running) == list(succeeded) == MEMBERS
    assert running == {
        "executionArn": ended["executionArn"],
        "stateMachineArn": ended["stateMachineArn"],
        "name": ended["name"],
        "status": "RUNNING",
        "startDate": pytest.approx(ended["startDate"].timestamp() * 1000, abs=1),
        "stopDate": None,
        "input": '{"a":1}',
        "output": None,
        "stateMachineVersionArn": None,
        "stateMachineAliasArn": None,
        "redriveCount": 0,
        "redriveDate": None,
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": "Execution is RUNNING and cannot be redriven",
        "inputDetails": {"included": True},
        "outputDetails": None,
        "error": None,
        "cause": None,
    }
    assert succeeded == {
        **running,
        "status": "SUCCEEDED",
        "stopDate": pytest.approx(ended["stopDate"].timestamp() * 1000, abs=1),
        "output": '{"a":1}',
        "outputDetails": {"included": True},
        "redriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
    }


def test_a_failure_says_its_error_and_a_redrive_its_number(bench: Bench, told: list[dict[str, Any]]) -> None:
    arn = bench.start(FAIL)
    bench.ended(arn)
    bench.sfn.redrive_execution(executionArn=arn)
    bench.ended(arn)
    assert [(each["status"], each["redriveCount"], each["error"], each["cause"]) for each in told] == [
        ("RUNNING", 0, None, None),
        ("FAILED", 0, "No", "as said"),
        ("RUNNING", 1, None, None),
        ("FAILED", 1, "No", "as said"),
    ]
    assert [(each["redriveStatus"], each["redriveStatusReason"]) for each in told[1::2]] == [("REDRIVABLE", None)] * 2
    assert [each["redriveDate"] is None for each in told] == [True, True, False, False]
    assert told[2]["stopDate"] is None


def test_an_execution_that_times_out_is_told_of_without_an_error(bench: Bench, told: list[dict[str, Any]]) -> None:
    bench.run({**WAIT, "TimeoutSeconds": 5})
    assert [(each["status"], each["error"], each["redriveStatus"]) for each in told] == [
        ("RUNNING", None, "NOT_REDRIVABLE"),
        ("TIMED_OUT", None, "REDRIVABLE"),
    ]


def test_an_execution_that_is_stopped_is_told_of_with_what_was_said(bench: Bench, told: list[dict[str, Any]]) -> None:
    bench.functions.handlers["held"] = lambda _: None
    asked = {"FunctionName": "held", "Payload": {"token.$": "$$.Task.Token"}}
    resource = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    task = {"Type": "Task", "Resource": resource, "Parameters": asked, "End": True}
    arn = bench.start({"StartAt": "T", "States": {"T": task}})
    bench.sfn.stop_execution(executionArn=arn, error="Enough", cause="for today")
    assert [(each["status"], each["error"], each["cause"]) for each in told] == [
        ("RUNNING", None, None),
        ("ABORTED", "Enough", "for today"),
    ]


@pytest.mark.parametrize(
    ("kibibytes", "given", "answered"),
    [(120, True, True), (125, False, True), (249, False, False)],
    ids=["both fit", "the output fits", "neither fits"],
)
def test_data_above_248_kib_is_left_out(
    bench: Bench, told: list[dict[str, Any]], kibibytes: int, *, given: bool, answered: bool
) -> None:
    bench.run(PASS, "x" * kibibytes * 1024)
    succeeded = told[-1]
    assert succeeded["inputDetails"] == {"included": given}
    assert succeeded["outputDetails"] == {"included": answered}
    assert [succeeded[name] is not None for name in ("input", "output")] == [given, answered]


def test_what_is_escaped_counts_as_it_stands_in_the_event(bench: Bench, told: list[dict[str, Any]]) -> None:
    bench.run(PASS, '"' * 50 * 1024)
    # Each quote takes two bytes as JSON, and four where that is in JSON again.
    assert [told[-1][name] for name in ("inputDetails", "outputDetails")] == [{"included": False}, {"included": True}]


@pytest.fixture
def sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that are put on a bus, in order."""
    found: list[Any] = []
    bus = Bus(bench.engine.services, found.extend, warn=pytest.fail)
    monkeypatch.setattr(bench.engine.services, "status_changed", bus.changed)
    return found


def test_events_are_put_on_the_default_bus_in_order(bench: Bench, sent: list[Any]) -> None:
    arn = bench.run(PASS)["executionArn"]
    while len(sent) < 2:
        bench.sfn.describe_execution(executionArn=arn)
    assert [json.loads(each["Detail"])["status"] for each in sent] == ["RUNNING", "SUCCEEDED"]
    assert {(each["Source"], each["DetailType"], each["EventBusName"]) for each in sent} == {
        ("aws.states", "Step Functions Execution Status Change", "default")
    }
    assert [each["Resources"] for each in sent] == [[arn], [arn]]


def test_express_executions_and_children_of_maps_send_none(bench: Bench, sent: list[Any]) -> None:
    express = bench.machine(PASS, express=True)
    bench.sfn.start_execution(stateMachineArn=express)
    bench.run(bench.mapped(), {"items": [1, 2]})
    arn = bench.run(PASS)["executionArn"]
    while not sent or sent[-1]["Resources"] != [arn] or len(sent) % 2:
        bench.sfn.describe_execution(executionArn=arn)
    assert len(sent) == 4
