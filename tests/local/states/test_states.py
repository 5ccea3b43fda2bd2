"""The Amazon States Language around Distributed Map, on the engine."""

from __future__ import annotations

import hashlib
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

INVOKE = "arn:aws:states:::lambda:invoke"


def one(state: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"QueryLanguage": "JSONata", "StartAt": "One", "States": {"One": state, **others}}


def step(**fields: Any) -> dict[str, Any]:
    return {"Type": "Pass", "End": True, **fields}


# -- refused


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (step(Foo=1), ["'One'", "'Foo'", "remove it"]),
        (step(Parameters={}), ["'Parameters'", "JSONPath", "QueryLanguage"]),
        ({"Type": "Pass"}, ["Next or End"]),
        ({"Type": "Pass", "Next": "Nowhere"}, ["'Nowhere'", "not a state"]),
        ({"Type": "Nap", "End": True}, ["'Nap'", "Pass"]),
        (
            {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun", "End": True},
            ["glue:startJobRun", "aws-sdk"],
        ),
        ({"Type": "Task", "Resource": "arn:aws:states:::batch:submitJob", "End": True}, ["use batch:submitJob.sync"]),
        ({"Type": "Task", "Resource": INVOKE, "Retry": [{"ErrorEquals": ["a"], "Tries": 1}], "End": True}, ["'Tries'"]),
        ({"Type": "Wait", "Seconds": 1, "Timestamp": "x", "End": True}, ["exactly one"]),
        ({"Type": "Choice", "Choices": [{"Next": "One"}]}, ["Condition"]),
    ],
    ids=[
        *("unknown", "other-language", "no-end", "nowhere", "type", "service", "form"),
        *("retry-field", "wait", "rule"),
    ],
)
def test_fails_when_a_definition_has_what_is_not_run(bench: Bench, state: dict[str, Any], words: list[str]) -> None:
    machine = bench.engine_machine(one(state))
    with pytest.raises(bench.sfn.exceptions.ClientError) as failed:
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")
    assert failed.value.response["Error"]["Code"] == "ValidationException"
    for word in words:
        assert word in failed.value.response["Error"]["Message"]


def test_fails_when_no_state_goes_to_a_state(bench: Bench) -> None:
    machine = bench.engine_machine(one(step(), Lost=step()))
    with pytest.raises(bench.sfn.exceptions.ClientError, match="no state goes to state 'Lost'"):
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")


