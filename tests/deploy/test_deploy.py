"""Every stack of the example app is deployed by the real CDK CLI to a local AWS, and read back over its public APIs."""

from __future__ import annotations

import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]

ENVIRONMENT = "aws://000000000000/us-east-1"
STACKS = ["ContentLength", "Images", "Ranges", "Shards", "SourceCode", "SumOfSquares"]

Resources = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def deployed(
    aws_endpoint: str, run_cdk: Any, example_assembly: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Resources]:
    """Physical ids by stack, type and logical id."""
    empty = tmp_path_factory.mktemp("no-app")  # bootstrapping needs no app, and would synthesize one
    aws = {"AWS_ENDPOINT_URL": aws_endpoint}
    run_cdk("bootstrap", ENVIRONMENT, env=aws, cwd=empty)
    run_cdk(
        "deploy", "--all", "--app", str(example_assembly), "--require-approval", "never", "--concurrency", "5", env=aws
    )
    cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=aws_endpoint)
    found: dict[str, Resources] = {}
    for stack in STACKS:
        (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        assert described["StackStatus"] == "CREATE_COMPLETE", stack
        kinds: Resources = found.setdefault(stack, {})
        for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]:
            kinds.setdefault(resource["ResourceType"], {})[resource["LogicalResourceId"]] = resource[
                "PhysicalResourceId"
            ]
    return found


