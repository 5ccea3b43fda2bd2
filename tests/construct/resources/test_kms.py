"""Customer-managed keys on every bucket and on the state machine: who may use which key, and for what."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Batching, Capture, Combiner, FileFormat, ItemSource, Results

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Permissions = set[tuple[str, str, str]]
Allowed = Callable[["Lab", Any], Permissions]


def key(lab: Lab, id: str) -> kms.Key:
    return kms.Key(lab.stack, id)


def encrypted(lab: Lab, id: str) -> s3.Bucket:
    return s3.Bucket(lab.stack, id, encryption=s3.BucketEncryption.KMS, encryption_key=key(lab, f"{id}Key"))


def arn(lab: Lab, used: kms.IKey) -> str:
    return f"${{{lab.stack.get_logical_id(cast('kms.CfnKey', used.node.default_child))}.Arn}}"


def keys_of(lab: Lab, allowed: Allowed, role: Any) -> dict[str, set[str]]:
    """Return the KMS actions that a role has without a condition, by key."""
    found: dict[str, set[str]] = {}
    for action, resource, condition in allowed(lab, role):
        if action.startswith("kms:") and condition == "":
            found.setdefault(resource, set()).add(action)
    return found


READ, WRITE = {"kms:Decrypt"}, {"kms:Decrypt", "kms:GenerateDataKey"}

READERS: dict[str, Callable[[s3.IBucket], ItemSource]] = {
    "json": lambda bucket: ItemSource.json(bucket, "k"),
    "csv": lambda bucket: ItemSource.csv(bucket, "k"),
    "load": lambda bucket: ItemSource.s3_objects(bucket, load=FileFormat.json()),
    "inventory": lambda bucket: ItemSource.inventory(bucket, "a/b/manifest.json"),
    "from-execution-input": lambda bucket: ItemSource.from_execution_input(buckets=[bucket], format=FileFormat.json()),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_source_is_decrypted(lab: Lab, allowed: Allowed, kind: str) -> None:
    data = encrypted(lab, "Encrypted")
    pipeline = lab.pipeline(items=READERS[kind](data))
    assert data.encryption_key is not None

    assert keys_of(lab, allowed, pipeline.role) == {arn(lab, data.encryption_key): READ}


def test_a_listing_without_reading_needs_no_key(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(items=ItemSource.s3_objects(encrypted(lab, "Encrypted")))

    assert keys_of(lab, allowed, pipeline.role) == {}


def test_manifest_and_data_have_their_own_keys(lab: Lab, allowed: Allowed) -> None:
    manifest, data = encrypted(lab, "Manifest"), encrypted(lab, "Rows")
    items = ItemSource.athena_manifest(
        manifest, "m.csv", format=FileFormat.parquet(), data_prefix="d/", data_bucket=data
    )
    pipeline = lab.pipeline(items=items)
    assert manifest.encryption_key is not None
    assert data.encryption_key is not None

    assert keys_of(lab, allowed, pipeline.role) == {
        arn(lab, manifest.encryption_key): READ,
        arn(lab, data.encryption_key): READ,
    }


def test_every_bucket_with_a_key_of_its_own(lab: Lab, allowed: Allowed) -> None:
    data, payload, results = (encrypted(lab, name) for name in ("Encrypted", "Payload", "Results"))
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.s3_listing(data)),
        worker=lab.python_worker(),
        payload_bucket=payload,
        results=Results(bucket=results),
        combine=Combiner.python(str(lab.code), handler="handler.handler"),
    )
    payload_key, results_key = (arn(lab, cast("kms.Key", each.encryption_key)) for each in (payload, results))
    assert pipeline.capture is not None
    assert pipeline.combine is not None

    assert keys_of(lab, allowed, pipeline.role) == {payload_key: READ, results_key: WRITE}
    assert keys_of(lab, allowed, pipeline.worker.role) == {payload_key: WRITE}
    assert keys_of(lab, allowed, pipeline.capture.role) == {payload_key: WRITE}
    assert keys_of(lab, allowed, pipeline.combine.role) == {payload_key: WRITE, results_key: READ}


def test_a_key_for_everything_made_here(lab: Lab, allowed: Allowed) -> None:
    own = key(lab, "Own")
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()),
        worker=lab.python_worker(environment={"TABLE": "orders"}),
        combine=Combiner.python(str(lab.code), handler="handler.handler"),
        encryption_key=own,
    )
    rendered = {"Fn::GetAtt": [lab.stack.get_logical_id(cast("kms.CfnKey", own.node.default_child)), "Arn"]}

    groups = lab.resources("AWS::Logs::LogGroup").values()
    assert len(groups) == 5
    assert [group["Properties"]["KmsKeyId"] for group in groups] == [rendered] * 5
    (bucket,) = lab.resources("AWS::S3::Bucket").values()
    (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": rendered}
    assert rule["BucketKeyEnabled"] is True
    (machine,) = lab.resources("AWS::StepFunctions::StateMachine").values()
    assert machine["Properties"]["EncryptionConfiguration"]["KmsKeyId"] == rendered
    functions = lab.resources("AWS::Lambda::Function").values()
    assert [each["Properties"].get("KmsKeyArn") for each in functions].count(rendered) == 2
    assert keys_of(lab, allowed, pipeline.role) == {arn(lab, own): WRITE}


def test_a_function_may_decrypt_its_environment_and_nothing_else_with_the_key(lab: Lab, allowed: Allowed) -> None:
    own, payload = key(lab, "Own"), encrypted(lab, "Payload")
    pipeline = lab.pipeline(
        items=ItemSource.captured(
            Capture.python(str(lab.code), handler="handler.handler", environment={"TABLE": "orders"})
        ),
        worker=lab.python_worker(environment={"TABLE": "orders"}),
        combine=Combiner.python(str(lab.code), handler="handler.handler"),
        payload_bucket=payload,
        encryption_key=own,
    )
    assert pipeline.capture is not None
    assert pipeline.combine is not None
    for function in (pipeline.worker, pipeline.capture):
        name = lab.stack.get_logical_id(cast("lambda_.CfnFunction", function.node.default_child))
        context = {"StringEquals": {"kms:EncryptionContext:aws:lambda:FunctionArn": f"${{{name}.Arn}}"}}
        found = {each for each in allowed(lab, function.role) if each[1] == arn(lab, own)}
        assert found == {("kms:Decrypt", arn(lab, own), json.dumps(context))}
    assert arn(lab, own) not in {resource for _, resource, _ in allowed(lab, pipeline.combine.role)}


def test_the_condition_of_the_key_names_the_state_machine(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(encryption_key=key(lab, "Own"))
    (machine,) = lab.resources("AWS::StepFunctions::StateMachine").values()
    name = machine["Properties"]["StateMachineName"]
    conditions = [
        json.loads(condition)["StringEquals"]
        for action, _, condition in allowed(lab, pipeline.role)
        if action == "kms:Decrypt" and condition
    ]

    assert name
    assert conditions == [
        {
            "kms:EncryptionContext:aws:states:stateMachineArn": (
                "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:" + name
            )
        }
    ]


def test_the_name_of_a_state_machine_with_a_key_can_be_chosen(lab: Lab, allowed: Allowed) -> None:
    pipeline = lab.pipeline(encryption_key=key(lab, "Own"), state_machine_name="orders")

    assert ":stateMachine:orders" in json.dumps(sorted(allowed(lab, pipeline.role)))


def test_logs_may_use_the_key_for_log_groups_of_this_account_alone(lab: Lab) -> None:
    lab.pipeline(encryption_key=key(lab, "Own"))
    (own,) = lab.resources("AWS::KMS::Key").values()
    (statement,) = [each for each in own["Properties"]["KeyPolicy"]["Statement"] if each.get("Sid") == "DistmapLogs"]
    (pattern,) = statement["Condition"]["ArnLike"].values()

    # The ARN of a log group has a colon after log-group.
    assert pattern["Fn::Join"][1][-1] == ":log-group:*"
    assert statement["Principal"] == {
        "Service": {"Fn::Join": ["", ["logs.", {"Ref": "AWS::Region"}, ".", {"Ref": "AWS::URLSuffix"}]]}
    }


def test_grants_come_with_the_key(lab: Lab, allowed: Allowed) -> None:
    from aws_cdk import aws_iam as iam

    payload = encrypted(lab, "Payload")
    role = iam.Role(lab.stack, "Operator", assumed_by=iam.AccountRootPrincipal())
    pipeline = lab.pipeline(payload_bucket=payload)
    pipeline.grant_read_results(role)
    used = arn(lab, cast("kms.Key", payload.encryption_key))
    assert keys_of(lab, allowed, role) == {used: READ}


def test_express_children_and_batches_need_no_more(lab: Lab, allowed: Allowed) -> None:
    data = encrypted(lab, "Encrypted")
    pipeline = lab.pipeline(
        items=ItemSource.json_lines(data, "k"),
        batching=Batching(max_items=5),
        child_type=sfn.StateMachineType.EXPRESS,
    )

    assert keys_of(lab, allowed, pipeline.role) == {arn(lab, cast("kms.Key", data.encryption_key)): READ}


def test_operators_may_decrypt_what_they_describe(lab: Lab, allowed: Allowed) -> None:
    from aws_cdk import aws_iam as iam

    own = key(lab, "Own")
    role = iam.Role(lab.stack, "Operator", assumed_by=iam.AccountRootPrincipal())
    pipeline = lab.pipeline(encryption_key=own)
    pipeline.grant_operate(role)
    machine = lab.stack.get_logical_id(cast("sfn.CfnStateMachine", pipeline.state_machine.node.default_child))

    found = {each for each in allowed(lab, role) if each[0].startswith("kms:")}
    condition = {"StringEquals": {"kms:EncryptionContext:aws:states:stateMachineArn": f"${{{machine}}}"}}
    assert found == {("kms:Decrypt", arn(lab, own), json.dumps(condition))}


def test_operators_of_a_state_machine_without_a_key_get_none(lab: Lab, allowed: Allowed) -> None:
    from aws_cdk import aws_iam as iam

    role = iam.Role(lab.stack, "Operator", assumed_by=iam.AccountRootPrincipal())
    lab.pipeline(payload_bucket=encrypted(lab, "Payload")).grant_operate(role)

    assert not [each for each in allowed(lab, role) if each[0].startswith("kms:")]


def test_it_is_said_what_the_policy_of_an_imported_key_lacks(lab: Lab) -> None:
    imported = "arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    lab.pipeline(encryption_key=kms.Key.from_key_arn(lab.stack, "Imported", imported))

    (text,) = lab.warnings("distmap:KeyLacksPermissions")
    assert "kms:EncryptionContext:aws:logs:arn" in text
    assert "delivery.logs.amazonaws.com" in text


def test_nothing_is_said_of_a_key_of_this_app(lab: Lab) -> None:
    lab.pipeline(encryption_key=key(lab, "Own"))

    assert lab.warnings("distmap:KeyLacksPermissions") == []