def test_fails_when_concurrency_turns_out_negative(bench: Bench) -> None:
    each = {"StartAt": "P", "States": {"P": step()}}
    found = bench.run(
        one({"Type": "Map", "Items": [1], "MaxConcurrency": "{% -1 %}", "ItemProcessor": each, "End": True})
    )
    assert found["error"] == "States.QueryEvaluationError"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Label": "a/b"}, ["'a/b'"]),
        ({"Label": "x" * 41}, ["40"]),
        ({"ItemBatcher": {}}, ["MaxItemsPerBatch"]),
        ({"ItemBatcher": {"MaxItemsPerBatch": 1, "MaxItems": 2}}, ["'MaxItems'"]),
        ({"ResultWriter": {}}, ["WriterConfig"]),
        ({"ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {}}}, ["'Parameters'"]),
        (
            {"ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "XLS"}}},
            ["'XLS'", "PARQUET"],
        ),
        ({"MaxConcurrencyPath": "$.x"}, ["MaxConcurrencyPath"]),
    ],
    ids=["label", "long-label", "batcher", "batcher-field", "writer", "reader-field", "input-type", "path"],
)
def test_fails_when_a_map_has_what_is_not_run(bench: Bench, fields: dict[str, Any], words: list[str]) -> None:
    machine = bench.engine_machine(bench.mapped(**fields))
    with pytest.raises(bench.sfn.exceptions.ClientError) as failed:
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")
    for word in words:
        assert word in failed.value.response["Error"]["Message"]


def test_fails_when_two_maps_share_a_label(bench: Bench) -> None:
    state = bench.mapped()["States"]["Map"]
    definition = one({**state, "Next": "Two", "End": False}, Two=state)
    del definition["States"]["One"]["End"]
    with pytest.raises(bench.sfn.exceptions.ClientError, match="'Each'"):
        bench.sfn.start_execution(stateMachineArn=bench.engine_machine(definition), input="{}")


@pytest.mark.parametrize(
    "inner",
    [
        {"T": {"Type": "Task", "Resource": f"{INVOKE}.waitForTaskToken", "Arguments": {}, "End": True}},
        {"T": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2", "End": True}},
    ],
    ids=["token", "sync"],
)
def test_fails_when_an_express_child_would_wait(bench: Bench, inner: dict[str, Any]) -> None:
    machine = bench.engine_machine(bench.mapped(inner, kind="EXPRESS"))
    with pytest.raises(bench.sfn.exceptions.ClientError, match="Express execution can't wait for"):
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")


def test_fails_when_an_express_child_holds_a_distributed_map(bench: Bench) -> None:
    inner = {"Inner": {**bench.mapped()["States"]["Map"], "Label": "Inner"}}
    machine = bench.engine_machine(bench.mapped(inner, kind="EXPRESS"))
    with pytest.raises(bench.sfn.exceptions.ClientError, match="'Inner' is a Distributed Map"):
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")


# -- JSONata


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$partition([1,2,3], 2)", [[1, 2], [3]]),
        ("$range(0, 10, 5)", [0, 5, 10]),
        ("$hash('input data', 'SHA-1')", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        ("$parse('{\"a\": null}')", {"a": None}),
        ("$random(7) = $random(7)", True),
        ("$length($uuid())", 36),
        ("$states.input.none", None),
        ("$states.input.one", [1]),
        ("$states.input.many.n", [1, 2]),
        ("$states.input.many[n = 2].n", 2),
        ("$states.input.none = null ? 'null' : 'other'", "null"),
        ("$exists($states.input.nothing)", False),
        ("'a' & $states.input.number & true", "a5true"),
        ("{'a': $states.input.nothing, 'b': [$states.input.number]}", {"b": [5]}),
        ("$states.input.number = 5 and $states.input.one[0] = 1", True),
        ("$states.context.State.Name", "One"),
    ],
    ids=str,
)
def test_jsonata_in_a_state_gives_what_aws_gives(bench: Bench, expression: str, value: Any) -> None:
    given = {"none": None, "one": [1], "many": [{"n": 1}, {"n": 2}], "number": 5}
    assert bench.output(one(step(Output={"got": f"{{% {expression} %}}"})), given) == {"got": value}


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        ("$states.input.nothing", "returned nothing (undefined)."),
        ("$eval('1')", "threw an error during evaluation. T1006: Attempted to invoke a non-function"),
        ("1 + 'a'", 'threw an error during evaluation. T2002: The right side of the "+" operator must evaluate'),
        ("function($x) { $x }", "returned an unsupported result type."),
    ],
    ids=["undefined", "eval", "type", "function"],
)
def test_fails_when_jsonata_fails(bench: Bench, expression: str, cause: str) -> None:
    found = bench.run(one(step(Output={"got": f"{{% {expression} %}}"})))
    assert found["error"] == "States.QueryEvaluationError"
    assert f"The JSONata expression '{expression}' specified for the field 'Output/got' {cause}" in found["cause"]


# -- retry, catch, timeouts


def test_retry_backs_off_in_virtual_time(bench: Bench) -> None:
    tries: list[int] = []

    def work(_event: Any) -> str:
        tries.append(1)
        if len(tries) < 4:
            raise ValueError("again")
        return "done"

    bench.functions.handlers["again"] = work
    retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 60, "BackoffRate": 2, "MaxDelaySeconds": 100}]
    state = {"Type": "Task", "Resource": INVOKE, "Arguments": {"FunctionName": "again"}, "Retry": retry, "End": True}
    began = time.monotonic()
    found = bench.run(one({**state, "Output": "{% $states.context.State.RetryCount %}"}))
    assert found["output"] == "3"
    assert found["stopDate"].timestamp() - found["startDate"].timestamp() >= 60 + 100 + 100
    assert time.monotonic() - began < 60


def test_retriers_count_on_their_own(bench: Bench) -> None:
    tries: list[str] = []

    def work(_event: Any) -> None:
        tries.append("x")
        raise (ValueError if len(tries) % 2 else KeyError)("again")

    bench.functions.handlers["both"] = work
    retry = [{"ErrorEquals": ["ValueError"], "MaxAttempts": 1}, {"ErrorEquals": ["States.ALL"], "MaxAttempts": 5}]
    state = {"Type": "Task", "Resource": INVOKE, "Arguments": {"FunctionName": "both"}, "Retry": retry, "End": True}
    found = bench.run(one(state))
    assert found["error"] == "ValueError"
    assert len(tries) == 3


