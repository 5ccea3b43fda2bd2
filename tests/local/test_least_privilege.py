"""The roles of the example app suffice, and nothing of them is superfluous: both under enforced IAM.

Each resource of each statement is taken away in turn, and a run must fail for it. What no run here can miss is listed
below with the reason.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from cdk_distributed_map.local.server import LocalAws
from tests.deployments import Deploy

pytestmark = pytest.mark.checkout

STACKS = ("Ranges", "SumOfSquares", "Shards", "ContentLength", "Images")
# Some 15 seconds of a processor each, for grants whose actions the other two stacks are granted too, or their nested
# like. That nothing of theirs is missing is tested in `make test` all the same, below; that each grant is missed, in
# `make test-all`.
LONG_STACKS = ("SumOfSquares", "Shards", "Images")
TAKEN_AWAY = [pytest.param(each, marks=pytest.mark.slow if each in LONG_STACKS else ()) for each in STACKS]

LOGS = "Lambda itself writes the logs of functions under their role; here the endpoint does, under none"
DELIVERY = "Step Functions delivers the logs of state machines under their role; here they aren't delivered"
STOPPING = "AWS's own role for a Distributed Map has it; none of its documents says which call of a run asks for it"
REDRIVE = "only a redrive of children asks for it, and no run here is redriven"
SMALL = "answers here are far below the limit over which they are spilled; what spills is the worker of Shards"
UNSUCCESSFUL = "only a run in which items did not succeed asks for it: tests/account tries it"
LONG = "only an account of millions of items goes on in another invocation: tests/runtime tries it"
COUNTED = "AWS's number of items is there to find losses; where it isn't told, the ledger says so and counts results"
REASONS = {LOGS, DELIVERY, STOPPING, REDRIVE, SMALL, UNSUCCESSFUL, LONG, COUNTED}
# How AWS, and functions that have it from AWS, say that a permission is missing; the answer to a HEAD has no message.
DENIALS = ("not authorized to perform", "AccessDenied", "(403) when calling the HeadObject operation: Forbidden")


class Grant(NamedTuple):
    """A resource of a statement of a role."""

    role: str
    actions: tuple[str, ...]
    resource: str


def excuse(grant: Grant) -> str | None:
    """Return why no run here misses a grant, None where one must."""
    actions = set(grant.actions)
    found = None
    if actions == {"logs:CreateLogStream", "logs:PutLogEvents"}:
        found = LOGS
    elif "logs:CreateLogDelivery" in actions and grant.resource == "*":
        found = DELIVERY
    elif actions == {"states:DescribeExecution", "states:StopExecution"}:
        found = STOPPING
    elif actions == {"states:RedriveExecution"}:
        found = REDRIVE
    elif "AccountRole" in grant.role and grant.resource.endswith(("/failures.jsonl", "/rounds/*/items.jsonl")):
        found = UNSUCCESSFUL
    elif "AccountRole" in grant.role and grant.resource.endswith("/account/*"):
        found = LONG
    elif actions == {"states:DescribeMapRun"}:
        found = COUNTED
    elif grant.resource.endswith("/spill/*") and not grant.role.startswith("ShardsNestedWorker"):
        found = SMALL
    return found


class Unhealthy(Exception):  # noqa: N818 - what it says of a run
    """A run failed, or items of it did."""


@dataclass
class Stage:
    """The deployed stacks and their inputs."""

    aws: LocalAws
    outputs: dict[str, dict[str, str]]
    machines: dict[str, list[str]] = field(default_factory=dict)

    def resources(self, stack: str, kind: str) -> dict[str, str]:
        """Return physical ids by logical id."""
        found = self.aws.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found if one["ResourceType"] == kind}

    def put(self, bucket: str, key: str, body: Any) -> None:
        """Put an object: bytes, or lines of JSON."""
        self.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body if isinstance(body, bytes) else lines(body))

    def run(self, machine: str, input: Any) -> None:
        """Run a state machine.

        Raises:
            Unhealthy: It failed, or a function did, or an item.
        """
        self.aws.invocations = []
        run = self.aws.run(machine, input, timeout=60)
        if run.status != "SUCCEEDED":
            raise Unhealthy(f"{run.status} {run.error}: {run.cause}; {self.causes(run.arn)}")
        for name, result in self.aws.invocations:
            answer = json.loads(result.payload)
            failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
            if result.function_error is not None or failures:
                raise Unhealthy(f"{name}: {answer}")

    def causes(self, execution: str) -> list[str]:
        """Return why children failed: of the maps of an execution, and of the maps of those."""
        sfn = self.aws.client("stepfunctions")
        found: list[str] = []
        for entry in sfn.list_map_runs(executionArn=execution)["mapRuns"]:
            for child in sfn.list_executions(mapRunArn=entry["mapRunArn"], statusFilter="FAILED")["executions"]:
                described = sfn.describe_execution(executionArn=child["executionArn"])
                found += [str(described.get("cause")), *self.causes(child["executionArn"])]
        return found


def lines(items: list[Any]) -> bytes:
    """Return items as JSON Lines."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def image() -> bytes:
    """Return a small JPEG."""
    file = io.BytesIO()
    Image.new("L", (2, 1)).save(file, "JPEG")
    return file.getvalue()


