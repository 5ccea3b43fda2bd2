"""What state machines may do under their roles: policies as they are deployed, and AWS's words where they don't."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import pytest

from cdk_distributed_map.local import UnsupportedError
from cdk_distributed_map.local.server import LocalAws
from tests.local.roles import ACCOUNT, KEY, MACHINE, Roles, document, one_task, statement, trust


def test_what_no_policy_allows_is_refused_in_the_words_of_aws(roles: Roles) -> None:
    role = roles.make(statement("s3:GetObject", "arn:aws:s3:::b/*"))
    assert roles.check(role) is None
    name = role.rsplit("/", 1)[-1]
    assert roles.check(role, resource="arn:aws:s3:::c/k") == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{name}/distmap-local is not authorized to perform: s3:GetObject "
        'on resource: "arn:aws:s3:::c/k" because no identity-based policy allows the s3:GetObject action'
    )
    assert str(roles.check(role, "lambda:InvokeFunction", "arn:aws:lambda:::f")).endswith(
        "on resource: arn:aws:lambda:::f because no identity-based policy allows the lambda:InvokeFunction action"
    )


def test_a_deny_beats_an_allow(roles: Roles) -> None:
    role = roles.make(statement("s3:*", "*"), statement("s3:GetObject", KEY, "Deny"))
    assert str(roles.check(role)).endswith("with an explicit deny in an identity-based policy")
    assert roles.check(role, "s3:PutObject") is None


def test_conditions_are_evaluated(roles: Roles) -> None:
    role = roles.make(statement("s3:ListBucket", "arn:aws:s3:::b", StringLike={"s3:prefix": ["in/*"]}))
    assert roles.check(role, "s3:ListBucket", "arn:aws:s3:::b", s3_prefix="in/") is None
    assert roles.check(role, "s3:ListBucket", "arn:aws:s3:::b", s3_prefix="out/") is not None
    assert roles.check(role, "s3:ListBucket", "arn:aws:s3:::b") is not None


def test_managed_policies_count_and_a_boundary_limits_them(roles: Roles) -> None:
    attached = roles.managed(statement("s3:*", "*"))
    boundary = roles.managed(statement("s3:GetObject", "*"))
    role = roles.make(PermissionsBoundary=boundary)
    assert roles.check(role) is not None
    roles.iam.attach_role_policy(RoleName=role.rsplit("/", 1)[-1], PolicyArn=attached)
    roles.policies.invalidate()
    assert roles.check(role) is None
    assert roles.check(role, "s3:PutObject") is not None


def test_changed_policies_are_seen(roles: Roles) -> None:
    role = roles.make(statement("s3:GetObject", KEY))
    assert roles.check(role) is None
    roles.put(role, statement("s3:PutObject", KEY))
    roles.policies.invalidate()
    assert roles.check(role) is not None
    roles.put(role, statement("s3:GetObject", KEY))
    time.sleep(1.1)
    assert roles.check(role) is None


def bucket_of(local: LocalAws, *statements: dict[str, Any]) -> str:
    """Create a bucket with a policy and return its ARN."""
    name = f"b{uuid.uuid4().hex[:16]}"
    arn = f"arn:aws:s3:::{name}"
    local.client("s3").create_bucket(Bucket=name)
    given = [{**each, "Resource": [arn, f"{arn}/*"]} for each in statements]
    local.client("s3").put_bucket_policy(Bucket=name, Policy=document(*given))
    return arn


def test_the_policy_of_a_bucket_may_refuse_and_allow(local: LocalAws, roles: Roles) -> None:
    role, other = roles.make(statement("s3:*", "*")), roles.make()
    refusing = {**statement("s3:GetObject", "", "Deny"), "Principal": "*"}
    insecure = {**statement("s3:*", "", "Deny", Bool={"aws:SecureTransport": "false"}), "Principal": "*"}
    allowing = {**statement("s3:GetObject", ""), "Principal": {"AWS": other}}
    assert str(roles.check(role, resource=f"{bucket_of(local, refusing)}/k")).endswith(
        "with an explicit deny in a resource-based policy"
    )
    arn = bucket_of(local, insecure, allowing)
    assert roles.check(role, resource=f"{arn}/k") is None
    assert roles.check(other, resource=f"{arn}/k") is None
    assert roles.check(other, "s3:PutObject", f"{arn}/k") is not None


def test_fails_when_the_policy_of_a_key_does_not_allow(local: LocalAws, roles: Roles) -> None:
    role = roles.make(statement("kms:*", "*"))
    mine = {**statement("kms:*", "*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/somebody-else"}}
    open_ = {**statement("kms:*", "*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    keys = [local.client("kms").create_key(Policy=document(each))["KeyMetadata"]["Arn"] for each in (mine, open_)]
    assert str(roles.check(role, "kms:Decrypt", keys[0])).endswith(
        "because no resource-based policy allows the kms:Decrypt action"
    )
    assert roles.check(role, "kms:Decrypt", keys[1]) is None


@pytest.mark.parametrize(
    ("unknown", "found"),
    [
        (statement("s3:*", "*", "Deny", StringEquals={"aws:ResourceTag/a": "b"}), "condition key aws:ResourceTag/a"),
        (statement("s3:*", "*", "Deny", StringSounds={"aws:PrincipalArn": "b"}), "condition operator StringSounds"),
        (statement("s3:*", "*", "Deny", StringLike={"aws:PrincipalArn": "${aws:userid}"}), "policy variable in"),
        (statement("s3:*", "arn:aws:s3:::b/${aws:userid}/*", "Deny"), "policy variable in"),
    ],
    ids=["key", "operator", "value", "resource"],
)
def test_fails_when_a_policy_depends_on_what_is_not_known(roles: Roles, unknown: dict[str, Any], found: str) -> None:
    role = roles.make(statement("*", "*"), {**unknown, "Sid": "Odd"})
    with pytest.raises(UnsupportedError, match=re.escape(found)) as raised:
        roles.check(role)
    assert f"in the statement Odd of the policy of {role}, which decides about s3:GetObject on {KEY}" in str(
        raised.value
    )
    # It says nothing about other services.
    assert roles.check(role, "lambda:InvokeFunction", "arn:aws:lambda:::f") is None


@pytest.mark.parametrize(
    ("unknown", "found"),
    [
        (
            {"Principal": "*", "Condition": {"StringNotEquals": {"s3:x-amz-acl": "private"}}},
            "condition key s3:x-amz-acl",
        ),
        ({"NotPrincipal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/somebody-else"}}, "NotPrincipal"),
    ],
    ids=["key", "principal"],
)
def test_fails_when_the_policy_of_a_bucket_depends_on_what_is_not_known(
    local: LocalAws, roles: Roles, unknown: dict[str, Any], found: str
) -> None:
    arn = bucket_of(local, {"Effect": "Deny", "Action": "s3:PutObject", **unknown})
    role = roles.make(statement("s3:*", "*"))
    with pytest.raises(
        UnsupportedError, match=f"can't evaluate .*{re.escape(found)} in the statement number 0 .*{arn}"
    ):
        roles.check(role, "s3:PutObject", f"{arn}/k")
    assert roles.check(role, "s3:GetObject", f"{arn}/k") is None


def test_a_statement_for_others_may_have_any_condition(local: LocalAws, roles: Roles) -> None:
    other = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/somebody-else"}
    arn = bucket_of(local, {**statement("s3:*", "", "Deny", StringEquals={"s3:x-amz-acl": "a"}), "Principal": other})
    assert roles.check(roles.make(statement("s3:*", "*")), resource=f"{arn}/k") is None


def test_fails_when_a_trust_depends_on_what_is_not_known(roles: Roles) -> None:
    role = roles.make(statement("s3:*", "*"), assumed=trust(StringEquals={"aws:SourceOrgID": "o-1"}))
    with pytest.raises(
        UnsupportedError, match=f"aws:SourceOrgID in the statement number 0 of the policy of the trust of {role}"
    ):
        roles.check(role)


def test_the_tags_of_a_role_count(roles: Roles) -> None:
    tagged = statement("s3:*", "*", StringEquals={"aws:PrincipalTag/Team": "data"})
    assert roles.check(roles.make(tagged, Tags=[{"Key": "Team", "Value": "data"}])) is None
    assert roles.check(roles.make(tagged, Tags=[{"Key": "Team", "Value": "web"}])) is not None
    assert roles.check(roles.make(tagged)) is not None


def test_a_state_machine_fails_where_a_policy_is_not_understood(local: LocalAws, roles: Roles) -> None:
    definition = {
        "StartAt": "T",
        "States": {
            "T": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:s3:listBuckets",
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Done"}],
                "Next": "Done",
            },
            "Done": {"Type": "Succeed"},
        },
    }
    role = roles.make(statement("s3:*", "*", Bool={"aws:Odd": "true"}))
    name = role.rsplit("/", 1)[-1]
    local.client("stepfunctions").create_state_machine(name=name, definition=json.dumps(definition), roleArn=role)
    run = local.run(name)
    assert (run.status, run.error) == ("FAILED", "States.Runtime")
    assert "the local AWS can't evaluate the condition key aws:Odd" in str(run.cause)
    assert "leave it out here, or run with --iam=off" in str(run.cause)


@pytest.mark.parametrize(
    "assumed",
    [
        trust("lambda.amazonaws.com"),
        trust(StringEquals={"aws:SourceAccount": "111111111111"}),
        trust(ArnLike={"aws:SourceArn": f"{MACHINE}-other"}),
    ],
    ids=["another-service", "another-account", "another-machine"],
)
def test_fails_when_the_role_may_not_be_assumed(roles: Roles, assumed: str) -> None:
    role = roles.make(statement("s3:*", "*"), assumed=assumed)
    assert "is authorized to assume the provided role" in str(roles.check(role))


def test_a_trust_may_name_the_account_and_the_machine(roles: Roles) -> None:
    role = roles.make(
        statement("s3:*", "*"),
        assumed=trust(StringEquals={"aws:SourceAccount": ACCOUNT}, ArnLike={"aws:SourceArn": MACHINE}),
    )
    assert roles.check(role) is None
    # As recorded of Express children of a map.
    assert roles.policies.check(role, "s3:GetObject", KEY, {}) is not None


def test_fails_when_there_is_no_such_role(roles: Roles) -> None:
    assert "assume the provided role" in str(roles.check(f"arn:aws:iam::{ACCOUNT}:role/nobody"))


def test_a_state_machine_fails_where_its_role_may_not(local: LocalAws, roles: Roles) -> None:
    function = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    definition = {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": function, "End": True}}}
    role = roles.make(statement("lambda:InvokeFunction", function + "-other"))
    local.client("stepfunctions").create_state_machine(
        name=role.rsplit("/", 1)[-1], definition=json.dumps(definition), roleArn=role
    )
    run = local.run(role.rsplit("/", 1)[-1])
    assert (run.status, run.error) == ("FAILED", "Lambda.AWSLambdaException")
    assert run.cause is not None
    assert f"is not authorized to perform: lambda:InvokeFunction on resource: {function} because" in run.cause
    assert "(Service: AWSLambda; Status Code: 403; Error Code: AccessDeniedException; Request ID: " in run.cause


def test_without_iam_everything_is_allowed() -> None:
    definition = {
        "StartAt": "T",
        "States": {"T": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:listBuckets", "End": True}},
    }
    with LocalAws(iam=False) as aws:
        aws.client("stepfunctions").create_state_machine(
            name="m", definition=json.dumps(definition), roleArn=f"arn:aws:iam::{ACCOUNT}:role/nobody"
        )
        assert aws.run("m").status == "SUCCEEDED"


def test_a_fresh_topic_takes_messages_of_who_may_publish(local: LocalAws, roles: Roles) -> None:
    topic = local.client("sns").create_topic(Name=f"t{uuid.uuid4().hex[:12]}")["TopicArn"]
    message = {"TopicArn": topic, "Message": "m"}
    # The policy that AWS gives every topic lets its owner's whole account publish.
    for role in (roles.make(statement("sns:Publish", topic)), roles.make()):
        assert "MessageId" in one_task(local, role, "sns:publish", message).check().output
    refused = one_task(local, roles.make(statement("sns:Publish", topic, "Deny")), "sns:publish", message)
    assert "explicit deny in an identity-based policy" in refused.cause


@pytest.mark.parametrize(
    ("condition", "resource", "parameters", "status"),
    [
        ({"StringEquals": {"events:source": "mine"}}, "events", {"Source": "mine"}, "SUCCEEDED"),
        ({"StringEquals": {"events:source": "mine"}}, "events", {"Source": "other"}, "FAILED"),
        ({"StringEqualsIfExists": {"s3:x-amz-acl": "private"}}, "s3", {}, "SUCCEEDED"),
        ({"StringEquals": {"s3:x-amz-acl": "private"}}, "s3", {"ACL": "public-read"}, "FAILED"),
        (
            {"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}},
            "s3",
            {"StorageClass": "STANDARD_IA"},
            "SUCCEEDED",
        ),
        ({"Null": {"aws:SourceVpce": "true"}}, "s3", {}, "SUCCEEDED"),
        ({"Bool": {"aws:ViaAWSService": "false"}}, "s3", {}, "SUCCEEDED"),
    ],
    ids=["source", "other-source", "no-acl", "other-acl", "storage-class", "no-endpoint", "itself"],
)
def test_condition_keys_come_from_the_request(
    roles: Roles, condition: Any, resource: str, parameters: dict[str, str], status: str
) -> None:
    if resource == "events":
        role = roles.make(statement("events:PutEvents", "*", **condition))
        entry = {"DetailType": "d", "Detail": "{}", **parameters}
        ended = one_task(roles.local, role, "events:putEvents", {"Entries": [entry]})
    else:
        bucket = f"b{uuid.uuid4().hex[:12]}"
        roles.local.client("s3").create_bucket(Bucket=bucket)
        role = roles.make(statement("s3:PutObject", f"arn:aws:s3:::{bucket}/*", **condition))
        given = {"Bucket": bucket, "Key": "k", "Body": "x", **parameters}
        ended = one_task(roles.local, role, "aws-sdk:s3:putObject", given)
    assert ended.status == status, ended.cause