def test_throttling_has_lambdas_error_name(bench: Bench) -> None:
    from cdk_distributed_map.local import InvokeError

    def work(_event: Any) -> None:
        raise InvokeError("TooManyRequestsException", "Rate Exceeded.", status=429)

    bench.functions.handlers["throttled"] = work
    catch = [{"ErrorEquals": ["Lambda.TooManyRequestsException"], "Next": "Caught"}]
    state = {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": "throttled"},
        "Catch": catch,
        "End": True,
    }
    assert "429" in bench.output(one(state, Caught=step(Output="{% $states.input.Cause %}")))


def test_runtime_errors_are_not_caught(bench: Bench) -> None:
    catch = [{"ErrorEquals": [name], "Next": "Caught"} for name in ("States.Runtime", "States.ALL")]
    state = {
        "Type": "Task",
        "QueryLanguage": "JSONPath",
        "Resource": INVOKE,
        "Parameters": {"FunctionName.$": "$.no"},
        "Catch": catch,
        "End": True,
    }
    definition = one(state, Caught={"Type": "Succeed"})
    del definition["QueryLanguage"]
    found = bench.run(definition)
    assert found["error"] == "States.Runtime"
    assert (
        "The JSONPath '$.no' specified for the field 'FunctionName.$' could not be found in the input '{}'"
        in found["cause"]
    )


def test_execution_runs_out_of_time(bench: Bench) -> None:
    definition = {**one({"Type": "Wait", "Seconds": 100, "End": True}), "TimeoutSeconds": 50}
    found = bench.run(definition)
    assert found["status"] == "TIMED_OUT"
    assert [event["type"] for event in bench.events(found["executionArn"])][-1] == "ExecutionTimedOut"


# -- tasks


def test_sdk_calls_go_through_boto3(bench: Bench) -> None:
    bucket = bench.bucket({"a": b"1", "b": b"22"})
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
        "Arguments": {"Bucket": bucket},
        "Output": "{% $states.result.Contents.[Key, Size] %}",
        "End": True,
    }
    assert bench.output(one(state)) == [["a", 1], ["b", 2]]


def test_queue_gets_a_message(bench: Bench, client: Any) -> None:
    queue = client("sqs").create_queue(QueueName="engine")["QueueUrl"]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Arguments": {"QueueUrl": queue, "MessageBody": {"n": "{% $states.input.n %}"}},
        "End": True,
    }
    assert "MessageId" in bench.output(one(state), {"n": 3})
    (message,) = client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(message["Body"]) == {"n": 3}


def test_task_token_comes_back_through_the_api(bench: Bench) -> None:
    tokens: list[str] = []
    bench.functions.handlers["asks"] = lambda event: tokens.append(event["token"])
    arguments = {"FunctionName": "asks", "Payload": {"token": "{% $states.context.Task.Token %}"}}
    state = {"Type": "Task", "Resource": f"{INVOKE}.waitForTaskToken", "Arguments": arguments, "End": True}
    execution = bench.start(one(state))
    while not tokens:
        time.sleep(0.005)
    bench.sfn.send_task_heartbeat(taskToken=tokens[0])
    time.sleep(0.05)
    for output, error in (
        ("{", "InvalidOutput"),
        ("NaN", "InvalidOutput"),
        (f'"{"x" * 262_144}"', "ValidationException"),
    ):
        with pytest.raises(bench.sfn.exceptions.ClientError, match=error):
            bench.sfn.send_task_success(taskToken=tokens[0], output=output)
    bench.sfn.send_task_success(taskToken=tokens[0], output='{"ok":true}')
    assert bench.ended(execution)["output"] == '{"ok":true}'


def test_another_machine_is_waited_for(bench: Bench) -> None:
    inner = bench.engine_machine(one(step(Output={"doubled": "{% $states.input.n * 2 %}"})))
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": inner, "Input": {"n": 4}},
        "Output": "{% $states.result.Output.doubled %}",
        "End": True,
    }
    assert bench.output(one(state)) == 8


def test_fails_when_the_machine_waited_for_fails(bench: Bench) -> None:
    inner = bench.engine_machine(one({"Type": "Fail", "Error": "Inner"}))
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync",
        "Arguments": {"StateMachineArn": inner},
        "End": True,
    }
    found = bench.run(one(state))
    assert found["error"] == "States.TaskFailed"
    assert json.loads(found["cause"])["Error"] == "Inner"


# -- failures in AWS's words


