"""The local AWS as clients see it: functions, roles, executions, one endpoint."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cdk_distributed_map.local.pytest_plugin import local_aws, local_aws_session  # noqa: F401 - fixtures
from cdk_distributed_map.local.server import LocalAws
from tests.local import assemblies

BUCKET = {
    "Bucket": {"Type": "AWS::S3::Bucket"},
    "BucketPolicy": {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {
            "Bucket": {"Ref": "Bucket"},
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Deny",
                        "Principal": {"AWS": "*"},
                        "Action": "s3:*",
                        "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ],
            },
        },
    },
}
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
GIVE_UP_SECONDS = 120


def machine(definition: dict[str, Any], role: str = "Role", **substitutions: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "DefinitionString": {"Fn::Sub": [json.dumps(definition), substitutions]},
            "RoleArn": {"Fn::GetAtt": [role, "Arn"]},
        },
    }


def call(local: LocalAws, function: str, event: Any) -> Any:
    answer = local.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode())
    return json.loads(answer["Payload"].read())


@pytest.fixture
def deployed(local: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stack with functions, a bucket that wants TLS, and a state machine."""
    writer = assemblies.Writer(tmp_path_factory.mktemp("deployed") / "cdk.out")
    may_read = assemblies.allow("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/allowed/*"})
    may_invoke = assemblies.allow("lambda:InvokeFunction", {"Fn::GetAtt": ["Echo", "Arn"]})
    resources = {
        **BUCKET,
        "Role": assemblies.role(may_read),
        "Invoker": assemblies.role(may_invoke),
        "Echo": assemblies.function("echo", Environment={"Variables": {"A": "b"}}),
        "Fail": assemblies.function("fail"),
        "Read": assemblies.function("read"),
        "Who": assemblies.function("who"),
        "MayInvoke": assemblies.function("invoke", "Invoker"),
        "MayNotInvoke": assemblies.function("invoke"),
        "Single": assemblies.function("sleep", ReservedConcurrentExecutions=1),
        "Machine": machine(
            {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "${Arn}", "End": True}}},
            "Invoker",
            Arn={"Fn::GetAtt": ["Echo", "Arn"]},
        ),
    }
    local.deploy(writer.stack("Deployed", resources).write())
    return "Deployed"


def test_a_state_machine_runs_its_function(local: LocalAws, deployed: str) -> None:
    local.invocations = []
    run = local.run(deployed, {"n": 1}).check()
    assert run.output == {"n": 1}
    ((name, result),) = local.invocations
    assert "Echo" in name
    assert result.peak_memory_mb is None or result.peak_memory_mb > 1
    local.invocations = None


def test_a_failed_execution_says_why(local: LocalAws, assembly: Any) -> None:
    failing = {"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Mine", "Cause": "because"}}}
    local.deploy(assembly.stack("Failing", {"Role": assemblies.role(), "M": machine(failing)}).write())
    run = local.run("Failing")
    assert (run.status, run.error, run.cause, run.input) == ("FAILED", "Mine", "because", {})
    with pytest.raises(AssertionError, match="ended FAILED: Mine: because"):
        run.check()


def test_a_machine_is_found_by_its_name_or_that_of_its_stack(local: LocalAws, deployed: str) -> None:
    arn = local.state_machine(deployed)
    assert local.state_machine(arn) == local.state_machine(arn.rsplit(":", 1)[1]) == arn


def test_fails_when_there_is_no_such_machine(local: LocalAws, deployed: str) -> None:
    with pytest.raises(LookupError, match=r"there is no state machine 'Nope'; deployed are: .*Deployed"):
        local.state_machine("Nope")


def test_boto3_invokes_a_function(local: LocalAws, deployed: str, physical: Callable[[str, str], str]) -> None:
    client = local.client("lambda")
    name = physical(deployed, "Echo")
    answer = client.invoke(FunctionName=name, Payload=b'{"a": "\\u00e4"}', LogType="Tail")
    assert json.loads(answer["Payload"].read()) == {"a": "ä"}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "REPORT RequestId:" in base64.b64decode(answer["LogResult"]).decode()
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert call(local, arn, [1]) == [1]
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert client.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")["StatusCode"] == 202


def test_a_failure_is_unhandled(local: LocalAws, deployed: str, physical: Callable[[str, str], str]) -> None:
    answer = local.client("lambda").invoke(FunctionName=physical(deployed, "Fail"))
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"


