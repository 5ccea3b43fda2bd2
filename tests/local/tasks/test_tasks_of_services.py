"""Tasks that call other services, under roles that have just what AWS's pages on their permissions name."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.roles import Roles, one_task, statement

if TYPE_CHECKING:
    from cdk_distributed_map.local.server import LocalAws

PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
HERE = "us-east-1:000000000000"
RULE = f"arn:aws:events:{HERE}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"


@pytest.fixture(scope="module")
def machine(local: LocalAws) -> str:
    """A state machine that tasks start."""
    iam = local.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=f"r{uuid.uuid4().hex[:12]}", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    made = local.client("stepfunctions").create_state_machine(
        name=f"m{uuid.uuid4().hex[:12]}", definition=json.dumps(PASS), roleArn=role
    )
    arn: str = made["stateMachineArn"]
    return arn


@pytest.mark.parametrize("form", ["", ".sync", ".sync:2"])
def test_an_execution_is_started_with_the_documented_permissions(roles: Roles, machine: str, form: str) -> None:
    grants = [statement("states:StartExecution", machine)]
    if form:
        execution = machine.replace(":stateMachine:", ":execution:")
        grants += [statement(f"states:{name}Execution", f"{execution}:*") for name in ("Describe", "Stop")]
        grants += [statement(f"events:{name}", RULE) for name in ("PutTargets", "PutRule", "DescribeRule")]
    given = {"StateMachineArn": machine}
    ended = one_task(roles.local, roles.make(*grants), f"states:startExecution{form}", given)
    assert ended.status == "SUCCEEDED", ended.cause


def test_fails_when_a_role_lacks_the_managed_rule(roles: Roles, machine: str) -> None:
    role = roles.make(statement("states:StartExecution", machine), statement("events:PutRule", RULE))
    ended = one_task(roles.local, role, "states:startExecution.sync", {"StateMachineArn": machine})
    assert (ended.status, ended.error) == ("FAILED", "States.Runtime")
    assert f"'{role}' is not authorized to create managed-rule" in ended.cause
    assert f"allow events:DescribeRule, events:PutTargets on {RULE}" in ended.cause


@pytest.fixture(scope="module")
def named(local: LocalAws) -> str:
    """A name that a queue, topic, table, bucket, secret, parameter, key alias, log group and event bus have."""
    name = f"n{uuid.uuid4().hex[:12]}"
    local.client("sqs").create_queue(QueueName=name)
    local.client("sns").create_topic(Name=name)
    local.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("id", "by")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "index",
                "KeySchema": [{"AttributeName": "by", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    local.client("s3").create_bucket(Bucket=name)
    for key in ("in/a", "in/b"):
        local.client("s3").put_object(Bucket=name, Key=key, Body=b"x")
    local.client("secretsmanager").create_secret(Name=name, SecretString="hidden")
    local.client("ssm").put_parameter(Name=f"/{name}/a", Value="v", Type="String")
    local.client("events").create_event_bus(Name=name)
    local.client("logs").create_log_group(logGroupName=name)
    return name


ID = {"id": {"S": "a"}}
URL = "https://sqs.us-east-1.amazonaws.com/000000000000/{name}"
TABLE = f"arn:aws:dynamodb:{HERE}:table/{{name}}"
QUEUE = f"arn:aws:sqs:{HERE}:{{name}}"
ENTRY = {"Source": "s", "DetailType": "d", "Detail": {"a": 1}}
PUT = {"Put": {"TableName": "{name}", "Item": ID}}
CHECK = {
    "ConditionCheck": {
        "TableName": "{name}",
        "Key": {"id": {"S": "b"}},
        "ConditionExpression": "attribute_not_exists(id)",
    }
}
BATCH = {"Id": "1", "MessageBody": "m"}
# Tasks as AWS's pages have them, and the permissions that are given with them.
CASES: dict[str, tuple[str, dict[str, Any], list[tuple[str, str]]]] = {
    "queue": ("sqs:sendMessage", {"QueueUrl": URL, "MessageBody": {"a": 1}}, [("sqs:SendMessage", QUEUE)]),
    "queue-sdk": ("aws-sdk:sqs:sendMessage", {"QueueUrl": URL, "MessageBody": "m"}, [("sqs:SendMessage", QUEUE)]),
    "queue-batch": (
        "aws-sdk:sqs:sendMessageBatch",
        {"QueueUrl": URL, "Entries": [BATCH]},
        [("sqs:SendMessage", QUEUE)],
    ),
    "queue-url": ("aws-sdk:sqs:getQueueUrl", {"QueueName": "{name}"}, [("sqs:GetQueueUrl", QUEUE)]),
    "topic": (
        "sns:publish",
        {"TopicArn": f"arn:aws:sns:{HERE}:{{name}}", "Message": {"a": 1}},
        [("sns:Publish", f"arn:aws:sns:{HERE}:{{name}}")],
    ),
    "put": ("dynamodb:putItem", {"TableName": "{name}", "Item": ID}, [("dynamodb:PutItem", TABLE)]),
    "get": ("dynamodb:getItem", {"TableName": "{name}", "Key": ID}, [("dynamodb:GetItem", TABLE)]),
    "update": (
        "dynamodb:updateItem",
        {
            "TableName": "{name}",
            "Key": ID,
            "UpdateExpression": "SET v = :v",
            "ExpressionAttributeValues": {":v": {"N": "1"}},
        },
        [("dynamodb:UpdateItem", TABLE)],
    ),
    "delete": ("dynamodb:deleteItem", {"TableName": "{name}", "Key": ID}, [("dynamodb:DeleteItem", TABLE)]),
    "query-index": (
        "aws-sdk:dynamodb:query",
        {
            "TableName": "{name}",
            "IndexName": "index",
            "KeyConditionExpression": "#b = :b",
            "ExpressionAttributeNames": {"#b": "by"},
            "ExpressionAttributeValues": {":b": {"S": "x"}},
        },
        [("dynamodb:Query", f"{TABLE}/index/*")],
    ),
    "batch-write": (
        "aws-sdk:dynamodb:batchWriteItem",
        {"RequestItems": {"{name}": [{"PutRequest": {"Item": ID}}]}},
        [("dynamodb:BatchWriteItem", TABLE)],
    ),
    "transaction": (
        "aws-sdk:dynamodb:transactWriteItems",
        {"TransactItems": [PUT, CHECK]},
        [("dynamodb:PutItem", TABLE), ("dynamodb:ConditionCheckItem", TABLE)],
    ),
    "events": (
        "events:putEvents",
        {"Entries": [{**ENTRY, "EventBusName": "{name}"}]},
        [("events:PutEvents", f"arn:aws:events:{HERE}:event-bus/{{name}}")],
    ),
    "secret": (
        "aws-sdk:secretsmanager:getSecretValue",
        {"SecretId": "{name}"},
        [("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{HERE}:secret:{{name}}-??????")],
    ),
    "parameter": (
        "aws-sdk:ssm:getParameter",
        {"Name": "/{name}/a"},
        [("ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/{{name}}/a")],
    ),
    "parameters": (
        "aws-sdk:ssm:getParameters",
        {"Names": ["/{name}/a"]},
        [("ssm:GetParameters", f"arn:aws:ssm:{HERE}:parameter/{{name}}/*")],
    ),
    "log": (
        "aws-sdk:cloudwatchlogs:createLogStream",
        {"LogGroupName": "{name}", "LogStreamName": "s{name}"},
        [("logs:CreateLogStream", f"arn:aws:logs:{HERE}:log-group:{{name}}:*")],
    ),
    "copy": (
        "aws-sdk:s3:copyObject",
        {"Bucket": "{name}", "Key": "out/a", "CopySource": "{name}/in/a"},
        [("s3:GetObject", "arn:aws:s3:::{name}/in/*"), ("s3:PutObject", "arn:aws:s3:::{name}/out/*")],
    ),
    "delete-objects": (
        "aws-sdk:s3:deleteObjects",
        {"Bucket": "{name}", "Delete": {"Objects": [{"Key": "out/a"}, {"Key": "out/b"}]}},
        [("s3:DeleteObject", "arn:aws:s3:::{name}/out/*")],
    ),
    "versions": (
        "aws-sdk:s3:listObjectVersions",
        {"Bucket": "{name}", "Prefix": "in/"},
        [("s3:ListBucketVersions", "arn:aws:s3:::{name}")],
    ),
}


def filled(value: Any, name: str) -> Any:
    """Return a case with the name in it."""
    return json.loads(json.dumps(value).replace("{name}", name))


@pytest.mark.parametrize(("resource", "parameters", "grants"), CASES.values(), ids=list(CASES))
def test_a_task_has_what_its_documented_permissions_give(
    roles: Roles, named: str, resource: str, parameters: dict[str, Any], grants: list[tuple[str, str]]
) -> None:
    role = roles.make(*[statement(action, filled(arn, named)) for action, arn in grants])
    ended = one_task(roles.local, role, resource, filled(parameters, named))
    assert ended.status == "SUCCEEDED", f"{ended.error}: {ended.cause}"


@pytest.mark.parametrize(("resource", "parameters", "grants"), CASES.values(), ids=list(CASES))
def test_fails_when_a_documented_permission_is_missing(
    roles: Roles, named: str, resource: str, parameters: dict[str, Any], grants: list[tuple[str, str]]
) -> None:
    kept = [statement(action, filled(arn, named)) for action, arn in grants[1:]]
    ended = one_task(roles.local, roles.make(*kept), resource, filled(parameters, named))
    if resource == "sns:publish":
        # The policy that AWS gives every topic lets its account publish.
        assert ended.status == "SUCCEEDED"
        return
    assert ended.status == "FAILED"
    assert "is not authorized to perform: " in ended.cause
    assert grants[0][0].lower() in ended.cause.lower()


def test_fails_when_a_service_refuses_by_a_code_of_its_own(roles: Roles, named: str) -> None:
    other = {"TopicArn": f"arn:aws:sns:{HERE}:none", "Message": "m"}
    refused = one_task(roles.local, roles.make(), "sns:publish", other)
    assert refused.error == "SNS.AuthorizationErrorException"
    assert "is not authorized to perform: SNS:Publish on resource: " in refused.cause
    assert "(Service: AmazonSNS; Status Code: 403; Error Code: AuthorizationError; " in refused.cause
    entry = {"Entries": [{**ENTRY, "Detail": "{}", "EventBusName": named}]}
    refused = one_task(roles.local, roles.make(), "aws-sdk:cloudwatchlogs:createLogGroup", {"LogGroupName": "g"})
    assert refused.error == "CloudWatchLogs.AccessDeniedException"
    refused = one_task(roles.local, roles.make(), "aws-sdk:dynamodb:getItem", {"TableName": named, "Key": ID})
    assert refused.error == "DynamoDb.DynamoDbException"
    refused = one_task(roles.local, roles.make(), "events:putEvents", entry)
    assert refused.error.startswith("EventBridge.")


def test_a_token_is_answered_by_who_may_answer_tasks_of_its_machine(roles: Roles, local: LocalAws, named: str) -> None:
    queue = local.client("sqs").create_queue(QueueName=f"t{named}")["QueueUrl"]
    role = roles.make(statement("sqs:SendMessage", f"arn:aws:sqs:{HERE}:t{named}"))
    waiting = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
        "End": True,
    }
    sfn = local.client("stepfunctions")
    machine = sfn.create_state_machine(
        name=f"w{named}", definition=json.dumps({"StartAt": "W", "States": {"W": waiting}}), roleArn=role
    )["stateMachineArn"]
    execution = sfn.start_execution(stateMachineArn=machine)["executionArn"]
    (message,) = local.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    answer = {"TaskToken": json.loads(message["Body"])["token"], "Output": {"ok": True}}
    refused = one_task(local, roles.make(), "aws-sdk:sfn:sendTaskSuccess", answer)
    assert f"states:SendTaskSuccess on resource: {machine} because" in refused.cause
    allowed = roles.make(statement("states:SendTaskSuccess", machine))
    assert one_task(local, allowed, "aws-sdk:sfn:sendTaskSuccess", answer).check().output == {}
    while (ended := sfn.describe_execution(executionArn=execution))["status"] == "RUNNING":
        pass
    assert json.loads(ended["output"]) == {"ok": True}