def json_path(state: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": "One", "States": {"One": state}}


@pytest.mark.parametrize(
    ("state", "error", "cause"),
    [
        (
            step(Parameters={"a.$": "States.Format('{}', $.b.c)"}),
            "States.Runtime",
            (
                "The function 'States.Format('{}', $.b.c)' had the following error: The JsonPath argument for the "
                "field '$.b.c' could not be found in the input '{}'"
            ),
        ),
        (step(InputPath="$.a.b"), "States.Runtime", "Invalid path '$.a.b' : Missing property in path $['a']"),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsNull": True, "Next": "One"}]},
            "States.Runtime",
            "Invalid path '$.a': The choice state's condition path references an invalid value.",
        ),
        (
            {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "One"}]},
            "States.NoChoiceMatched",
            "Failed to transition out of the state. The state does not point to a next state.",
        ),
        (
            step(Parameters={"a.$": "States.ArrayGetItem(States.Array(1), 1)"}),
            "States.IntrinsicFailure",
            (
                "The function 'States.ArrayGetItem(States.Array(1), 1)' had the following error: "
                "index 1 is outside an array of 1"
            ),
        ),
    ],
    ids=["function", "input-path", "choice", "no-choice", "intrinsic"],
)
def test_failures_are_told_by_error_and_cause(bench: Bench, state: dict[str, Any], error: str, cause: str) -> None:
    found = bench.run(json_path(state))
    assert found["error"] == error
    where = "An error occurred while executing the state 'One' (entered at the event id #2). "
    assert found["cause"] == where + cause


def test_runtime_error_in_an_iteration_fails_the_map(bench: Bench) -> None:
    processor = {"StartAt": "Bad", "States": {"Bad": step(InputPath="$.no")}}
    found = bench.run(json_path({"Type": "Map", "ItemProcessor": processor, "End": True}), [{}])
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types[-3:] == ["MapIterationFailed", "MapStateFailed", "ExecutionFailed"]


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("States.Format('{} \\\\{\\\\} {}', $.text, $.list)", "a b {} [1, 1, 1]"),
        ("States.Format('{}', $.object)", "{Arg1=1, Arg2=[], Arg3={b=[null, true, x]}}"),
        ("States.MathAdd(-1.5, 0)", -1),
        ("States.MathAdd(-0.5, 0.5)", 1),
        ("States.MathAdd(1.5, -2.5)", 0),
        ("States.ArrayRange(-1.5, 0.5, 1)", [-1, 0, 1]),
        ("States.ArrayGetItem($.list, 0.5)", 1),
        ("States.ArrayUnique($.list)", [1, "1"]),
        ("States.ArrayContains($.list, '1')", True),
        ("States.ArrayPartition($.list, 2)", [[1, 1], ["1"]]),
        ("States.ArrayRange(9, 0, -4)", [9, 5, 1]),
        ("States.StringSplit('This.is+a,test=string', '.+,=')", ["This", "is", "a", "test", "string"]),
        ("States.Hash($.text, 'MD5')", hashlib.new("md5", b"a b", usedforsecurity=False).hexdigest()),
        ("States.JsonToString($.list)", '[1,1,"1"]'),
        ("States.MathAdd($.list[0], -3)", -2),
        ("States.ArrayLength(States.StringSplit($.text, ' '))", 2),
        ("$.list[?(@ == 1)]", [1, 1]),
        ("$..text", ["a b"]),
        ("$.list[-1]", "1"),
        ("$['text']", "a b"),
    ],
    ids=str,
)
def test_intrinsic_functions_and_paths_give_what_aws_gives(bench: Bench, call: str, value: Any) -> None:
    nested = {"Arg1": 1, "Arg2": [], "Arg3": {"b": [None, True, "x"]}}
    given = {"text": "a b", "list": [1, 1, "1"], "object": nested}
    assert bench.output(json_path(step(Parameters={"got.$": call})), given) == {"got": value}


@pytest.mark.parametrize("catches", ["States.Timeout", "States.HeartbeatTimeout"])
def test_a_missed_heartbeat_is_a_timeout(bench: Bench, catches: str) -> None:
    bench.functions.handlers["silent"] = lambda event: event
    task = {
        "Type": "Task",
        "Resource": f"{INVOKE}.waitForTaskToken",
        "Arguments": {"FunctionName": "silent"},
        "HeartbeatSeconds": 1,
        "End": True,
    }
    catch = [{"ErrorEquals": [catches], "Next": "After", "Output": "{% $states.errorOutput.Error %}"}]
    caught = one({**task, "Catch": catch}, After={"Type": "Pass", "End": True})
    # Both wait for the same second.
    found, after = (bench.ended(execution) for execution in [bench.start(one(task)), bench.start(caught)])
    assert (found["status"], found["error"]) == ("FAILED", "States.Timeout")
    assert [each["type"] for each in bench.events(found["executionArn"])][-2:] == ["TaskTimedOut", "ExecutionFailed"]
    assert (after["status"], json.loads(after["output"])) == ("SUCCEEDED", "States.Timeout")


