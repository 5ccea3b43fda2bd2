"""Scripted outcomes of tasks that call other things than a pipeline's worker, held to the models of their APIs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.execution_path import execution_path
from cdk_distributed_map.local.outcomes import Outcomes
from tests.local.bench import Bench

PUT = {"TableName": "T", "Item": {"id": {"S": "1"}}}
GET = {"TableName": "T", "Key": {"id": {"S": "1"}}}
SEND = {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/000000000000/q", "MessageBody": "m"}

ARGUMENTS = {
    "lambda:invoke": {"FunctionName": "f"},
    "aws-sdk:sqs:sendMessage": SEND,
    "aws-sdk:dynamodb:getItem": GET,
    "aws-sdk:s3:listObjectsV2": {"Bucket": "b"},
    "aws-sdk:sfn:startExecution": {"StateMachineArn": "m"},
}


@pytest.fixture
def outcomes(bench: Bench) -> Iterator[Outcomes]:
    """Nothing scripted yet."""
    yield bench.engine.services.outcomes
    bench.engine.services.outcomes.clear()


def calling(resource: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    """Return a definition of one task in JSONPath."""
    task = {"Type": "Task", "Resource": resource, "Parameters": arguments, "End": True, **fields}
    return {"StartAt": "Call", "States": {"Call": task}}


@pytest.mark.parametrize(
    ("resource", "arguments", "result"),
    [
        ("arn:aws:states:::lambda:invoke", {"FunctionName": "f"}, {"StatusCode": 200, "Payload": {"any": [1]}}),
        ("arn:aws:states:::aws-sdk:lambda:invoke", {"FunctionName": "f"}, {"StatusCode": 200, "Payload": "{}"}),
        ("arn:aws:lambda:us-east-1:000000000000:function:f", {}, ["anything"]),
        ("arn:aws:states:::sqs:sendMessage", SEND, {"MessageId": "1", "SdkHttpMetadata": {"HttpStatusCode": 200}}),
        ("arn:aws:states:::aws-sdk:dynamodb:getItem", GET, {"Item": {"flag": {"BOOL": True}}}),
        ("arn:aws:states:::aws-sdk:s3:headBucket", {"Bucket": "b"}, {"BucketRegion": "eu-west-1"}),
        ("arn:aws:states:::sqs:sendMessage.waitForTaskToken", SEND, {"what": "the token brings"}),
        ("arn:aws:states:::states:startExecution.sync:2", {"StateMachineArn": "m"}, {"Output": {"a": 1}}),
    ],
    ids=["lambda", "sdk-lambda", "function", "sqs", "dynamodb", "s3", "token", "execution"],
)
def test_a_task_is_given_what_its_api_answers(
    bench: Bench, outcomes: Outcomes, resource: str, arguments: Any, result: Any
) -> None:
    outcomes.give("Call", result)

    assert bench.output(calling(resource, arguments)) == result
    outcomes.check()


@pytest.mark.parametrize(
    ("resource", "result", "message"),
    [
        ("lambda:invoke", {"Pay": 1}, "the result has 'Pay', which the API doesn't answer: .*Pay"),
        ("lambda:invoke", 3, "the result must be an object, got 3"),
        ("aws-sdk:sqs:sendMessage", {"MessageId": 1}, "the result.MessageId must be a string, got 1"),
        ("aws-sdk:dynamodb:getItem", {"Item": {"a": {"s": "x"}}}, "the result.Item.a has 's', .* give "),
        ("aws-sdk:dynamodb:getItem", {"Item": {"a": {"SS": "x"}}}, "Item.a.SS must be an array"),
        ("aws-sdk:dynamodb:getItem", {"Item": {"a": {"BOOL": "x"}}}, "Item.a.BOOL must be a boolean"),
        ("aws-sdk:s3:listObjectsV2", {"Contents": [{"Size": "1"}]}, r"Contents\[0\].Size must be a long"),
        ("aws-sdk:s3:listObjectsV2", {"StorageClass": "X"}, "has 'StorageClass'"),
        ("aws-sdk:sfn:startExecution", {"StartDate": 1}, "lacks 'ExecutionArn'"),
    ],
)
def test_fails_when_an_api_would_not_answer_so(
    bench: Bench, outcomes: Outcomes, resource: str, result: Any, message: str
) -> None:
    outcomes.give("Call", result)

    ended = bench.run(calling(f"arn:aws:states:::{resource}", ARGUMENTS[resource]))

    assert ended["error"] == "States.Runtime"
    assert re.search(f"The scripted give of the state 'Call' can't come about: .*{message}", ended["cause"])


def test_a_service_fails_with_an_error_that_it_has(bench: Bench, outcomes: Outcomes) -> None:
    outcomes.fail("Call", "DynamoDb.ResourceNotFoundException", cause="no table")

    ended = bench.run(calling("arn:aws:states:::aws-sdk:dynamodb:putItem", PUT))

    assert (ended["error"], ended["cause"]) == ("DynamoDb.ResourceNotFoundException", "no table")


def test_fails_when_a_service_has_no_such_error(bench: Bench, outcomes: Outcomes) -> None:
    outcomes.fail("Call", "DynamoDB.ResourceNotFound")

    cause = bench.run(calling("arn:aws:states:::aws-sdk:dynamodb:putItem", PUT))["cause"]

    assert "dynamodb:putItem has no error 'DynamoDB.ResourceNotFound', but DynamoDb.ResourceNotFoundException" in cause


def test_what_is_not_checked_may_be_anything(bench: Bench, outcomes: Outcomes) -> None:
    outcomes.give("Call", "anything", check=False)

    assert bench.output(calling("arn:aws:states:::aws-sdk:dynamodb:putItem", PUT)) == "anything"


def test_outcomes_follow_each_other_and_retries_see_them(bench: Bench, outcomes: Outcomes) -> None:
    outcomes.fail("Call", "Lambda.TooManyRequestsException", times=1)
    outcomes.time_out("Call", times=1)
    outcomes.give("Call", {"Payload": "at last"})
    retry = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 3, "IntervalSeconds": 60}]
    definition = calling("arn:aws:states:::lambda:invoke", {"FunctionName": "f"}, Retry=retry, TimeoutSeconds=300)

    execution = bench.start(definition)

    assert json.loads(bench.ended(execution)["output"]) == {"Payload": "at last"}
    visit = execution_path(bench.sfn, execution).visit("Call")
    assert visit.errors == ["Lambda.TooManyRequestsException", "States.Timeout", None]
    assert visit.attempts[0].input == {"FunctionName": "f"}
    assert visit.attempts[2].output == visit.output == {"Payload": "at last"}


def test_items_of_children_and_iterations_are_told_apart_by_their_place(bench: Bench, outcomes: Outcomes) -> None:
    states = bench.task("none", Catch=[{"ErrorEquals": ["E"], "Next": "Caught"}])
    states["Caught"] = {"Type": "Pass", "End": True}
    states["Work"]["Assign"] = {"seen": 1}
    outcomes.fail("Work", "E", item=2, times=1)
    outcomes.give("Work", {"Payload": "given"})

    execution = bench.start(bench.mapped(states, ItemBatcher={"MaxItemsPerBatch": 2}), {"items": list("abcde")})

    bench.ended(execution)
    (run,) = execution_path(bench.sfn, execution).map_runs
    assert run.batches == [2, 2, 1]
    assert {tuple(child.items): child.states for child in run.children} == {
        ("a", "b"): ["Work"],
        ("c", "d"): ["Work", "Caught"],
        ("e",): ["Work"],
    }


def test_the_path_of_nested_states_is_theirs(bench: Bench, outcomes: Outcomes) -> None:
    outcomes.fail("Each", "E", item=1)
    outcomes.give("Each", {"Payload": 1})
    catch = [{"ErrorEquals": ["E"], "Next": "C"}]
    call = calling("arn:aws:states:::lambda:invoke", {"FunctionName": "f"}, Catch=catch)["States"]["Call"]
    inner = {"StartAt": "Each", "States": {"Each": call, "C": {"Type": "Pass", "End": True}}}
    definition = {
        "StartAt": "All",
        "States": {
            "All": {"Type": "Map", "ItemProcessor": inner, "Next": "Last", "ResultPath": None},
            "Last": {"Type": "Pass", "Result": "last", "End": True},
        },
    }

    execution = bench.start(definition, [7, 8])

    bench.ended(execution)
    path = execution_path(bench.sfn, execution)
    assert sorted(path.states) == ["All", "C", "Each", "Each", "Last"]
    assert path.visit("All").output == [7, 8]
    assert path.visit("Last").output == path.output == "last"
    assert path.visit("C").input == {"Error": "E", "Cause": "scripted by a test"}
    with pytest.raises(AssertionError, match="the state 'Each' was entered 2 times; the path is All → Each"):
        path.visit("Each")


CONFIG = {
    "StateMachines": {"M": {"TestCases": {"Retried": {"Call": "TwiceThrottled"}, "Short": {"Call": "Once"}}}},
    "MockedResponses": {
        "TwiceThrottled": {
            "0-1": {"Throw": {"Error": "Lambda.TooManyRequestsException", "Cause": "slow down"}},
            "2": {"Return": {"StatusCode": 200, "Payload": {"body": "hello"}}},
        },
        "Once": {"0": {"Throw": {"Error": "Lambda.TooManyRequestsException"}}},
    },
}
RETRIED = calling(
    "arn:aws:states:::lambda:invoke", {"FunctionName": "f"}, Retry=[{"ErrorEquals": ["States.ALL"], "MaxAttempts": 5}]
)


@pytest.fixture
def mock_file(tmp_path: Path) -> Path:
    """A mock configuration file of Step Functions Local."""
    file = tmp_path / "MockConfigFile.json"
    file.write_text(json.dumps(CONFIG))
    return file


def test_a_test_case_of_step_functions_local_is_run(bench: Bench, outcomes: Outcomes, mock_file: Path) -> None:
    outcomes.read(mock_file, "M", "Retried")

    execution = bench.start(RETRIED)

    assert json.loads(bench.ended(execution)["output"])["Payload"] == {"body": "hello"}
    assert len(execution_path(bench.sfn, execution).visit("Call").attempts) == 3
    outcomes.check()


def test_fails_when_a_test_case_says_nothing_of_a_call(bench: Bench, outcomes: Outcomes, mock_file: Path) -> None:
    outcomes.read(mock_file, "M", "Short")

    ended = bench.run(RETRIED)

    assert ended["error"] == "States.Runtime"
    assert "The mocked responses of the state 'Call' say nothing of call 1: add one" in ended["cause"]


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ({}, "must be an object with calls"),
        ({"1": {"Return": 1}}, "must say what call 0 answers, and goes on with call 1"),
        ({"0": {"Return": 1}, "0-1": {"Return": 2}}, "must say what call 1 answers"),
        ({"2-1": {"Return": 1}}, "has '2-1': give a number of a call from 0, or a range"),
        ({"first": {"Return": 1}}, "has 'first'"),
        ({"0": {"Return": 1, "Throw": {"Error": "E"}}}, "must have either Return or Throw"),
        ({"0": {"Throw": {"Cause": "no name"}}}, "give Error, and Cause beside it"),
    ],
)
def test_fails_when_a_mocked_response_is_none(tmp_path: Path, responses: Any, message: str) -> None:
    config = {"StateMachines": {"M": {"TestCases": {"T": {"Call": "R"}}}}, "MockedResponses": {"R": responses}}
    (tmp_path / "mocks.json").write_text(json.dumps(config))

    with pytest.raises(ValueError, match=message):
        Outcomes().read(tmp_path / "mocks.json", "M", "T")


@pytest.mark.parametrize(
    ("machine", "case", "message"),
    [
        ("N", "Retried", "StateMachines in .* must have 'N', and has M"),
        ("M", "Other", "TestCases in .* must have 'Other', and has Retried, Short"),
    ],
)
def test_fails_when_there_is_no_such_test_case(mock_file: Path, machine: str, case: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outcomes().read(mock_file, machine, case)


def test_fails_when_a_mock_file_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "mocks.json").write_text("{")

    with pytest.raises(ValueError, match="must be JSON"):
        Outcomes().read(tmp_path / "mocks.json", "M", "T")


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_fails_when_times_is_no_number_of_times(times: Any) -> None:
    with pytest.raises(ValueError, match=r"times for time_out of the state 'S' must be a whole number over 0"):
        Outcomes().time_out("S", times=times)


def test_fails_when_a_result_is_not_json() -> None:
    with pytest.raises(TypeError, match="the result for the state 'S' must be JSON"):
        Outcomes().give("S", {1, 2})


@pytest.mark.parametrize("distributed", [True, False], ids=["distributed", "inline"])
def test_a_whole_map_is_scripted(bench: Bench, outcomes: Outcomes, distributed: bool) -> None:  # noqa: FBT001
    definition = bench.mapped(bench.task("none"))
    if not distributed:
        definition["States"]["Map"]["ItemProcessor"]["ProcessorConfig"] = {"Mode": "INLINE"}
        del definition["States"]["Map"]["Label"]
    definition["States"]["Map"]["Retry"] = [{"ErrorEquals": ["States.ExceedToleratedFailureThreshold"]}]
    outcomes.fail("Map", "States.ExceedToleratedFailureThreshold", times=1)
    outcomes.give("Map", ["all"])

    assert bench.output(definition, {"items": [1]}) == ["all"]