def test_fails_when_the_function_does_not_exist(local: LocalAws) -> None:
    client = local.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Function not found: nowhere"):
        client.invoke(FunctionName="nowhere")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("eu-west-1:000000000000", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"),
        ("us-east-1:111111111111", "Function not found: arn:aws:lambda:us-east-1:111111111111:function:"),
    ],
    ids=["region", "account"],
)
def test_fails_when_the_function_is_elsewhere(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str], place: str, words: str
) -> None:
    client = local.client("lambda")
    arn = f"arn:aws:lambda:{place}:function:{physical(deployed, 'Fail')}"
    with pytest.raises(client.exceptions.ResourceNotFoundException) as failed:
        client.invoke(FunctionName=arn)
    assert words in failed.value.response["Error"]["Message"]


def test_reserved_concurrency_is_that_of_the_template(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str]
) -> None:
    client = boto3.client(
        "lambda",
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=local.keys.access_key,
        aws_secret_access_key=local.keys.secret_key,
        config=Config(retries={"total_max_attempts": 1}),
    )
    name = physical(deployed, "Single")

    def again_and_again() -> None:
        for _ in range(200):
            client.invoke(FunctionName=name, Payload=b"0")
            time.sleep(0.01)

    client.invoke(FunctionName=name, Payload=b"2", InvocationType="Event")
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        again_and_again()
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_function_has_the_permissions_of_its_role(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str]
) -> None:
    bucket, read = physical(deployed, "Bucket"), physical(deployed, "Read")
    for key in ("allowed/x", "other/x"):
        local.client("s3").put_object(Bucket=bucket, Key=key, Body=b"text")
    assert call(local, read, {"bucket": bucket, "key": "allowed/x"}) == "text"
    denied = call(local, read, {"bucket": bucket, "key": "other/x"})
    assert denied["errorType"] == "AccessDenied"
    assert "not authorized to perform: s3:GetObject" in denied["errorMessage"]
    assert f":assumed-role/{physical(deployed, 'Role')}/" in call(local, physical(deployed, "Who"), {})


def test_a_function_invokes_another_only_where_it_may(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str]
) -> None:
    event = {"function": physical(deployed, "Echo")}
    assert call(local, physical(deployed, "MayInvoke"), event) == "from a function"
    denied = call(local, physical(deployed, "MayNotInvoke"), event)
    assert "not authorized to perform: lambda:InvokeFunction" in denied["errorMessage"]


def test_iam_can_be_off(assembly: Any) -> None:
    resources = {**BUCKET, "Role": assemblies.role(), "Read": assemblies.function("read")}
    outputs = {"Bucket": {"Value": {"Ref": "Bucket"}}, "Read": {"Value": {"Ref": "Read"}}}
    with LocalAws(iam=False) as aws:
        names = aws.deploy(assembly.stack("Off", resources, Outputs=outputs).write())["Off"]
        aws.client("s3").put_object(Bucket=names["Bucket"], Key="k", Body=b"text")
        assert call(aws, names["Read"], {"bucket": names["Bucket"], "key": "k"}) == "text"


def test_a_new_deployment_is_what_runs_next(local: LocalAws, assembly: Any) -> None:
    outputs = {"Name": {"Value": {"Ref": "F"}}}
    resources = {"Role": assemblies.role(), "F": assemblies.function("echo")}
    name = local.deploy(assembly.stack("Changing", resources, Outputs=outputs).write())["Changing"]["Name"]
    assert call(local, name, 1) == 1
    changed = {**resources, "F": assemblies.function("fail")}
    files = {"template": {"source": {"path": "Changing.template.json", "packaging": "file"}, "key": "changed.json"}}
    local.deploy(assembly.stack("Changing", changed, Outputs=outputs, files=files).write())
    assert local.client("lambda").get_function(FunctionName=name)["Configuration"]["Handler"] == "app.fail"
    assert call(local, name, 1)["errorType"] == "ValueError"


def test_logs_of_functions_are_in_cloudwatch_logs(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str]
) -> None:
    name = physical(deployed, "Echo")
    call(local, name, "logged")
    client = local.client("logs")
    give_up = time.monotonic() + GIVE_UP_SECONDS
    found: list[str] = []
    while not any('got "logged"' in line for line in found) and time.monotonic() < give_up:
        time.sleep(0.1)
        groups = client.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
        for group in groups:
            events = client.filter_log_events(logGroupName=group["logGroupName"])["events"]
            found = [event["message"] for event in events]
    assert 'got "logged"' in found
    assert any(line.startswith("REPORT RequestId:") for line in found)


