"""An IAM linter over every policy, and a look for wildcards of our own, which no linter takes as seriously."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest

pytestmark = [pytest.mark.referee, pytest.mark.checkout]


@pytest.fixture(scope="module")
def parliament() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources
        import parliament
    return parliament  # type: ignore[no-any-return]  # it has no types


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_parliament_finds_nothing(
    policies: dict[str, dict[str, Any]],
    parliament: ModuleType,
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    findings = []
    for name, policy in policies.items():
        for found in parliament.analyze_policy_string(json.dumps(policy)).findings:
            mismatches = found.detail if found.issue == "RESOURCE_MISMATCH" else []
            rules = [f"{found.issue}: {each['action']} on {each['required_format']}" for each in mismatches]
            findings += [new_finding(rule, name, str(found.detail)) for rule in rules or [found.issue]]
    judge("parliament", findings)


@pytest.mark.parametrize(
    ("statement", "issue"),
    [
        ({"Action": "states:StartExecutions", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket/key"}, "RESOURCE_MISMATCH"),
    ],
    ids=["unknown action", "resource of another action"],
)
def test_parliament_sees_a_wrong_statement(statement: dict[str, str], issue: str, parliament: ModuleType) -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    assert issue in {found.issue for found in parliament.analyze_policy_string(json.dumps(policy)).findings}


def grants(policies: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Yield every action on every resource that a policy allows."""
    for name, policy in policies.items():
        for statement in listed(policy["Statement"]):
            assert statement["Effect"] == "Allow", name
            assert "NotAction" not in statement, name
            assert "NotResource" not in statement, name
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield name, action, resource


def test_no_action_has_a_wildcard(policies: dict[str, dict[str, Any]]) -> None:
    wide = {(name, action) for name, action, _ in grants(policies) if "*" in action or "?" in action}
    assert wide == set()


def test_no_resource_is_everything_but_where_the_service_forces_it(
    policies: dict[str, dict[str, Any]],
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    every = list(grants(policies))
    assert len(every) > len(policies)
    judge(
        "everything",
        [new_finding(action, name, "the resource is *") for name, action, resource in every if resource == "*"],
    )


def test_wildcards_inside_resources_are_names_that_only_a_run_knows(
    policies: dict[str, dict[str, Any]],
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    judge(
        "partial-wildcards",
        [
            new_finding(resource, f"{name}: {action}", "part of the resource is a wildcard")
            for name, action, resource in grants(policies)
            if resource != "*" and re.search(r"[*?]", resource)
        ],
    )


def test_no_role_is_trusted_for_everybody(resolved: dict[str, dict[str, Any]]) -> None:
    for stack, resources in resolved.items():
        for logical_id, resource in resources.items():
            if resource["Type"] != "AWS::IAM::Role":
                continue
            for statement in listed(resource["Properties"]["AssumeRolePolicyDocument"]["Statement"]):
                principal = statement["Principal"]
                assert principal != "*", f"{stack}/{logical_id}"
                assert "*" not in listed(principal.get("AWS", [])), f"{stack}/{logical_id}"


def test_buckets_are_closed_to_the_public_and_to_plain_http(resolved: dict[str, dict[str, Any]]) -> None:
    for stack, resources in resolved.items():
        policies = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::S3::BucketPolicy"]
        for logical_id, resource in resources.items():
            if resource["Type"] != "AWS::S3::Bucket":
                continue
            statements = [
                statement
                for policy in policies
                if policy["Bucket"] == logical_id.lower()
                for statement in policy["PolicyDocument"]["Statement"]
            ]
            denied = [each for each in statements if each["Effect"] == "Deny"]
            assert [each["Condition"] for each in denied] == [{"Bool": {"aws:SecureTransport": "false"}}], logical_id
            assert {each["Effect"] for each in statements} == {"Deny"}, f"{stack}/{logical_id}"
