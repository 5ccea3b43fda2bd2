"""Calls of other services: how parameters go in, and how answers and errors come back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local import UnsupportedError
from cdk_distributed_map.local.tasks import java
from cdk_distributed_map.local.tasks.resources import integration

if TYPE_CHECKING:
    from tests.local.bench import Bench

SDK = "arn:aws:states:::aws-sdk:"
OPTIMIZED = "arn:aws:states:::"
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": {"done": True}, "End": True}}}


def call(resource: str, parameters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    state = {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True, **fields}
    return {"StartAt": "Call", "States": {"Call": state}}


@pytest.fixture
def table(client: Callable[..., Any]) -> str:
    name = f"t{uuid.uuid4().hex[:8]}"
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.mark.parametrize("prefix", [f"{OPTIMIZED}dynamodb", f"{SDK}dynamodb"], ids=["optimized", "sdk"])
def test_names_that_are_data_stay_as_they_are(bench: Bench, table: str, prefix: str) -> None:
    item = {"id": {"S": "a"}, "lower": {"M": {"inner": {"N": "1"}}}, "Upper": {"BOOL": True}}
    bench.output(call(f"{prefix}:putItem", {"TableName": table, "Item": item}))
    found = bench.output(call(f"{prefix}:getItem", {"TableName": table, "Key": {"id": {"S": "a"}}}))
    assert found["Item"] == item
    if prefix.startswith(SDK):
        assert set(found) == {"Item"}
    else:
        assert found["SdkHttpMetadata"]["HttpStatusCode"] == 200
        assert found["SdkHttpMetadata"]["HttpHeaders"]["x-amzn-requestid"] == found["SdkResponseMetadata"]["RequestId"]


def test_metadata_of_an_object_stays_as_it_is(bench: Bench) -> None:
    bucket = bench.bucket()
    bench.s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"owner": "me"})
    found = bench.output(call(f"{SDK}s3:getObject", {"Bucket": bucket, "Key": "k"}))
    assert (found["Metadata"], found["Body"], found["ETag"][:1]) == ({"owner": "me"}, "x", '"')


@pytest.mark.parametrize(
    ("body", "stored"),
    [("text", b'"text"'), ("", b'""'), ({"a": [1, None]}, b'{"a":[1,null]}'), (7, b"7"), (False, b"false")],
    ids=["text", "empty", "object", "number", "boolean"],
)
def test_the_body_of_an_object_is_stored_as_json(bench: Bench, body: Any, stored: bytes) -> None:
    bucket = bench.bucket()
    bench.output(call(f"{SDK}s3:putObject", {"Bucket": bucket, "Key": "k", "Body": body}))
    assert bench.s3.get_object(Bucket=bucket, Key="k")["Body"].read() == stored


def test_numbers_may_be_written_as_texts(bench: Bench) -> None:
    bucket = bench.bucket({"a": b"1", "b": b"2"})
    found = bench.output(call(f"{SDK}s3:listObjectsV2", {"Bucket": bucket, "MaxKeys": "1"}))
    assert [each["Key"] for each in found["Contents"]] == ["a"]
    # As Java writes it: no more digits of a second than it needs, three at a time.
    assert len(found["Contents"][0]["LastModified"]) in {len("2026-01-31T12:00:00Z"), len("2026-01-31T12:00:00.123Z")}


def test_step_functions_is_the_engine_itself(bench: Bench) -> None:
    machine, express = bench.machine(PASS), bench.machine(PASS, express=True)
    started = bench.output(call(f"{SDK}sfn:startExecution", {"StateMachineArn": machine, "Input": {"a": 1}}))
    assert bench.ended(started["ExecutionArn"])["status"] == "SUCCEEDED"
    told = bench.output(call(f"{SDK}sfn:describeExecution", {"ExecutionArn": started["ExecutionArn"]}))
    assert (told["Status"], told["Input"], told["Output"]) == ("SUCCEEDED", '{"a":1}', '{"done":true}')
    assert told["StartDate"].endswith("Z")
    synchronous = bench.output(call(f"{SDK}sfn:startSyncExecution", {"StateMachineArn": express}))
    assert ":express:" in synchronous["ExecutionArn"]
    assert json.loads(synchronous["Output"]) == {"done": True}


def test_a_machine_answers_the_token_of_another(bench: Bench) -> None:
    tokens: list[str] = []
    bench.functions.handlers["keeps"] = lambda event: tokens.append(event["token"])
    payload = {"token.$": "$$.Task.Token"}
    waiting = call(f"{OPTIMIZED}lambda:invoke.waitForTaskToken", {"FunctionName": "keeps", "Payload": payload})
    execution = bench.start(waiting)
    while not tokens:
        assert bench.sfn.describe_execution(executionArn=execution)["status"] == "RUNNING"
    bench.output(call(f"{SDK}sfn:sendTaskSuccess", {"TaskToken": tokens[0], "Output": {"ok": 1}}))
    assert json.loads(bench.ended(execution)["output"]) == {"ok": 1}


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "cause"),
    [
        (
            f"{SDK}dynamodb:getItem",
            {"TableName": "none", "Key": {"id": {"S": "a"}}},
            "DynamoDb.ResourceNotFoundException",
            "(Service: DynamoDb, Status Code: 400, Request ID: ",
        ),
        (
            f"{OPTIMIZED}dynamodb:getItem",
            {"TableName": "none", "Key": {"id": {"S": "a"}}},
            "DynamoDB.ResourceNotFoundException",
            "(Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: ",
        ),
        (
            f"{OPTIMIZED}sns:publish",
            {"TopicArn": "arn:aws:sns:us-east-1:000000000000:none", "Message": "m"},
            "SNS.NotFoundException",
            "(Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: ",
        ),
        (
            f"{SDK}sqs:sendMessage",
            {"QueueUrl": "http://sqs/000000000000/none", "MessageBody": "m"},
            "Sqs.QueueDoesNotExistException",
            "(Service: Sqs, Status Code: 400, Request ID: ",
        ),
        (
            f"{SDK}s3:headObject",
            {"Bucket": "no-such-bucket-here", "Key": "k"},
            "S3.NoSuchKeyException",
            "(Service: S3, Status Code: 404, Request ID: ",
        ),
        (f"{SDK}iam:getRole", {"RoleName": "none"}, "Iam.NoSuchEntityException", "(Service: Iam, Status Code: 404, "),
        (
            f"{SDK}sfn:describeExecution",
            {"ExecutionArn": "arn:aws:states:us-east-1:000000000000:execution:m:none"},
            "Sfn.ExecutionDoesNotExistException",
            "(Service: Sfn, Status Code: 400, Request ID: ",
        ),
    ],
    ids=["sdk", "optimized", "short-code", "old-code", "no-body", "entity", "engine"],
)
def test_fails_when_a_service_refuses(
    bench: Bench, resource: str, parameters: dict[str, Any], error: str, cause: str
) -> None:
    found = bench.run(call(resource, parameters))
    assert (found["status"], found["error"]) == ("FAILED", error)
    assert cause in found["cause"]


@pytest.mark.parametrize(
    ("resource", "parameters", "error", "cause"),
    [
        (
            f"{OPTIMIZED}dynamodb:putItem",
            {"TableName": "t"},
            "DynamoDB.AmazonDynamoDBException",
            (
                "1 validation error detected: Value null at 'item' failed to satisfy constraint: Member must not be "
                "null (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ValidationException; Request ID: "
            ),
        ),
        (
            f"{SDK}dynamodb:putItem",
            {"TableName": ""},
            "DynamoDb.DynamoDbException",
            (
                "2 validation errors detected: Value null at 'item' failed to satisfy constraint: Member must not be "
                "null; Value '' at 'tableName' failed to satisfy constraint: Member must have length greater than or "
                "equal to 1"
            ),
        ),
        (
            f"{OPTIMIZED}sqs:sendMessage",
            {"QueueUrl": "http://sqs/000000000000/none"},
            "SQS.AmazonSQSException",
            (
                "The request must contain the parameter MessageBody. (Service: AmazonSQS; Status Code: 400; Error "
                "Code: MissingParameter; Request ID: "
            ),
        ),
        (f"{OPTIMIZED}sns:publish", {"TopicArn": "t"}, "SNS.InvalidParameterException", "Invalid parameter: Message "),
        (
            f"{SDK}secretsmanager:getSecretValue",
            {},
            "SecretsManager.SecretsManagerException",
            "1 validation error detected: Value null at 'secretId' failed",
        ),
    ],
    ids=["optimized", "sdk-two", "queue", "topic", "secret"],
)
def test_missing_parameters_are_an_error_of_the_service(
    bench: Bench, resource: str, parameters: dict[str, Any], error: str, cause: str
) -> None:
    found = bench.run(call(resource, parameters))
    assert (found["status"], found["error"]) == ("FAILED", error)
    assert cause in found["cause"]
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Next": "After"}]
    machine = call(resource, parameters, Catch=catch)
    machine["States"]["After"] = {"Type": "Pass", "Result": "caught", "End": True}
    assert bench.output(machine) == "caught"


@pytest.mark.parametrize(
    ("resource", "parameters", "field"),
    [
        (f"{SDK}s3:getObject", {"bucket": "b", "Key": "k"}, "bucket"),
        (f"{SDK}rds:stopDBInstance", {"DBInstanceIdentifier": "d"}, "DBInstanceIdentifier"),
        (f"{SDK}s3:putObject", {"Bucket": "b", "Key": "k", "SSEKMSKeyId": "x"}, "SSEKMSKeyId"),
        (f"{SDK}dynamodb:putItem", {"TableName": "t", "Item": {"id": {"s": "a"}}}, "s"),
        (f"{OPTIMIZED}sqs:sendMessage", {"QueueUrl": "q", "MessageBody": "m", "TaskToken": "t"}, "TaskToken"),
        (f"{OPTIMIZED}lambda:invoke", {"FunctionName": "f", "TaskToken": "t"}, "TaskToken"),
        (f"{SDK}lambda:invoke", {"FunctionName": "f", "payload": {}}, "payload"),
    ],
    ids=["small", "acronym", "acronyms", "inside", "optimized", "function", "function-sdk"],
)
def test_fails_when_a_field_is_not_named_as_the_sdk_for_java_does(
    bench: Bench, resource: str, parameters: dict[str, Any], field: str
) -> None:
    found = bench.run(call(resource, parameters))
    assert found["error"] == "States.Runtime"
    assert found["cause"] == (
        "An error occurred while executing the state 'Call' (entered at the event id #2). The Parameters "
        f"'{json.dumps(parameters, separators=(',', ':'))}' could not be used to start the Task: "
        f'[The field "{field}" is not supported by Step Functions]'
    )
    assert [event["type"] for event in bench.events(found["executionArn"])][1:] == [
        "TaskStateEntered",
        "ExecutionFailed",
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ARN", "Arn"),
        ("DBInstanceIdentifier", "DbInstanceIdentifier"),
        ("SSEKMSKeyId", "SsekmsKeyId"),
        ("ETag", "ETag"),
        ("MD5OfMessageBody", "Md5OfMessageBody"),
        ("ChecksumCRC32", "ChecksumCRC32"),
        ("VPCSecurityGroups", "VpcSecurityGroups"),
        ("logGroupName", "LogGroupName"),
        ("S3Key", "S3Key"),
        ("id", "Id"),
    ],
)
def test_members_are_named_as_the_sdk_for_java_does(name: str, told: str) -> None:
    assert java.member(name) == told


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        ("DynamoDB", "DynamoDb"),
        ("CloudWatch Logs", "CloudWatchLogs"),
        ("SFN", "Sfn"),
        ("EC2", "Ec2"),
        ("ElastiCache", "ElastiCache"),
        ("API Gateway", "ApiGateway"),
        ("CodeBuild", "CodeBuild"),
        ("RDS Data", "RdsData"),
        ("Elastic Load Balancing v2", "ElasticLoadBalancingV2"),
        ("Database Migration Service", "DatabaseMigration"),
    ],
)
def test_services_are_named_as_the_sdk_for_java_does(identity: str, told: str) -> None:
    assert java.service(identity) == told


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ("QueueDoesNotExist", "QueueDoesNotExistException"),
        ("DBInstanceNotFoundFault", "DbInstanceNotFoundException"),
        ("KMSInvalidStateException", "KmsInvalidStateException"),
        ("EC2AccessDeniedException", "Ec2AccessDeniedException"),
        ("ConditionalCheckFailedException", "ConditionalCheckFailedException"),
    ],
)
def test_errors_are_named_as_the_sdk_for_java_does(shape: str, told: str) -> None:
    assert java.exception(shape) == told


def test_results_are_named_as_the_sdk_for_java_does(bench: Bench, client: Callable[..., Any]) -> None:
    name = f"s{uuid.uuid4().hex[:8]}"
    client("secretsmanager").create_secret(Name=name, SecretString="{}")
    found = bench.output(call(f"{SDK}secretsmanager:getSecretValue", {"SecretId": name}))
    assert {"Arn", "CreatedDate", "Name", "SecretString", "VersionId", "VersionStages"} <= set(found)
    queue = client("sqs").create_queue(QueueName=name)["QueueUrl"]
    message = {"QueueUrl": queue, "MessageBody": {"a": 1}}
    assert set(bench.output(call(f"{SDK}sqs:sendMessage", message))) == {"Md5OfMessageBody", "MessageId"}
    # The optimized integration is older, and has the names of the API.
    told = bench.output(call(f"{OPTIMIZED}sqs:sendMessage", message))
    assert set(told) == {"MD5OfMessageBody", "MessageId", "SdkHttpMetadata", "SdkResponseMetadata"}


@pytest.mark.parametrize(
    ("service", "right"), [("logs", "cloudwatchlogs"), ("events", "eventbridge"), ("stepfunctions", "sfn")]
)
def test_fails_when_a_service_has_another_name_in_resources(service: str, right: str) -> None:
    with pytest.raises(UnsupportedError, match=f"has no service '{service}': AWS's name of it is '{right}'"):
        integration(f"{SDK}{service}:listTagsForResource")


def test_fails_when_a_parameter_has_the_wrong_type(bench: Bench) -> None:
    found = bench.run(call(f"{OPTIMIZED}dynamodb:putItem", {"TableName": "t", "Item": ["a"]}))
    assert found["error"] == "States.Runtime"


def test_fails_when_an_optimized_call_has_an_error_of_no_class_of_its_own(bench: Bench, table: str) -> None:
    found = bench.run(call(f"{OPTIMIZED}dynamodb:putItem", {"TableName": table, "Item": {"other": {"S": "a"}}}))
    assert found["error"] == "DynamoDB.AmazonDynamoDBException"
    assert "Error Code: ValidationException;" in found["cause"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"InvocationType": "DryRun"}, "doesn't run the InvocationType"),
        ({"ClientContext": "e30="}, "doesn't run ClientContext"),
        ({"LogType": "Head"}, "must be Tail or None"),
    ],
    ids=["dry-run", "context", "log"],
)
def test_fails_when_an_invocation_has_what_would_be_ignored(bench: Bench, more: dict[str, str], told: str) -> None:
    before = bench.functions.invocations
    bench.functions.handlers["unasked"] = lambda event: event
    found = bench.run(call(f"{OPTIMIZED}lambda:invoke", {"FunctionName": "unasked", **more}))
    assert found["error"] == "States.Runtime"
    assert told in found["cause"]
    assert bench.functions.invocations == before


def test_invocation_through_the_sdk_answers_with_text(bench: Bench) -> None:
    bench.functions.handlers["told"] = lambda event: event["a"]
    found = bench.output(call(f"{SDK}lambda:invoke", {"FunctionName": "told", "Payload": {"a": [1]}}))
    assert found == {"ExecutedVersion": "$LATEST", "Payload": "[1]", "StatusCode": 200}


def test_invocation_through_the_sdk_takes_an_error_for_an_answer(bench: Bench) -> None:
    bench.functions.handlers["breaks"] = bench.failing_on({})
    found = bench.output(call(f"{SDK}lambda:invoke", {"FunctionName": "breaks"}))
    assert found["FunctionError"] == "Unhandled"
    assert json.loads(found["Payload"])["errorType"] == "ValueError"


def test_fails_when_the_sdk_finds_no_function(bench: Bench) -> None:
    found = bench.run(call(f"{SDK}lambda:invoke", {"FunctionName": "there-is-none"}))
    assert found["error"] == "Lambda.ResourceNotFoundException"
    assert "function:there-is-none (Service: Lambda, Status Code: 404, Request ID: " in found["cause"]


def test_fails_when_a_function_answers_what_is_not_json(bench: Bench) -> None:
    bench.functions.handlers["counts-nothing"] = lambda _event: float("nan")
    found = bench.run(call(f"{OPTIMIZED}lambda:invoke", {"FunctionName": "counts-nothing"}))
    assert found["error"] == "Lambda.Unknown"
    assert "answered what isn't JSON (NaN is not JSON): NaN" in found["cause"]