def test_a_token_can_be_read_where_an_execution_is_waited_for(bench: Bench) -> None:
    machine = bench.machine({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": {"StateMachineArn": machine, "Input": {"token": "{% $states.context.Task.Token %}"}},
        "End": True,
    }
    assert len(bench.output(one(task))["Output"]["token"]) == 64


def test_an_execution_without_input_gets_an_empty_object(bench: Bench) -> None:
    machine = bench.machine({"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}})
    arguments = {"StateMachineArn": machine, "Input": None}
    resource = "arn:aws:states:::states:startExecution.sync:2"
    output = bench.output(one({"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}))
    assert output["Output"] == {}


def test_fails_when_variables_are_too_large(bench: Bench) -> None:
    found = bench.run(one(step(Assign={"half": "x" * 200_000, "other": "x" * 100_000})))
    assert found["error"] == "States.DataLimitExceeded"
    assert "more than the limit of 262144" in found["cause"]


def test_fails_when_variables_grow_too_large(bench: Bench) -> None:
    names = [f"v{number}" for number in range(45)]
    steps = {name: {"Type": "Pass", "Assign": {name: "x" * 250_000}, "Next": after} for name, after in pairwise(names)}
    found = bench.run({"QueryLanguage": "JSONata", "StartAt": "v0", "States": {**steps, names[-1]: step()}})
    assert found["error"] == "States.DataLimitExceeded"
    assert "more than the limit of 10485760" in found["cause"]


@pytest.mark.parametrize(
    ("state", "given", "error", "cause"),
    [
        (
            {"Type": "Pass", "ResultPath": "$.a", "Result": 1},
            "text",
            "States.ReferencePathConflict",
            'Unable to apply ReferencePath $.a to input "text"',
        ),
        (
            {"Type": "Pass", "Parameters": {"a.$": "$"}},
            None,
            "States.Runtime",
            "Unable to apply Path transformation to null or empty input.",
        ),
        (
            {"Type": "Wait", "SecondsPath": "$.s"},
            {"s": -1},
            "States.Runtime",
            "The SecondsPath parameter references a negative value: $.s == -1",
        ),
        (
            {"Type": "Task", "Resource": INVOKE, "Parameters": {"FunctionName": "f"}, "TimeoutSecondsPath": "$.s"},
            {"s": 0},
            "States.Runtime",
            "The TimeoutSeconds field must be an integer from 1 to 99999999 but was: 0",
        ),
        (
            {"Type": "Fail", "ErrorPath": "$.e"},
            {"e": 5},
            "States.Runtime",
            'The ErrorPath field refers to value "5" which is not a valid string: $.e',
        ),
        (
            {"Type": "Fail", "QueryLanguage": "JSONata", "Error": "{% 5 %}"},
            {},
            "States.QueryEvaluationError",
            (
                "The JSONata expression '5' specified for the field 'Error' returned an unexpected result type. "
                "Expected 'string', but was 'number' for value: 5"
            ),
        ),
    ],
    ids=["result-path", "null", "negative-wait", "no-time", "error-path", "error"],
)
def test_fails_when_a_value_does_not_fit(
    bench: Bench, state: dict[str, Any], given: Any, error: str, cause: str
) -> None:
    ends = {} if state["Type"] == "Fail" else {"End": True}
    machine = bench.machine({"StartAt": "One", "States": {"One": {**state, **ends}}})
    found = bench.ended(bench.sfn.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"])
    assert found["error"] == error
    assert found["cause"].endswith(cause)


def test_items_may_come_from_an_intrinsic_function(bench: Bench) -> None:
    each = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    state = {"Type": "Map", "ItemsPath": "States.ArrayUnique($.n)", "ItemProcessor": each, "End": True}
    assert bench.output({"StartAt": "One", "States": {"One": state}}, {"n": [2, 1, 2, 3, 1]}) == [2, 1, 3]


def test_history_ends_at_25000_events(bench: Bench) -> None:
    states = {"Spin": {"Type": "Pass", "Next": "Again"}, "Again": {"Type": "Pass", "Next": "Spin"}}
    found = bench.run({"StartAt": "Spin", "States": states})
    assert found["status"] == "FAILED"
    assert "maximum number of history events (25000)" in found["cause"]
    last = bench.sfn.get_execution_history(executionArn=found["executionArn"], reverseOrder=True, maxResults=1)
    assert (last["events"][0]["id"], last["events"][0]["type"]) == (25_000, "ExecutionFailed")
