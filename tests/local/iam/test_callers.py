"""Who calls: under enforced IAM each call is looked at under its caller's role, also those that the engine answers."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from cdk_distributed_map.local.server import LocalAws

STATES = "arn:aws:states:us-east-1:000000000000"
Calls = Callable[..., Callable[[str], Any]]


@pytest.fixture
def as_role(local: LocalAws) -> Calls:
    """Makes clients of a new role that may do some action."""

    def clients(action: str, resource: str) -> Callable[[str], Any]:
        iam, made = local.client("iam"), len(local.client("iam").list_roles()["Roles"])
        name = f"caller{made}"
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "000000000000"}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        may = {"Effect": "Allow", "Action": action, "Resource": resource}
        document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
        given = local.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return lambda service: boto3.client(
            service,
            endpoint_url=local.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    return clients


@pytest.fixture(scope="module")
def machine(local: LocalAws) -> str:
    """A state machine with a map."""
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = local.client("iam")
    role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "states:StartExecution", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    iam.put_role_policy(RoleName="machine", PolicyName="p", PolicyDocument=document)
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "P",
        "States": {"P": {"Type": "Pass", "End": True}},
    }
    states = {"M": {"Type": "Map", "Label": "L", "ItemsPath": "$", "ItemProcessor": processor, "End": True}}
    definition = json.dumps({"StartAt": "M", "States": states})
    made = local.client("stepfunctions").create_state_machine(name="asked", definition=definition, roleArn=role)
    return str(made["stateMachineArn"])


def test_who_may_send_a_message_may_send_several_at_once(local: LocalAws, as_role: Calls) -> None:
    queue = local.client("sqs").create_queue(QueueName="batches")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:000000000000:batches"
    entries = [{"Id": "1", "MessageBody": "m"}]
    sent = as_role("sqs:SendMessage", arn)("sqs").send_message_batch(QueueUrl=queue, Entries=entries)
    assert len(sent["Successful"]) == 1
    with pytest.raises(ClientError, match="is not authorized to perform: sqs:SendMessage on resource"):
        as_role("sqs:ReceiveMessage", arn)("sqs").send_message_batch(QueueUrl=queue, Entries=entries)


def test_a_caller_may_what_its_role_may(local: LocalAws, as_role: Calls, machine: str) -> None:
    arn = as_role("states:StartExecution", machine)("stepfunctions").start_execution(
        stateMachineArn=machine, input="[1]"
    )["executionArn"]
    local.wait(arn).check()
    listing = as_role("states:ListMapRuns", f"{STATES}:execution:asked:*")("stepfunctions")
    (run,) = listing.list_map_runs(executionArn=arn)["mapRuns"]
    looking = as_role("states:DescribeMapRun", f"{STATES}:mapRun:asked/L:*")("stepfunctions")
    assert looking.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]["succeeded"] == 1


@pytest.mark.parametrize(
    ("call", "arguments", "denied"),
    [
        ("start_execution", {"stateMachineArn": f"{STATES}:stateMachine:asked"}, "states:StartExecution"),
        ("describe_execution", {"executionArn": f"{STATES}:execution:asked:x"}, "states:DescribeExecution"),
        ("describe_map_run", {"mapRunArn": f"{STATES}:mapRun:asked/L:x"}, "states:DescribeMapRun"),
        ("list_executions", {"mapRunArn": f"{STATES}:mapRun:asked/L:x"}, "states:ListExecutions"),
        ("send_task_success", {"taskToken": "x", "output": "{}"}, "states:SendTaskSuccess"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fails_when_a_caller_may_not(
    as_role: Calls, machine: str, call: str, arguments: dict[str, str], denied: str
) -> None:
    client = as_role("s3:*", "*")("stepfunctions")
    named = next((value for value in arguments.values() if value.startswith("arn:")), r"\*")
    message = rf"assumed-role/caller\d+/test is not authorized to perform: {denied} on resource: {named} because no"
    with pytest.raises(ClientError, match=message) as raised:
        getattr(client, call)(**arguments)
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert machine.endswith(":asked")


def test_fails_when_a_role_of_s3_may_not_and_says_what_it_was_about(as_role: Calls, local: LocalAws) -> None:
    local.client("s3").create_bucket(Bucket="asked-about")
    message = r'not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::asked-about/a" because'
    with pytest.raises(ClientError, match=message):
        as_role("states:*", "*")("s3").put_object(Bucket="asked-about", Key="a", Body=b"")


def test_fails_when_nobody_knows_the_caller(local: LocalAws, machine: str) -> None:
    client = boto3.client(
        "stepfunctions",
        endpoint_url=local.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="AKIANOBODY",
        aws_secret_access_key="x",
    )
    with pytest.raises(ClientError, match="The security token included in the request is invalid"):
        client.start_execution(stateMachineArn=machine)


def test_a_token_is_answered_under_the_role_of_who_answers(local: LocalAws, as_role: Calls, machine: str) -> None:
    role = local.client("iam").get_role(RoleName="machine")["Role"]["Arn"]
    queue = local.client("sqs").create_queue(QueueName="tokens")["QueueUrl"]
    may = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    local.client("iam").put_role_policy(RoleName="machine", PolicyName="q", PolicyDocument=document)
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody.$": "$$.Task.Token"},
        "End": True,
    }
    definition = json.dumps({"StartAt": "T", "States": {"T": task}})
    made = local.client("stepfunctions").create_state_machine(name="waits", definition=definition, roleArn=role)
    execution = local.start_execution(made["stateMachineArn"])
    (message,) = local.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    answer = {"taskToken": message["Body"], "output": "7"}
    with pytest.raises(ClientError, match=r"on resource: .*:stateMachine:waits because no"):
        as_role("states:SendTaskSuccess", machine)("stepfunctions").send_task_success(**answer)
    as_role("states:SendTaskSuccess", made["stateMachineArn"])("stepfunctions").send_task_success(**answer)
    assert local.wait(execution).check().output == 7


def test_fails_when_lambda_may_not_assume_the_role_of_a_function(local: LocalAws, machine: str) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("app.py", "def handler(event, context): return 1")
    client = local.client("lambda")
    role = local.client("iam").get_role(RoleName="machine")["Role"]["Arn"]
    client.create_function(
        FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=role, Code={"ZipFile": zipped.getvalue()}
    )
    with pytest.raises(ClientError, match=r"role/machine must exist and trust lambda\.amazonaws\.com"):
        client.invoke(FunctionName="f")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = local.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    client.update_function_configuration(FunctionName="f", Role=made)
    assert client.invoke(FunctionName="f")["Payload"].read() == b"1"
    assert machine


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff"], ids=["array", "half", "no text"])
def test_fails_when_the_parameters_are_no_object(local: LocalAws, body: bytes) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=test/20261125/us-east-1/states/aws4_request, SignedHeaders=host, Signature=x"
    connection = http.client.HTTPConnection(urlsplit(local.endpoint_url).netloc, timeout=60)
    headers = {"X-Amz-Target": "AWSStepFunctions.StartExecution", "Authorization": signed}
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["__type"]) == (400, "SerializationException")
    connection.close()
