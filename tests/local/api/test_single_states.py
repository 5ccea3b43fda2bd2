"""TestState by the engine: one state at a time, as AWS tests it, with mocks or with what it calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.bench import ROLE, Bench

INVOKE = {
    "Type": "Task",
    "Resource": "arn:aws:states:::lambda:invoke",
    "Parameters": {"FunctionName": "f", "Payload.$": "$.value"},
    "ResultSelector": {"got.$": "$.Payload"},
    "ResultPath": "$.result",
    "InputPath": "$.inner",
    "Retry": [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 2, "MaxAttempts": 3}],
    "Catch": [
        {"ErrorEquals": ["Other"], "Next": "Never"},
        {"ErrorEquals": ["States.ALL"], "Next": "Mend", "ResultPath": "$.error"},
    ],
    "Next": "Then",
}
INPUT = {"inner": {"value": 7}}


def answered(bench: Bench, definition: Any, input: Any = None, **parameters: Any) -> dict[str, Any]:
    """Test a state; texts of the answer that are JSON come as values."""
    given = {} if input is None else {"input": json.dumps(input)}
    answer = bench.sfn.test_state(definition=json.dumps(definition), **given, **parameters)
    found = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    if "output" in found:
        found["output"] = json.loads(found["output"])
    if "inspectionData" in found:
        data = found["inspectionData"]
        found["inspectionData"] = {
            key: json.loads(value) if isinstance(value, str) else value for key, value in data.items()
        }
    return found


def mock(result: Any = None, *, error: str | None = None, mode: str | None = None) -> dict[str, Any]:
    given: dict[str, Any] = {} if mode is None else {"fieldValidationMode": mode}
    if error is None:
        return {"result": json.dumps(result), **given}
    return {"errorOutput": {"error": error, "cause": "because"}, **given}


def test_a_task_is_tested_with_a_mock(bench: Bench) -> None:
    found = answered(bench, INVOKE, INPUT, mock=mock({"Payload": 49}), inspectionLevel="DEBUG")

    output = {"inner": {"value": 7}, "result": {"got": 49}}
    assert (found["status"], found["nextState"], found["output"]) == ("SUCCEEDED", "Then", output)
    assert found["inspectionData"] == {
        "input": INPUT,
        "afterInputPath": {"value": 7},
        "afterParameters": {"FunctionName": "f", "Payload": 7},
        "result": {"Payload": 49},
        "afterResultSelector": {"got": 49},
        "afterResultPath": output,
    }


def test_a_task_is_tested_with_what_it_calls(bench: Bench) -> None:
    bench.functions.handlers["square"] = lambda event: event["n"] ** 2
    state = {
        **bench.task("square")["Work"],
        "QueryLanguage": "JSONata",
        "Assign": {"seen": "{% $states.result.Payload %}"},
    }

    found = answered(bench, state, {"n": 7}, roleArn=ROLE, inspectionLevel="TRACE", variables='{"before": 1}')

    assert (found["status"], found["output"]) == ("SUCCEEDED", 49)
    assert found["inspectionData"]["afterArguments"] == {"FunctionName": "square", "Payload": {"n": 7}}
    assert found["inspectionData"]["variables"] == {"before": 1, "seen": 49}


@pytest.mark.parametrize(
    ("error", "retries", "status", "told"),
    [
        ("Lambda.TooManyRequestsException", 0, "RETRIABLE", {"retryIndex": 0, "retryBackoffIntervalSeconds": 2}),
        ("Lambda.TooManyRequestsException", 2, "RETRIABLE", {"retryIndex": 0, "retryBackoffIntervalSeconds": 8}),
        ("Lambda.TooManyRequestsException", 3, "CAUGHT_ERROR", {"catchIndex": 1}),
        ("Mine", 0, "CAUGHT_ERROR", {"catchIndex": 1}),
    ],
)
def test_a_failed_attempt_is_tried_again_or_caught(
    bench: Bench, error: str, retries: int, status: str, told: dict[str, int]
) -> None:
    given = {"mock": mock(error=error), "stateConfiguration": {"retrierRetryCount": retries}}

    found = answered(bench, INVOKE, INPUT, **given, inspectionLevel="DEBUG")

    assert (found["status"], found["error"], found["cause"]) == (status, error, "because")
    assert found["inspectionData"]["errorDetails"] == told
    if status == "CAUGHT_ERROR":
        assert found["nextState"] == "Mend"
        assert found["output"] == {**INPUT, "error": {"Error": error, "Cause": "because"}}


@pytest.mark.parametrize("kind", ["Map", "Parallel"])
def test_states_around_others_are_tested_with_mocks(bench: Bench, kind: str) -> None:
    inner = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    graphs = {"Branches": [inner]} if kind == "Parallel" else {"ItemProcessor": inner}
    catch = [{"ErrorEquals": ["E"], "Next": "Mend"}]
    state = {"Type": kind, **graphs, "ResultPath": "$.all", "Catch": catch, "End": True}

    assert answered(bench, state, {"a": 1}, mock=mock([1, 2]))["output"] == {"a": 1, "all": [1, 2]}
    assert answered(bench, state, [1], mock=mock(error="E"))["nextState"] == "Mend"


def test_a_state_of_a_state_machine_is_tested(bench: Bench) -> None:
    definition = bench.mapped(bench.task("f"))

    found = answered(bench, definition, {"n": 1}, stateName="Work", mock=mock({"Payload": "done"}))

    assert found == {"status": "SUCCEEDED", "output": "done"}


@pytest.mark.parametrize(
    ("state", "input", "expected"),
    [
        ({"Type": "Pass", "Result": 1, "Next": "N"}, {}, {"status": "SUCCEEDED", "output": 1, "nextState": "N"}),
        ({"Type": "Wait", "Seconds": 3600, "End": True}, 5, {"status": "SUCCEEDED", "output": 5}),
        ({"Type": "Fail", "Error": "E", "Cause": "c"}, {}, {"status": "FAILED", "error": "E", "cause": "c"}),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "A"}], "Default": "B"},
            {},
            {"status": "SUCCEEDED", "output": {}, "nextState": "B"},
        ),
    ],
    ids=["pass", "wait", "fail", "choice"],
)
def test_states_that_call_nothing_are_tested(bench: Bench, state: Any, input: Any, expected: Any) -> None:
    assert answered(bench, state, input) == expected


def test_the_context_object_is_what_the_test_says(bench: Bench) -> None:
    state = {"Type": "Pass", "Parameters": {"name.$": "$$.Execution.Name"}, "End": True}

    assert answered(bench, state, context='{"Execution": {"Name": "mine"}}')["output"] == {"name": "mine"}


def test_a_mock_is_held_to_the_model_unless_it_is_not_to_be(bench: Bench) -> None:
    refused = answered(bench, {**INVOKE, "Catch": []}, INPUT, mock=mock({"Pay": 1}))
    taken = answered(bench, {**INVOKE, "ResultSelector": {}}, INPUT, mock=mock({"Pay": 1}, mode="NONE"))

    assert refused["status"] == "FAILED"
    assert "the result has 'Pay', which the API doesn't answer" in refused["cause"]
    assert taken["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("definition", "parameters", "message"),
    [
        (
            {"Type": "Pass", "End": True},
            {"mock": mock(1)},
            "State type 'Pass' is not supported when a mock is specified",
        ),
        ({"Type": "Map", "End": True}, {}, "State type 'Map' is only supported when a mock is specified"),
        (
            {**INVOKE, "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken"},
            {},
            "is only supported when a mock is specified",
        ),
        (INVOKE, {"mock": {"fieldValidationMode": "NONE"}}, "either result or errorOutput"),
        ({"States": {}, "StartAt": "A"}, {}, "stateName is required"),
        ({"States": {}, "StartAt": "A"}, {"stateName": "A"}, "State 'A' not found"),
        ({"Type": "Pass", "Nxt": "A"}, {}, "Invalid State Machine Definition: .*'Nxt'"),
        (
            INVOKE,
            {"mock": mock(1), "stateConfiguration": {"errorCausedByState": "A"}},
            "doesn't take errorCausedByState",
        ),
    ],
)
def test_fails_when_a_state_cannot_be_tested(bench: Bench, definition: Any, parameters: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        answered(bench, definition, **parameters)
