"""Customer-managed keys: what KMS would be asked for under the state machine's role is evaluated, and suffices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from botocore.exceptions import ClientError

from cdk_distributed_map import Batching, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.server import LocalAws

CODE = """
from distmap import process_items

@process_items
def handler(item):
    return item["n"] ** 2
"""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A pipeline whose files, functions and executions have a key, over a bucket with another one."""
    code, out = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("out")
    (code / "handler.py").write_text(CODE)
    app = cdk.App(analytics_reporting=False, outdir=str(out))
    stack = cdk.Stack(app, "Keyed")
    of_data, own = kms.Key(stack, "OfData"), kms.Key(stack, "Own")
    bucket = s3.Bucket(stack, "Data", encryption=s3.BucketEncryption.KMS, encryption_key=of_data, enforce_ssl=True)
    pipeline = DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.json_lines(bucket, "numbers.jsonl"),
        worker=Worker.python(str(code), handler="handler.handler"),
        batching=Batching(max_items=2),
        encryption_key=own,
    )
    cdk.CfnOutput(stack, "Bucket", value=bucket.bucket_name)
    cdk.CfnOutput(stack, "Role", value=pipeline.role.role_name)
    cdk.CfnOutput(stack, "DataKey", value=of_data.key_arn)
    cdk.CfnOutput(stack, "OwnKey", value=own.key_arn)
    app.synth()
    with LocalAws() as aws:
        outputs = aws.deploy(out)["Keyed"]
        body = "".join(json.dumps({"n": n}) + "\n" for n in range(5))
        aws.client("s3").put_object(Bucket=outputs["Bucket"], Key="numbers.jsonl", Body=body)
        yield aws


def outputs(aws: LocalAws) -> dict[str, str]:
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="Keyed")["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


def policies(aws: LocalAws) -> dict[str, dict[str, Any]]:
    iam, role = aws.client("iam"), outputs(aws)["Role"]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def test_a_pipeline_with_keys_runs_with_just_its_permissions(keyed: LocalAws) -> None:
    run = keyed.run("Keyed").check()
    assert run.status == "SUCCEEDED"


def keeping(aws: LocalAws, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Leave the role only the statements that are wanted."""
    iam, role = aws.client("iam"), outputs(aws)["Role"]
    for name, policy in policies(aws).items():
        left = [each for each in policy["Statement"] if wanted(each)]
        if left:
            document = json.dumps({**policy, "Statement": left})
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
        else:
            iam.delete_role_policy(RoleName=role, PolicyName=name)


@pytest.fixture
def restored(keyed: LocalAws) -> Iterator[LocalAws]:
    """The same, with the role's policies given back afterwards."""
    before = policies(keyed)
    yield keyed
    for name, policy in before.items():
        keyed.client("iam").put_role_policy(
            RoleName=outputs(keyed)["Role"], PolicyName=name, PolicyDocument=json.dumps(policy)
        )


def test_fails_when_the_key_of_the_items_may_not_be_used(restored: LocalAws) -> None:
    key = outputs(restored)["DataKey"]
    keeping(restored, lambda each: each["Resource"] != key)
    run = restored.run("Keyed")
    assert (run.status, run.error) == ("FAILED", "States.ItemReaderFailed")
    assert f"is not authorized to perform: kms:Decrypt on resource: {key} because" in str(run.cause)


def test_fails_when_the_key_of_the_results_may_not_be_used(restored: LocalAws) -> None:
    key = outputs(restored)["OwnKey"]
    keeping(restored, lambda each: each["Resource"] != key or "Condition" in each)
    run = restored.run("Keyed")
    assert (run.status, run.error) == ("FAILED", "States.ResultWriterFailed")
    assert f"is not authorized to perform: kms:GenerateDataKey on resource: {key} because" in str(run.cause)


def test_fails_when_the_key_of_the_executions_may_not_be_used(restored: LocalAws) -> None:
    key = outputs(restored)["OwnKey"]
    keeping(restored, lambda each: each["Resource"] != key)
    with pytest.raises(ClientError, match="is not authorized to perform: kms:") as raised:
        restored.run("Keyed")
    assert raised.value.response["Error"]["Code"] == "KmsAccessDeniedException"
