"""Functions and executions as tasks call them: by SDK too they run here, and a function may return anything."""

from __future__ import annotations

import base64
import io
import json
import sys
import zipfile
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws

CODE = """
import os, time

def context_of(event, context):
    return {"mb": context.memory_limit_in_mb, "stream": context.log_stream_name, "event": event}

def raw(event, context):
    return event.encode()

def not_a_number(event, context):
    return float("nan")

def wait(event, context):
    time.sleep(600)
"""
ROLE = "arn:aws:iam::000000000000:role/any"


@pytest.fixture(scope="module")
def aws() -> Any:
    """A local AWS without IAM, with a function for each handler."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("app.py", CODE)
    with LocalAws(iam=False) as aws:
        for name in ("context_of", "raw", "not_a_number", "wait"):
            aws.client("lambda").create_function(
                FunctionName=name,
                Runtime="python3.11",
                Handler=f"app.{name}",
                Role=ROLE,
                Timeout=1 if name == "wait" else 60,
                Code={"ZipFile": zipped.getvalue()},
            )
            aws.client("lambda").get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        yield aws


def run(aws: LocalAws, resource: str, parameters: dict[str, Any]) -> Any:
    """Run a state machine of one task."""
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    sfn = aws.client("stepfunctions")
    name = f"m{len(sfn.list_state_machines()['stateMachines'])}"
    definition = json.dumps({"StartAt": "T", "States": {"T": task}})
    return aws.run(sfn.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"])


def test_a_call_by_sdk_runs_on_the_engines_processes(aws: LocalAws) -> None:
    aws.invocations = []
    done = run(aws, "aws-sdk:lambda:invoke", {"FunctionName": "context_of", "Payload": {"n": 1}}).check()
    answer = json.loads(done.output["Payload"])
    assert answer["event"] == {"n": 1}
    assert "[$LATEST]" in answer["stream"]
    assert [name for name, _ in aws.invocations] == ["context_of"]
    aws.invocations = None


def test_an_execution_started_by_sdk_runs_on_the_engine(aws: LocalAws) -> None:
    sfn = aws.client("stepfunctions")
    inner = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": "inner", "End": True}}}
    arn = sfn.create_state_machine(name="inner", definition=json.dumps(inner), roleArn=ROLE)["stateMachineArn"]
    done = run(aws, "aws-sdk:sfn:startExecution", {"StateMachineArn": arn, "Name": "by-sdk", "Input": "{}"}).check()
    assert aws.wait(done.output["ExecutionArn"]).check().output == "inner"


@pytest.mark.parametrize("resource", ["lambda:invoke", "direct"])
@pytest.mark.parametrize(
    ("function", "payload", "shown"),
    [("raw", "plain text", ": plain text"), ("not_a_number", "", "(NaN is not JSON): NaN")],
    ids=["bytes", "nan"],
)
def test_fails_when_a_function_returns_what_is_not_json(
    aws: LocalAws, resource: str, function: str, payload: str, shown: str
) -> None:
    if resource == "direct":
        arn = aws.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
        task = {"Type": "Task", "Resource": arn, "End": True}
        sfn = aws.client("stepfunctions")
        definition = json.dumps({"StartAt": "T", "States": {"T": task}})
        machine = sfn.create_state_machine(name=f"direct-{function}", definition=definition, roleArn=ROLE)
        done = aws.run(machine["stateMachineArn"], payload)
    else:
        done = run(aws, resource, {"FunctionName": function, "Payload": json.dumps(payload)})
    assert (done.status, done.error) == ("FAILED", "Lambda.Unknown")
    assert f"{function} answered what isn't JSON" in str(done.cause)
    assert shown in str(done.cause)


def test_fails_when_a_client_gives_a_context(aws: LocalAws) -> None:
    client = aws.client("lambda")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="give it in the Payload"):
        client.invoke(FunctionName="context_of", ClientContext="e30=")


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms don't tell")
def test_the_memory_of_an_invocation_that_took_too_long_is_reported(aws: LocalAws) -> None:
    aws.invocations = []
    done = run(aws, "lambda:invoke", {"FunctionName": "wait", "Payload": {}})
    assert done.error == "Sandbox.Timedout"
    ((_, result),) = aws.invocations
    assert (result.peak_memory_mb or 0) > 1
    assert "Max Memory Used: " in result.log
    aws.invocations = None


@pytest.mark.parametrize("resource", ["lambda:invoke", "aws-sdk:lambda:invoke"])
def test_a_task_gets_the_end_of_the_log(aws: LocalAws, resource: str) -> None:
    parameters = {"FunctionName": "context_of", "Payload": {}, "LogType": "Tail"}
    output = run(aws, resource, parameters).check().output
    assert "REPORT RequestId: " in base64.b64decode(output["LogResult"]).decode()
    headers = output.get("SdkHttpMetadata", {}).get("HttpHeaders", {"X-Amz-Log-Result": output["LogResult"]})
    assert headers["X-Amz-Log-Result"] == output["LogResult"]
    assert "LogResult" not in run(aws, resource, {**parameters, "LogType": "None"}).check().output
