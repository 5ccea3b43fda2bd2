"""Asynchronous invocations of deployed functions: by themselves and by tasks, and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.assemblies import Writer, allow, function, role

if TYPE_CHECKING:
    from cdk_distributed_map.local.server import LocalAws


@pytest.fixture(scope="module")
def queue(local: LocalAws) -> str:
    """A queue for what becomes of invocations."""
    local.client("sqs").create_queue(QueueName="ended-events")
    return "arn:aws:sqs:us-east-1:000000000000:ended-events"


def messages(local: LocalAws, count: int) -> list[dict[str, Any]]:
    """Take so many messages from the queue, once they are there."""
    sqs = local.client("sqs")
    url = sqs.get_queue_url(QueueName="ended-events")["QueueUrl"]
    found: list[dict[str, Any]] = []
    while len(found) < count:
        got = sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages", [])
        assert got, f"only {len(found)} of {count} messages came"
        for each in got:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        found += got
    return found


def told(handler: str, queue: str, **config: Any) -> dict[str, Any]:
    """Return a function, and that the queue is told of its events."""
    to_queue = {"OnSuccess": {"Destination": queue}, "OnFailure": {"Destination": queue}}
    configured = {"FunctionName": {"Ref": "F"}, "Qualifier": "$LATEST", "DestinationConfig": to_queue, **config}
    return {"F": function(handler), "Told": {"Type": "AWS::Lambda::EventInvokeConfig", "Properties": configured}}


def test_a_function_invokes_itself_and_each_event_is_told(
    local: LocalAws, assembly: Writer, physical: Callable[[str, str], str], queue: str
) -> None:
    may = [allow("lambda:InvokeFunction", "*"), allow("sqs:SendMessage", queue)]
    local.deploy(assembly.stack("Again", {"Role": role(*may), **told("again", queue)}).write())
    client, name = local.client("lambda"), physical("Again", "F")
    assert client.invoke(FunctionName=name, InvocationType="Event", Payload=b"2")["StatusCode"] == 202
    records = [json.loads(each["Body"]) for each in messages(local, 3)]
    assert sorted(each["requestPayload"] for each in records) == [0, 1, 2]
    assert [each["requestContext"]["condition"] for each in records] == ["Success"] * 3
    assert {each["requestContext"]["functionArn"].rsplit(":", 2)[1] for each in records} == {name}


def test_fails_when_a_function_may_not_invoke_itself_and_it_is_told(
    local: LocalAws, assembly: Writer, physical: Callable[[str, str], str], queue: str
) -> None:
    resources = {"Role": role(allow("sqs:SendMessage", queue)), **told("again", queue, MaximumRetryAttempts=0)}
    local.deploy(assembly.stack("MayNot", resources).write())
    local.client("lambda").invoke(FunctionName=physical("MayNot", "F"), InvocationType="Event", Payload=b"1")
    record = json.loads(messages(local, 1)[0]["Body"])
    context = record["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetriesExhausted", 1)
    assert "is not authorized to perform: lambda:InvokeFunction" in record["responsePayload"]["errorMessage"]


@pytest.mark.parametrize("resource", ["lambda:invoke", "aws-sdk:lambda:invoke"])
def test_a_task_hands_an_event_over_without_waiting(
    local: LocalAws, assembly: Writer, physical: Callable[[str, str], str], queue: str, resource: str
) -> None:
    name = f"Task{resource.split(':', maxsplit=1)[0].replace('-', '')}"
    parameters = {"FunctionName": "${F}", "InvocationType": "Event", "Payload": {"n": 1}}
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    definition = {"StartAt": "T", "States": {"T": task}}
    machine = {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
            "DefinitionString": {"Fn::Sub": json.dumps(definition)},
        },
    }
    may = [allow("lambda:InvokeFunction", "*"), allow("sqs:SendMessage", queue)]
    local.deploy(assembly.stack(name, {"Role": role(*may), "M": machine, **told("echo", queue)}).write())
    output = local.run(physical(name, "M")).check().output
    assert output["StatusCode"] == 202
    assert "ExecutedVersion" not in output
    record = json.loads(messages(local, 1)[0]["Body"])
    assert record["requestPayload"] == record["responsePayload"] == {"n": 1}


def test_an_event_that_a_function_was_given_up_on_goes_to_its_dead_letter_queue(
    local: LocalAws, assembly: Writer, physical: Callable[[str, str], str], queue: str
) -> None:
    dead = function("fail", DeadLetterConfig={"TargetArn": queue})
    local.deploy(assembly.stack("Dead", {"Role": role(allow("sqs:SendMessage", queue)), "F": dead}).write())
    local.client("lambda").invoke(FunctionName=physical("Dead", "F"), InvocationType="Event", Payload=b'{"n": 1}')
    (message,) = messages(local, 1)
    kept = {name: each["StringValue"] for name, each in message["MessageAttributes"].items()}
    assert json.loads(message["Body"]) == {"n": 1}
    assert (kept["ErrorCode"], kept["ErrorMessage"]) == ("200", "no")
    assert len(kept["RequestID"]) == 36