def test_faults_can_be_turned_on_while_it_runs(
    local: LocalAws, deployed: str, physical: Callable[[str, str], str]
) -> None:
    name = physical(deployed, "Echo")
    local.faults.crash = 1.0
    try:
        assert call(local, name, 1)["errorType"] == "Runtime.ExitError"
    finally:
        local.faults.crash = 0.0
    assert call(local, name, 1) == 1


def test_s3_fails_a_state_machine_on_request(local: LocalAws, assembly: Any) -> None:
    definition = {
        "StartAt": "Get",
        "States": {
            "Get": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
                "Parameters": {"Bucket": "${Bucket}", "Key": "k"},
                "ResultSelector": {"length.$": "$.ContentLength"},
                "End": True,
            }
        },
    }
    may_read = assemblies.role(assemblies.allow("s3:GetObject", {"Fn::Sub": "${Bucket.Arn}/k"}))
    resources = {**BUCKET, "Role": may_read, "M": machine(definition, Bucket={"Ref": "Bucket"})}
    outputs = {"Bucket": {"Value": {"Ref": "Bucket"}}}
    bucket = local.deploy(assembly.stack("Faulty", resources, Outputs=outputs).write())["Faulty"]["Bucket"]
    local.client("s3").put_object(Bucket=bucket, Key="k", Body=b"text")
    assert local.run("Faulty").check().output == {"length": 4}
    local.faults.s3_error = 1.0
    try:
        run = local.run("Faulty")
    finally:
        local.faults.s3_error = 0.0
    assert run.status == "FAILED"
    assert run.cause is not None
    assert "We encountered an internal error" in run.cause
    assert local.run("Faulty").status == "SUCCEEDED"


def test_the_fixture_reaches_boto3_of_the_test(local_aws: LocalAws) -> None:  # noqa: F811 - the fixture
    boto3.client("s3").create_bucket(Bucket="from-a-test")
    names = [bucket["Name"] for bucket in local_aws.client("s3").list_buckets()["Buckets"]]
    assert "from-a-test" in names
    local_aws.faults.crash = 1.0


@pytest.fixture
def session_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``boto3.client`` of an earlier test leaves: a session with credentials of another AWS."""
    before = boto3.Session(aws_access_key_id="before", aws_secret_access_key="before", region_name="eu-west-1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", before)


@pytest.mark.usefixtures("session_of_before")
def test_the_fixture_reaches_boto3_that_had_other_credentials_before(local_aws: LocalAws) -> None:  # noqa: F811 - the fixture
    assert boto3.client("sts").get_caller_identity()["Account"] == "000000000000"
    assert boto3.client("s3").meta.region_name == local_aws.environment()["AWS_REGION"]


def test_the_fixture_turns_faults_off_again(local_aws: LocalAws) -> None:  # noqa: F811 - the fixture
    assert local_aws.faults.crash == 0.0


def test_nothing_of_this_machines_configuration_is_used(
    local: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configuration = tmp_path / "config"
    configuration.write_text("[profile prod]\nregion = eu-west-1\nendpoint_url = https://example.com\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://example.com")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert local.client("sts").get_caller_identity()["Account"] == "000000000000"


def test_state_is_kept_where_it_is_asked_to(tmp_path: Path, assembly: Any) -> None:
    state = tmp_path / "state"
    content = {"S3Bucket": {"Fn::Sub": assemblies.BUCKET}, "S3Key": "code.zip"}
    resources = {
        "Role": assemblies.role(),
        "Layer": {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": content}},
        "F": assemblies.function("echo", ReservedConcurrentExecutions=3, Layers=[{"Ref": "Layer"}]),
    }
    outputs = {"Name": {"Value": {"Ref": "F"}}}
    with LocalAws(state=state) as aws:
        name = aws.deploy(assembly.stack("Kept", resources, Outputs=outputs).write())["Kept"]["Name"]
    with LocalAws(state=state) as aws:
        assert call(aws, name, "still") == "still"


def test_fails_when_it_is_not_started() -> None:
    with pytest.raises(RuntimeError, match="isn't started"):
        LocalAws().client("s3")


def test_everything_ends_with_it() -> None:
    with LocalAws() as aws:
        pids = list(aws.pids.values())
    assert not any(_alive(pid) for pid in pids)
    aws.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_engine_needs_neither_the_cdk_nor_node() -> None:
    script = (
        "import sys, cdk_distributed_map.local.server, cdk_distributed_map.local.__main__\n"
        "print([m for m in ('aws_cdk', 'jsii', 'constructs') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