@pytest.fixture(scope="module")
def s3(aws_endpoint: str) -> Iterator[S3Client]:
    client = boto3.client("s3", endpoint_url=aws_endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def sfn(aws_endpoint: str) -> Iterator[SFNClient]:
    client = boto3.client("stepfunctions", endpoint_url=aws_endpoint)
    yield client
    client.close()


@pytest.fixture(scope="module")
def lambda_(aws_endpoint: str) -> Iterator[LambdaClient]:
    client = boto3.client("lambda", endpoint_url=aws_endpoint)
    yield client
    client.close()


def states_of(graph: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in graph["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states_of(state["ItemProcessor"])


def only(resources: dict[str, str], beginning: str) -> str:
    (found,) = [value for key, value in resources.items() if key.startswith(beginning)]
    return found


def test_every_stack_is_deployed_whole(
    deployed: dict[str, Resources], example_templates: dict[str, dict[str, Any]]
) -> None:
    assert sorted(example_templates) == STACKS
    for stack, template in example_templates.items():
        there = {logical_id for resources in deployed[stack].values() for logical_id in resources}
        assert there == set(template["Resources"]), stack


@pytest.mark.parametrize("stack", STACKS)
def test_state_machines_name_what_was_deployed(stack: str, deployed: dict[str, Resources], sfn: SFNClient) -> None:
    functions = set(deployed[stack]["AWS::Lambda::Function"].values())
    buckets = set(deployed[stack]["AWS::S3::Bucket"].values())
    roles = set(deployed[stack]["AWS::IAM::Role"].values())
    for arn in deployed[stack]["AWS::StepFunctions::StateMachine"].values():
        machine = sfn.describe_state_machine(stateMachineArn=arn)
        assert machine["roleArn"].rpartition("/")[2] in roles
        definition = json.loads(machine["definition"])
        states = list(states_of(definition))
        maps = [state for _, state in states if state["Type"] == "Map"]
        assert maps
        for state in maps:
            assert state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
            writer = state["ResultWriter"]
            assert writer["Resource"] == "arn:aws:states:::s3:putObject"
            assert writer["Arguments"]["Bucket"] in buckets
        invoked = {
            state["Arguments"]["FunctionName"].rpartition(":")[2]
            for _, state in states
            if state["Type"] == "Task" and state["Resource"] == "arn:aws:states:::lambda:invoke"
        }
        assert invoked
        assert invoked <= functions


def test_ranges_run_with_the_settings_of_the_example(deployed: dict[str, Resources], sfn: SFNClient) -> None:
    (arn,) = deployed["Ranges"]["AWS::StepFunctions::StateMachine"].values()
    definition = json.loads(sfn.describe_state_machine(stateMachineArn=arn)["definition"])
    (state,) = [state for _, state in states_of(definition) if state["Type"] == "Map"]
    assert state["Label"] == "Ranges"
    assert state["MaxConcurrency"] == 5
    assert state["ItemBatcher"]["MaxItemsPerBatch"] == "{% $max([1, $floor(100 / $power(10, $distmapRound))]) %}"
    assert state["ItemReader"]["ReaderConfig"]["InputType"] == "JSONL"


def test_role_of_the_state_machine_may_run_children_and_nothing_of_another_stack(
    deployed: dict[str, Resources], aws_endpoint: str
) -> None:
    iam = boto3.client("iam", endpoint_url=aws_endpoint)
    stack = deployed["Ranges"]
    (machine,) = stack["AWS::StepFunctions::StateMachine"].values()
    role = only(stack["AWS::IAM::Role"], "RangesRole")
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    (trusted,) = trust["Statement"]
    assert trusted["Principal"] == {"Service": "states.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": "000000000000"}}
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    statements = [statement for document in documents for statement in document["Statement"]]
    starting = [each for each in statements if each["Action"] == "states:StartExecution"]
    assert [each["Resource"] for each in starting] == [machine]
    own = set(stack["AWS::S3::Bucket"].values())
    named = {resource for each in statements for resource in _listed(each["Resource"]) if ":s3:::" in resource}
    assert named
    assert {resource.partition(":::")[2].partition("/")[0] for resource in named} <= own


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_functions_have_their_code_and_the_runtime_layer(deployed: dict[str, Resources], lambda_: LambdaClient) -> None:
    stack = deployed["Ranges"]
    (layer,) = stack["AWS::Lambda::LayerVersion"].values()
    for logical_id, name in stack["AWS::Lambda::Function"].items():
        function = lambda_.get_function(FunctionName=name)
        assert function["Configuration"]["Runtime"] == "python3.13"
        assert function["Configuration"]["Handler"].startswith("handler.")
        assert [each["Arn"] for each in function["Configuration"]["Layers"]] == [layer], logical_id
        assert "handler.py" in _names(function["Code"]["Location"]), logical_id
    content = lambda_.get_layer_version_by_arn(Arn=layer)["Content"]
    assert {"python/distmap/__init__.py", "python/distmap/wire.py"} <= set(_names(content["Location"]))


def _names(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the local AWS
        return zipfile.ZipFile(io.BytesIO(answer.read())).namelist()


def test_payload_bucket_is_encrypted_and_closed(deployed: dict[str, Resources], s3: S3Client) -> None:
    (bucket,) = deployed["Ranges"]["AWS::S3::Bucket"].values()
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    closed = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert set(closed.values()) == {True}
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    (denied,) = policy["Statement"]
    assert denied["Effect"] == "Deny"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert s3.get_bucket_versioning(Bucket=bucket).get("Status") in {None, "Suspended"}


def test_what_the_local_aws_forgets_is_in_the_template_it_took(
    deployed: dict[str, Resources], aws_endpoint: str
) -> None:
    # It keeps neither reserved concurrency nor lifecycle rules.
    cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=aws_endpoint)
    body: Any = cloudformation.get_template(StackName="SumOfSquares")["TemplateBody"]
    resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
    worker = next(name for name in deployed["SumOfSquares"]["AWS::Lambda::Function"] if "Worker" in name)
    bucket = next(name for name in deployed["SumOfSquares"]["AWS::S3::Bucket"] if "PayloadBucket" in name)
    assert resources[worker]["Properties"]["ReservedConcurrentExecutions"] == 20
    # Two pipelines keep their runs in it.
    rules = resources[bucket]["Properties"]["LifecycleConfiguration"]["Rules"]
    kept = sorted((rule["Prefix"], rule["ExpirationInDays"], rule["Status"]) for rule in rules)
    assert kept == [("of-input/runs/", 30, "Enabled"), ("runs/", 30, "Enabled")]
