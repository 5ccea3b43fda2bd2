"""The Step Functions endpoint as boto3 sees it."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from cdk_distributed_map.local import ApiError, Engine
from cdk_distributed_map.local.execution.services import ConditionKeys

if TYPE_CHECKING:
    from tests.local.bench import Bench

GIVE_UP_SECONDS = 120
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
FAIL = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "No"}}}


@pytest.fixture
def hanging(bench: Bench) -> Iterator[dict[str, Any]]:
    """A definition whose task hangs until the test ends."""
    go = threading.Event()
    name = f"hangs-{uuid.uuid4().hex}"
    bench.functions.handlers[name] = lambda event: (go.wait(20), event)[1]
    resource = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    yield {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": resource, "End": True}}}
    go.set()


def test_start_is_idempotent_by_name(bench: Bench, hanging: dict[str, Any]) -> None:
    machine = bench.machine(hanging)
    first = bench.sfn.start_execution(stateMachineArn=machine, name="one", input='{"a": 1}')
    again = bench.sfn.start_execution(stateMachineArn=machine, name="one", input='{ "a":1 }')
    assert again["executionArn"] == first["executionArn"]
    assert again["startDate"] == first["startDate"]
    with pytest.raises(bench.sfn.exceptions.ExecutionAlreadyExists):
        bench.sfn.start_execution(stateMachineArn=machine, name="one", input="{}")
    bench.sfn.stop_execution(executionArn=first["executionArn"])


def test_fails_when_the_name_was_used(bench: Bench) -> None:
    machine = bench.machine(PASS)
    bench.ended(bench.sfn.start_execution(stateMachineArn=machine, name="one")["executionArn"])
    with pytest.raises(bench.sfn.exceptions.ExecutionAlreadyExists):
        bench.sfn.start_execution(stateMachineArn=machine, name="one")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=f"{arn}x"), "StateMachineDoesNotExist"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, input="{"), "InvalidExecutionInput"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, name="a b"), "InvalidName"),
        (
            lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, input=json.dumps("x" * 262_144)),
            "ValidationException",
        ),
        (lambda sfn, arn: sfn.start_sync_execution(stateMachineArn=arn), "StateMachineTypeNotSupported"),
        (
            lambda sfn, arn: sfn.describe_execution(executionArn=arn.replace("stateMachine", "execution") + ":no"),
            "ExecutionDoesNotExist",
        ),
        (lambda sfn, arn: sfn.describe_execution(executionArn=arn), "InvalidArn"),
        (
            lambda sfn, arn: sfn.describe_map_run(
                mapRunArn=arn.replace("stateMachine", "mapRun") + "/L:11111111-1111-1111-1111-111111111111"
            ),
            "ResourceNotFound",
        ),
        (lambda sfn, arn: sfn.list_executions(stateMachineArn=f"{arn}x"), "StateMachineDoesNotExist"),
        (lambda sfn, _: sfn.send_task_success(taskToken="0" * 64, output="{}"), "TaskTimedOut"),
        (lambda sfn, _: sfn.send_task_success(taskToken="none", output="{}"), "InvalidToken"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, name="a/b"), "InvalidName"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, name="a" * 81), "ValidationException"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, input=""), "InvalidExecutionInput"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=arn, input='{"a": NaN}'), "InvalidExecutionInput"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=f"{arn}:live"), "StateMachineDoesNotExist"),
        (lambda sfn, arn: sfn.start_execution(stateMachineArn=f"{arn}:7"), "StateMachineDoesNotExist"),
        (lambda sfn, arn: sfn.list_executions(stateMachineArn=arn, redriveFilter="redriven"), "ValidationException"),
        (lambda sfn, arn: sfn.list_executions(stateMachineArn=arn, nextToken="zz"), "InvalidToken"),
    ],
    ids=[
        *("no-machine", "input", "name", "large-input", "not-express", "no-execution", "arn", "no-map-run"),
        *("list-no-machine", "token", "no-token", "slash", "long-name", "no-input", "nan", "no-alias", "no-version"),
        *("redrive-filter", "page"),
    ],
)
def test_fails_when_aws_would_fail(bench: Bench, call: Callable[[Any, str], Any], error: str) -> None:
    machine = bench.machine(PASS)
    with pytest.raises(bench.sfn.exceptions.ClientError) as failed:
        call(bench.sfn, machine)
    assert failed.value.response["Error"]["Code"] == error


def test_executions_are_listed_by_status_and_page(bench: Bench, hanging: dict[str, Any]) -> None:
    machine = bench.machine(hanging)
    arns = [bench.sfn.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(3)]
    bench.sfn.stop_execution(executionArn=arns[0])
    running = bench.sfn.list_executions(stateMachineArn=machine, statusFilter="RUNNING", maxResults=1)
    assert [each["executionArn"] for each in running["executions"]] == [arns[2]]
    rest = bench.sfn.list_executions(
        stateMachineArn=machine, statusFilter="RUNNING", maxResults=1, nextToken=running["nextToken"]
    )
    assert [each["executionArn"] for each in rest["executions"]] == [arns[1]]
    assert "nextToken" not in rest
    (aborted,) = bench.sfn.list_executions(stateMachineArn=machine, statusFilter="ABORTED")["executions"]
    assert aborted["executionArn"] == arns[0]
    for arn in arns:
        bench.sfn.stop_execution(executionArn=arn)


def test_stop_is_reported_with_its_reason(bench: Bench, hanging: dict[str, Any]) -> None:
    execution = bench.start(hanging)
    bench.sfn.stop_execution(executionArn=execution, error="E", cause="why")
    found = bench.ended(execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "E", "why")
    last = bench.events(execution)[-1]
    assert (last["type"], last["previousEventId"]) == ("ExecutionAborted", 0)
    assert not any(event["type"] == "TaskStateAborted" for event in bench.events(execution))


def test_stop_ends_the_branches_and_iterations_too(bench: Bench, hanging: dict[str, Any]) -> None:
    each = {"StartAt": "Both", "States": {"Both": {"Type": "Parallel", "Branches": [hanging], "End": True}}}
    state = {"Type": "Map", "MaxConcurrency": 1, "ItemProcessor": each, "End": True}
    execution = bench.start({"StartAt": "Each", "States": {"Each": state}}, [1, 2])
    while bench.events(execution)[-1]["type"] != "LambdaFunctionStarted":
        pass
    bench.sfn.stop_execution(executionArn=execution)
    ended = [event["type"] for event in bench.events(execution) if "Aborted" in event["type"]]
    aborted = ["TaskStateAborted", "MapIterationAborted", "ParallelStateAborted", "MapStateAborted", "ExecutionAborted"]
    assert ended == aborted


def test_stop_ends_the_execution_that_is_waited_for(bench: Bench, hanging: dict[str, Any]) -> None:
    inner = bench.machine(hanging)
    resource = "arn:aws:states:::states:startExecution.sync:2"
    state = {"Type": "Task", "Resource": resource, "Parameters": {"StateMachineArn": inner}, "End": True}
    execution = bench.start({"StartAt": "Wait", "States": {"Wait": state}})
    while not bench.sfn.list_executions(stateMachineArn=inner)["executions"]:
        pass
    bench.sfn.stop_execution(executionArn=execution, error="Enough")
    assert (bench.ended(execution)["status"], bench.ended(execution)["error"]) == ("ABORTED", "Enough")
    (child,) = bench.sfn.list_executions(stateMachineArn=inner)["executions"]
    assert child["status"] == "ABORTED"
    told = bench.sfn.describe_execution(executionArn=child["executionArn"])
    assert "error" not in told
    assert told["cause"] == (
        f"The Task state in AWS Step Functions execution [{execution}] which was managing this resource was aborted"
    )


def test_whoever_waits_for_an_execution_is_told_of_its_end(bench: Bench, hanging: dict[str, Any]) -> None:
    execution = bench.start(hanging)
    assert not bench.engine.wait(execution, seconds=0.01)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(bench.engine.wait, execution, seconds=GIVE_UP_SECONDS)
        bench.sfn.stop_execution(executionArn=execution)
        assert waiting.result()
    assert bench.engine.wait(execution, seconds=GIVE_UP_SECONDS)
    assert not bench.engine.wait(f"{execution}-other", seconds=GIVE_UP_SECONDS)


def test_execution_that_is_waited_for_runs_out_of_time(bench: Bench, hanging: dict[str, Any]) -> None:
    inner = bench.machine(hanging)
    resource = "arn:aws:states:::states:startExecution.sync:2"
    state = {"Type": "Task", "Resource": resource, "Parameters": {"StateMachineArn": inner}, "TimeoutSeconds": 1}
    found = bench.run({"StartAt": "Wait", "States": {"Wait": {**state, "End": True}}})
    assert (found["status"], found["error"]) == ("FAILED", "States.Timeout")
    (child,) = bench.sfn.list_executions(stateMachineArn=inner)["executions"]
    assert child["status"] == "ABORTED"


def test_fails_when_an_execution_is_started_with_an_unknown_field(bench: Bench) -> None:
    state = {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "End": True}
    given = {"StateMachineArn": bench.machine(PASS), "Inputs": {}}
    found = bench.run({"StartAt": "Go", "States": {"Go": {**state, "Parameters": given}}})
    told = 'could not be used to start the Task: [The field "Inputs" is not supported by Step Functions]'
    assert told in found["cause"]
    assert [event["type"] for event in bench.events(found["executionArn"])][-2:] == [
        "TaskStateEntered",
        "ExecutionFailed",
    ]


def test_history_can_be_read_backwards_and_without_data(bench: Bench) -> None:
    execution = bench.ended(bench.start(PASS, {"a": 1}))["executionArn"]
    page = bench.sfn.get_execution_history(executionArn=execution, reverseOrder=True, maxResults=1)
    assert page["events"][0]["type"] == "ExecutionSucceeded"
    bare = bench.sfn.get_execution_history(executionArn=execution, includeExecutionData=False)["events"]
    assert "input" not in bare[0]["executionStartedEventDetails"]


def test_express_executions_run_synchronously(bench: Bench) -> None:
    machine = bench.machine(PASS, express=True)
    answer = bench.sfn.start_sync_execution(stateMachineArn=machine, input='{"a":1}')
    assert (answer["status"], answer["output"]) == ("SUCCEEDED", '{"a":1}')
    assert ":express:" in answer["executionArn"]


def test_fails_when_express_executions_are_listed(bench: Bench) -> None:
    machine = bench.machine(PASS, express=True)
    bench.sfn.start_sync_execution(stateMachineArn=machine)
    with pytest.raises(bench.sfn.exceptions.StateMachineTypeNotSupported):
        bench.sfn.list_executions(stateMachineArn=machine)


def test_alias_runs_the_version_that_it_leads_to(bench: Bench) -> None:
    machine = bench.machine(PASS)
    version = bench.sfn.publish_state_machine_version(stateMachineArn=machine)["stateMachineVersionArn"]
    route = [{"stateMachineVersionArn": version, "weight": 100}]
    alias = bench.sfn.create_state_machine_alias(name="live", routingConfiguration=route)["stateMachineAliasArn"]
    later = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": "later", "End": True}}}
    bench.sfn.update_state_machine(stateMachineArn=machine, definition=json.dumps(later))
    found = {
        arn: bench.ended(bench.sfn.start_execution(stateMachineArn=arn, input='"given"')["executionArn"])
        for arn in (machine, version, alias)
    }
    assert [json.loads(each["output"]) for each in found.values()] == ["later", "given", "given"]
    told = [(each.get("stateMachineVersionArn"), each.get("stateMachineAliasArn")) for each in found.values()]
    assert told == [(None, None), (version, None), (version, alias)]
    assert {each["stateMachineArn"] for each in found.values()} == {machine}
    listed = bench.sfn.list_executions(stateMachineArn=alias)["executions"]
    assert [each["executionArn"] for each in listed] == [found[alias]["executionArn"]]


def test_data_is_left_out_on_request(bench: Bench) -> None:
    execution = bench.run(PASS, {"a": 1})["executionArn"]
    shown = bench.sfn.describe_execution(executionArn=execution, includedData="METADATA_ONLY")
    assert not {"input", "output"} & set(shown)
    assert shown["inputDetails"] == shown["outputDetails"] == {"included": False}
    machine = bench.sfn.describe_state_machine_for_execution(executionArn=execution, includedData="METADATA_ONLY")
    assert machine["definition"] == "{}"
    express = bench.machine(PASS, express=True)
    assert "output" not in bench.sfn.start_sync_execution(stateMachineArn=express, includedData="METADATA_ONLY")


def test_redrive_goes_on_where_it_failed(bench: Bench) -> None:
    broken = [True]

    def work(event: Any) -> Any:
        if broken[0]:
            raise ValueError("broken")
        return event

    bench.functions.handlers["mended"] = work
    resource = "arn:aws:lambda:us-east-1:000000000000:function:mended"
    states = {
        "First": {"Type": "Pass", "Result": {"kept": True}, "Next": "Second"},
        "Second": {"Type": "Task", "Resource": resource, "Next": "When"},
        "When": {
            "Type": "Pass",
            "Parameters": {"at.$": "$$.Execution.RedriveTime"},
            "ResultPath": "$.again",
            "End": True,
        },
    }
    found = bench.run({"StartAt": "First", "States": states})
    assert found["status"] == "FAILED"
    broken[0] = False
    told = bench.sfn.redrive_execution(executionArn=found["executionArn"], clientToken="once")
    again = bench.ended(found["executionArn"])
    assert again["redriveCount"] == 1
    output = json.loads(again["output"])
    assert output["kept"] is True
    assert output["again"]["at"].startswith(told["redriveDate"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M"))
    repeated = bench.sfn.redrive_execution(executionArn=found["executionArn"], clientToken="once")
    assert repeated["redriveDate"] == told["redriveDate"]
    assert bench.ended(found["executionArn"])["redriveCount"] == 1
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types.count("PassStateEntered") == 2
    assert types.count("ExecutionRedriven") == 1


def test_fails_when_a_child_is_redriven_alone(bench: Bench) -> None:
    inner = {"F": {"Type": "Fail", "Error": "No"}}
    found = bench.run(bench.mapped(inner), {"items": [1]})
    run = bench.map_run(found["executionArn"])["mapRunArn"]
    child = bench.sfn.list_executions(mapRunArn=run)["executions"][0]["executionArn"]
    with pytest.raises(bench.sfn.exceptions.ClientError, match="Labeled Execution ARNs are not supported"):
        bench.sfn.redrive_execution(executionArn=child)


def test_definition_is_told_for_an_execution(bench: Bench) -> None:
    found = bench.run(PASS)
    told = bench.sfn.describe_state_machine_for_execution(executionArn=found["executionArn"])
    assert json.loads(told["definition"]) == PASS
    assert told["stateMachineArn"] == found["stateMachineArn"]


@pytest.mark.parametrize(
    "change",
    [{"maxConcurrency": -1}, {"toleratedFailurePercentage": 100.5}, {"toleratedFailureCount": -1}],
    ids=["concurrency", "percentage", "count"],
)
def test_fails_when_a_map_run_gets_what_it_cannot_have(bench: Bench, change: dict[str, float]) -> None:
    found = bench.run(bench.mapped(), {"items": []})
    run = bench.map_run(found["executionArn"])["mapRunArn"]
    with pytest.raises(ApiError, match=f"ValidationException: {next(iter(change))} must be"):
        bench.engine.call("UpdateMapRun", {"mapRunArn": run, **change})


def test_everything_else_goes_to_the_embedded_aws(bench: Bench, client: Callable[..., Any]) -> None:
    through = client("s3", bench.url)
    bucket = bench.bucket()
    body = b"x" * 3_000_000
    through.put_object(Bucket=bucket, Key="a b", Body=body)
    assert through.get_object(Bucket=bucket, Key="a b")["Body"].read() == body
    assert through.head_object(Bucket=bucket, Key="a b")["ContentLength"] == len(body)
    assert through.get_object(Bucket=bucket, Key="a b", Range="bytes=0-2")["Body"].read() == b"xxx"
    assert client("sts", bench.url).get_caller_identity()["Account"] == "000000000000"
    with pytest.raises(through.exceptions.NoSuchKey):
        through.get_object(Bucket=bucket, Key="none")


def test_chunked_uploads_pass(bench: Bench, client: Callable[..., Any]) -> None:
    bucket = bench.bucket()
    url = urlsplit(client("s3", bench.url).generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}))
    connection = http.client.HTTPConnection(str(url.hostname), url.port or 80)
    pieces = iter([b"one ", b"two"])
    connection.request("PUT", f"{url.path}?{url.query}", body=pieces, encode_chunked=True)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    assert bench.body(bucket, "k") == b"one two"


class _Recorder:
    """Allows everything but one action on some resources, and records what it was asked."""

    def __init__(self, denied: str, on: str) -> None:
        self._denied = denied
        self._on = on
        self.asked: set[tuple[str, str]] = set()

    def check(self, role: str, action: str, resource: str, context: ConditionKeys) -> str | None:
        del context
        self.asked.add((action, resource))
        refused = f"{role} is not authorized to perform: {action}"
        return refused if action == self._denied and self._on in resource else None


@pytest.mark.parametrize(
    ("denied", "on", "error"),
    [
        ("none", "", None),
        ("states:StartExecution", "", "States.Runtime"),
        ("s3:GetObject", "/file", "States.ItemReaderFailed"),
        ("s3:GetObject", "/p/", "States.ResultWriterFailed"),
        ("s3:PutObject", "/p/", "States.ResultWriterFailed"),
        ("lambda:InvokeFunction", "", "States.ExceedToleratedFailureThreshold"),
    ],
    ids=["nothing", "start", "read", "read-back", "write", "invoke"],
)
def test_what_a_role_may_not_fails_in_its_place(
    bench: Bench, aws_url: str, denied: str, on: str, error: str | None
) -> None:
    authorizer = _Recorder(denied, on)
    bench.functions.handlers["allowed"] = lambda event: event
    bucket = bench.bucket({"file": b"[1]"})
    made = bench.mapped(
        bench.task("allowed"),
        ItemReader={
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": bucket, "Key": "file"},
        },
        ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": bucket, "Prefix": "p"}},
    )
    machine = bench.machine(made)
    with Engine(endpoint_url=aws_url, invoker=bench.functions, authorizer=authorizer) as engine:
        execution = engine.call("StartExecution", {"stateMachineArn": machine})["executionArn"]
        while (found := engine.call("DescribeExecution", {"executionArn": execution}))["status"] == "RUNNING":
            time.sleep(0.005)
    assert found.get("error") == error
    if error is None:
        assert authorizer.asked >= {
            ("states:StartExecution", machine),
            ("s3:GetObject", f"arn:aws:s3:::{bucket}/file"),
            ("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:000000000000:function:allowed"),
        }
        assert any(action == "s3:PutObject" and f"{bucket}/p/" in resource for action, resource in authorizer.asked)


def test_redrive_runs_only_the_branches_that_failed(bench: Bench) -> None:
    seen: list[Any] = []
    broken = [True]

    def work(event: Any) -> Any:
        seen.append(event)
        if broken[0] and event in {"b", 2}:
            raise ValueError("broken")
        return event

    bench.functions.handlers["branch"] = work

    def call(payload: str, **rest: Any) -> dict[str, Any]:
        arguments = {"FunctionName": "branch", "Payload": payload}
        task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments, **rest}
        return {**task, "Output": "{% $states.result.Payload %}"}

    branch = {"StartAt": "A", "States": {"A": call('"a"', Next="B"), "B": call('"b"', End=True)}}
    distributed = bench.mapped(bench.task("branch"), Items=[1, 2], MaxConcurrency=1)["States"]["Map"]
    inner = {"StartAt": "Map", "States": {"Map": distributed}}
    quick = {"StartAt": "Q", "States": {"Q": {"Type": "Pass", "Output": "quick", "End": True}}}
    definition = {
        "QueryLanguage": "JSONata",
        "StartAt": "Both",
        "States": {"Both": {"Type": "Parallel", "Branches": [branch, inner, quick], "End": True}},
    }
    found = bench.run(definition)
    assert found["status"] == "FAILED"
    broken[0] = False
    seen.clear()
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    again = bench.ended(found["executionArn"])
    assert json.loads(again["output"]) == ["b", [1, 2], "quick"]
    # What had succeeded when the first branch failed isn't run again.
    assert "a" not in seen
    assert seen.count("b") == 1
    assert len(bench.sfn.list_map_runs(executionArn=found["executionArn"])["mapRuns"]) == 1
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types.count("PassStateEntered") == 1
