"""Tasks that start executions: what AWS was recorded to answer, in order, and what it says of those that fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

RESOURCE = "arn:aws:states:::states:startExecution"


def starting(machine: str, form: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"StateMachineArn": machine, "Input": {"k": 1}, **more}
    state = {"Type": "Task", "Resource": f"{RESOURCE}{form}", "Parameters": parameters, "End": True}
    return {"StartAt": "Start", "States": {"Start": state}}


def one(state: dict[str, Any], **top: Any) -> dict[str, Any]:
    return {"StartAt": "One", "States": {"One": state}, **top}


PASS = one({"Type": "Pass", "Result": {"ok": True}, "End": True})


@pytest.mark.parametrize(
    ("form", "given", "output"),
    [(".sync", '{"k":1}', '{"ok":true}'), (".sync:2", {"k": 1}, {"ok": True})],
    ids=["texts", "values"],
)
def test_the_end_of_an_execution_is_described(bench: Bench, form: str, given: Any, output: Any) -> None:
    machine = bench.machine(PASS)
    found = json.loads(bench.run(starting(machine, form))["output"])
    assert list(found) == [
        *("ExecutionArn", "Input", "InputDetails", "Name", "Output", "OutputDetails", "RedriveCount", "RedriveStatus"),
        *("RedriveStatusReason", "StartDate", "StateMachineArn", "Status", "StopDate"),
    ]
    assert (found["Input"], found["InputDetails"]) == (given, {"Included": True})
    assert (found["Output"], found["OutputDetails"]) == (output, {"Included": True})
    assert (found["RedriveCount"], found["RedriveStatus"]) == (0, "NOT_REDRIVABLE")
    assert found["RedriveStatusReason"] == "Execution is SUCCEEDED and cannot be redriven"
    assert found["StopDate"] >= found["StartDate"] > 10**12


def test_a_started_execution_is_answered_with_headers(bench: Bench) -> None:
    found = bench.output(starting(bench.machine(PASS)))
    assert set(found) == {"ExecutionArn", "SdkHttpMetadata", "SdkResponseMetadata", "StartDate"}
    headers = found["SdkHttpMetadata"]["HttpHeaders"]
    assert set(headers) == {"Connection", "Content-Length", "Content-Type", "Date", "x-amzn-RequestId"}
    assert found["SdkHttpMetadata"]["AllHttpHeaders"] == {name: [value] for name, value in headers.items()}
    assert headers["x-amzn-RequestId"] == found["SdkResponseMetadata"]["RequestId"]


@pytest.mark.parametrize("form", [".sync", ".sync:2"])
@pytest.mark.parametrize(
    ("inner", "status", "told"),
    [
        (one({"Type": "Fail", "Error": "Boom", "Cause": "why"}), "FAILED", {"Error": "Boom", "Cause": "why"}),
        (one({"Type": "Fail", "Error": "Boom"}), "FAILED", {"Error": "Boom"}),
        (one({"Type": "Wait", "Seconds": 9, "End": True}, TimeoutSeconds=2), "TIMED_OUT", {}),
    ],
    ids=["cause", "error", "time"],
)
def test_fails_when_an_execution_fails(
    bench: Bench, form: str, inner: dict[str, Any], status: str, told: dict[str, str]
) -> None:
    machine = bench.machine(inner)
    found = bench.run(starting(machine, form))
    assert found["error"] == "States.TaskFailed"
    cause = json.loads(found["cause"])
    assert list(cause) == [
        *sorted(told),
        *("ExecutionArn", "Input", "InputDetails", "Name", "RedriveCount", "RedriveStatus", "StartDate"),
        *("StateMachineArn", "Status", "StopDate"),
    ]
    # As text, though .sync:2 gives the input of one that succeeds as a value.
    assert cause["Input"] == '{"k":1}'
    assert (cause["Status"], cause["RedriveStatus"]) == (status, "REDRIVABLE")
    assert {name: cause[name] for name in told} == told


@pytest.mark.parametrize(
    ("name", "error", "cause"),
    [
        ("same", "StepFunctions.ExecutionAlreadyExistsException", "Execution Already Exists: '"),
        ("a b", "StepFunctions.InvalidNameException", "Invalid Name: 'a b'"),
    ],
    ids=["twice", "name"],
)
def test_fails_when_an_execution_is_refused(bench: Bench, name: str, error: str, cause: str) -> None:
    machine = bench.machine(PASS)
    bench.run(starting(machine, ".sync", Name="same", Input={"other": 1}))
    found = bench.run(starting(machine, Name=name))
    assert found["error"] == error
    assert found["cause"].startswith(cause)
    code = error.split(".")[1].removesuffix("Exception")
    assert f"(Service: AWSStepFunctions; Status Code: 400; Error Code: {code}; Request ID: " in found["cause"]
    assert found["cause"].endswith("; Proxy: null)")


def test_fails_when_there_is_no_machine(bench: Bench) -> None:
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:nope"
    found = bench.run(starting(arn))
    assert found["error"] == "StepFunctions.StateMachineDoesNotExistException"
    assert found["cause"].startswith(f"State Machine Does Not Exist: '{arn}' (Service: AWSStepFunctions; ")