def prepare(stage: Stage, stack: str) -> list[tuple[str, Any]]:
    """Put the input data of a stack in place and return what to run: logical ids of state machines and inputs."""
    data = stage.outputs[stack].get("DataBucket", "")
    (payload,) = (
        name for id_, name in stage.resources(stack, "AWS::S3::Bucket").items() if id_.endswith(payload_ending(id_))
    )

    def item_files(machine: str, items: list[Any], prefix: str = "") -> list[tuple[str, Any]]:
        """Runs on an item file, in both places where one may be."""
        keys = [f"{prefix}{folder}/by-hand.jsonl" for folder in ("items", "runs/earlier")]
        for key in keys:
            stage.put(payload, key, items)
        return [(machine, {"items": {"bucket": payload, "key": key}}) for key in keys]

    if stack == "Ranges":
        return [("RangesState", {"number": 20, "chunk": 5}), *item_files("RangesState", [{"from": 0, "to": 2}])]
    if stack == "SumOfSquares":
        stage.put(data, "numbers/one", b"1\n2\n")
        item = {"bucket": data, "key": "numbers/one"}
        return [
            ("SumOfSquaresState", {}),
            *item_files("SumOfSquaresState", [item]),
            ("SumOfSquaresOfInput", [item]),
            *item_files("SumOfSquaresOfInput", [item], "of-input/"),
        ]
    if stack == "Shards":
        shard = {"parts": [{"seed": 1, "size": 20_000}]}
        stage.put(data, "shards.json", json.dumps([shard]).encode())
        return [("Shards", {}), *item_files("Shards", [shard])]
    if stack == "ContentLength":
        stage.put(data, "one", b"1")
        item = {"bucket": data, "key": "one"}
        stage.put(data, "items.json", json.dumps([item]).encode())
        given = {"map_input_s3_bucket": data, "map_input_s3_key": "items.json"}
        return [("ContentLength", given), *item_files("ContentLength", [item])]
    stage.put(data, "images/one.jpg", image())
    stage.put(data, "large/one", b"1\n" * 1000)
    return [
        ("Images", {}),
        *item_files("Images", [{"Key": "images/one.jpg"}]),
        ("Checksums", {}),
        *item_files("Checksums", [{"Key": "large/one"}], "checksums/"),
    ]


def payload_ending(logical_id: str) -> str:
    """Return the end of a logical id if it is that of a payload bucket, else what no id ends with."""
    return logical_id if "PayloadBucket" in logical_id else "no payload bucket"


@pytest.fixture(scope="module")
def stage(shared_aws: LocalAws, deploy: Deploy, example_assembly: Path) -> Stage:
    """The example app, deployed under enforced IAM."""
    return Stage(shared_aws, deploy(example_assembly, *STACKS))


@pytest.fixture
def scenario(request: pytest.FixtureRequest, stage: Stage) -> tuple[Stage, str, list[tuple[str, Any]]]:
    """A stack with its runs: ARNs of state machines, and inputs."""
    stack = request.param
    arns = stage.resources(stack, "AWS::StepFunctions::StateMachine")
    runs = [
        (next(arn for id_, arn in arns.items() if id_.startswith(machine)), given)
        for machine, given in prepare(stage, stack)
    ]
    return stage, stack, runs


def first_failure(stage: Stage, runs: list[tuple[str, Any]]) -> str | None:
    """Run all until one fails, and return how."""
    for machine, given in runs:
        try:
            stage.run(machine, given)
        except Unhealthy as failure:
            return str(failure)
    return None


def without(document: dict[str, Any]) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """Yield each resource of each statement with its actions, and the policy without it."""
    for at, statement in enumerate(document["Statement"]):
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in resources:
            changed = copy.deepcopy(document)
            left = [each for each in resources if each != resource]
            if left:
                changed["Statement"][at]["Resource"] = left
            else:
                del changed["Statement"][at]
            yield statement["Action"], resource, changed


def grants(stage: Stage, stack: str) -> Iterator[tuple[Grant, Callable[[], None], Callable[[], None]]]:
    """Yield each grant of each role of a stack, with what takes it away and what gives it back."""
    iam = stage.aws.client("iam")
    for logical_id, role in stage.resources(stack, "AWS::IAM::Role").items():
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]

            def put(policy: dict[str, Any], role: str = role, name: str = name) -> None:
                if policy["Statement"]:
                    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
                else:
                    iam.delete_role_policy(RoleName=role, PolicyName=name)

            for action, resource, changed in without(document):
                actions = (action,) if isinstance(action, str) else tuple(action)
                yield (
                    Grant(logical_id, actions, resource),
                    lambda put=put, changed=changed: put(changed),  # type: ignore[misc]
                    lambda put=put, document=document: put(document),  # type: ignore[misc]
                )


@pytest.mark.parametrize("scenario", LONG_STACKS, indirect=True)
def test_no_permission_is_missing(scenario: tuple[Stage, str, list[tuple[str, Any]]]) -> None:
    stage, _, runs = scenario
    assert first_failure(stage, runs) is None


@pytest.mark.parametrize("scenario", TAKEN_AWAY, indirect=True)
def test_no_permission_is_missing_and_none_too_many(scenario: tuple[Stage, str, list[tuple[str, Any]]]) -> None:
    stage, stack, runs = scenario
    assert first_failure(stage, runs) is None
    unseen, for_other_reasons = [], []
    for grant, take, give_back in grants(stage, stack):
        if excuse(grant) is not None:
            continue
        take()
        try:
            failure = first_failure(stage, runs)
        finally:
            give_back()
        if failure is None:
            unseen.append(grant)
        elif not any(words in failure for words in DENIALS):
            for_other_reasons.append((grant, failure))
    assert unseen == [], "no run needs these"
    assert for_other_reasons == [], "these failed, but not for want of a permission"
    assert first_failure(stage, runs) is None


def test_every_reason_is_needed(stage: Stage) -> None:
    found = {excuse(grant) for stack in STACKS for grant, _, _ in grants(stage, stack)}
    assert found == {*REASONS, None}
