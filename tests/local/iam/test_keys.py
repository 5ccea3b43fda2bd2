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
from tests.deployments import Deploy

CODE = """
from distmap import process_items

@process_items
def handler(item):
    return item["n"] ** 2
"""


@pytest.fixture(scope="module")
def keyed(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
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
    keys_apart(app, str(code))
    app.synth()
    deployed = deploy(out)
    body = "".join(json.dumps({"n": n}) + "\n" for n in range(5))
    for each in deployed.values():
        shared_aws.client("s3").put_object(Bucket=each["Bucket"], Key="numbers.jsonl", Body=body)
    return shared_aws


def keys_apart(app: cdk.App, code: str) -> None:
    """Add a stack in which no key is used for two things, so that each statement about one stands alone."""
    stack = cdk.Stack(app, "Apart")
    data, payload = (
        s3.Bucket(
            stack, name, encryption=s3.BucketEncryption.KMS, encryption_key=kms.Key(stack, f"{name}Key"), versioned=True
        )
        for name in ("Data", "Payload")
    )
    pipeline = DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.json_lines(data, "numbers.jsonl"),
        worker=Worker.python(code, handler="handler.handler"),
        payload_bucket=payload,
        encryption_key=kms.Key(stack, "Own"),
    )
    cdk.CfnOutput(stack, "Bucket", value=data.bucket_name)
    cdk.CfnOutput(stack, "Role", value=pipeline.role.role_name)


def outputs(aws: LocalAws, stack: str = "Keyed") -> dict[str, str]:
    (found,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}


def policies(aws: LocalAws, stack: str = "Keyed") -> dict[str, dict[str, Any]]:
    iam, role = aws.client("iam"), outputs(aws, stack)["Role"]
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


def actions_of(statement: dict[str, Any]) -> list[str]:
    """Return the actions of a statement; none of that for the delivery of logs.

    Step Functions delivers them under the role, here the endpoint writes them under none.
    """
    if "kms:EncryptionContext:SourceArn" in statement.get("Condition", {}).get("StringEquals", {}):
        return []
    actions = statement["Action"]
    return [actions] if isinstance(actions, str) else actions


def uses_of_keys(policy: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each KMS action with each key that it is allowed for, and the policy without it.

    It may be in two statements, one to read and one to write, where the CDK isn't told to merge them.
    """
    uses = {
        (action, each["Resource"])
        for each in policy["Statement"]
        for action in actions_of(each)
        if action.startswith("kms:")
    }
    for action, key in sorted(uses):
        left = []
        for each in policy["Statement"]:
            kept = [one for one in actions_of(each) if one != action or each["Resource"] != key]
            left += [{**each, "Action": kept}] if kept else [] if actions_of(each) else [each]
        yield action, key, {**policy, "Statement": left}


def refusal(aws: LocalAws, stack: str) -> str:
    """Run a pipeline and return why it failed, empty if it didn't."""
    try:
        run = aws.run(stack)
    except ClientError as error:
        return str(error)
    return "" if run.status == "SUCCEEDED" else f"{run.error}: {run.cause}"


def test_every_use_of_a_key_that_the_role_has_is_needed(keyed: LocalAws) -> None:
    role, iam = outputs(keyed, "Apart")["Role"], keyed.client("iam")
    assert refusal(keyed, "Apart") == ""
    killed: list[tuple[str, str, str]] = []
    survivors: list[tuple[str, str, str]] = []
    for name, policy in policies(keyed, "Apart").items():
        for action, key, changed in uses_of_keys(policy):
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(changed))
            found = refusal(keyed, "Apart")
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
            named = f"is not authorized to perform: {action} on resource: {key} because" in found
            (killed if named else survivors).append((action, key, found))
    assert survivors == []
    # The items are decrypted; the results and the executions are encrypted, and decrypted.
    assert sorted(action for action, *_ in killed) == ["kms:Decrypt"] * 3 + ["kms:GenerateDataKey"] * 2
    assert refusal(keyed, "Apart") == ""
