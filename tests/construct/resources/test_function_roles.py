"""What the roles of the functions may do, exactly; and what grants give."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map import Batching, Capture, Combiner, ItemShape, ItemSource, Results, Worker

if TYPE_CHECKING:
    from tests.construct.lab import Lab

Permissions = set[tuple[str, str, str]]
Allowed = Callable[["Lab", Any], Permissions]

PAYLOAD = "${PPayloadBucket1048A6C5.Arn}"
UPLOAD = ("s3:PutObject", "s3:AbortMultipartUpload")
EC2 = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


def on(resource: str, *actions: str, condition: Any = None) -> Permissions:
    text = "" if condition is None else json.dumps(condition, sort_keys=True)
    return {(action, resource, text) for action in actions}


def own_logs(lab: Lab, function: lambda_.IFunction) -> Permissions:
    scope = function.node.scope
    assert scope is not None
    group = scope.node.find_child(f"{function.node.id}Logs").node.default_child
    return on(f"${{{lab.stack.get_logical_id(group)}.Arn}}", "logs:CreateLogStream", "logs:PutLogEvents")  # type: ignore[arg-type]  # a CfnLogGroup


# -- workers


def test_a_worker_may_log_and_keep_large_answers(lab: Lab, allowed: Allowed) -> None:
    worker = lab.pipeline(worker=lab.python_worker()).worker

    assert allowed(lab, worker.role) == own_logs(lab, worker) | on(f"{PAYLOAD}/runs/*/spill/*", *UPLOAD)


def test_a_worker_keeps_large_answers_under_the_payload_prefix(lab: Lab, allowed: Allowed) -> None:
    worker = lab.pipeline(worker=lab.python_worker(), payload_prefix="team/").worker

    assert allowed(lab, worker.role) == own_logs(lab, worker) | on(f"{PAYLOAD}/team/runs/*/spill/*", *UPLOAD)


def test_a_given_worker_may_keep_large_answers(lab: Lab, allowed: Allowed) -> None:
    lab.pipeline(batching=Batching(max_items=5))

    assert allowed(lab, lab.function().role) == on(f"{PAYLOAD}/runs/*/spill/*", *UPLOAD)


def test_a_worker_that_wants_the_bare_item_gets_nothing(lab: Lab, allowed: Allowed) -> None:
    lab.pipeline(worker=Worker.function(lab.function(), item_shape=ItemShape.BARE))

    assert allowed(lab, lab.function().role) == set()


def test_a_worker_of_a_nested_map_may_keep_large_answers(lab: Lab, allowed: Allowed) -> None:
    nested = Worker.nested(items=ItemSource.state_array("$.value"), worker=lab.python_worker())
    worker = lab.pipeline(worker=nested).worker

    assert allowed(lab, worker.role) == own_logs(lab, worker) | on(f"{PAYLOAD}/runs/*/spill/*", *UPLOAD)


def test_a_worker_in_a_vpc_may_attach_to_it(lab: Lab, allowed: Allowed) -> None:
    vpc = ec2.Vpc(lab.stack, "Vpc", nat_gateways=0, restrict_default_security_group=False)
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    worker = lab.pipeline(worker=lab.python_worker(vpc=vpc, vpc_subnets=subnets)).worker

    extra = allowed(lab, worker.role) - own_logs(lab, worker) - on(f"{PAYLOAD}/runs/*/spill/*", *UPLOAD)
    assert extra == on("*", *EC2)


def test_functions_made_here_have_no_managed_policies(lab: Lab) -> None:
    python = Capture.python(str(lab.code), handler="handler.handler")
    combine = Combiner.python(str(lab.code), handler="handler.handler")
    lab.pipeline(items=ItemSource.captured(python), worker=lab.python_worker(), combine=combine)

    assert not [role for role in lab.resources("AWS::IAM::Role").values() if "ManagedPolicyArns" in role["Properties"]]


# -- capture

CAPTURE_UPLOAD = (*UPLOAD, "s3:ListMultipartUploadParts")


def test_a_capture_of_ranges_may_write_the_items(lab: Lab, allowed: Allowed) -> None:
    capture = lab.pipeline(items=ItemSource.captured(Capture.ranges())).capture
    assert capture is not None

    assert allowed(lab, capture.role) == own_logs(lab, capture) | on(f"{PAYLOAD}/runs/*/items.jsonl", *CAPTURE_UPLOAD)


@pytest.mark.parametrize(
    ("prefixes", "condition"),
    [
        (["a/", "b/"], {"StringLike": {"s3:prefix": ["a/*", "b/*"]}}),
        ([""], None),
        (["a/", ""], None),
        (["a/", "$.day"], None),
    ],
    ids=["literal", "all", "one-of-all", "from-the-input"],
)
def test_a_capture_of_a_listing_may_list_what_it_lists(
    lab: Lab, allowed: Allowed, prefixes: list[str], condition: Any
) -> None:
    listing = Capture.s3_listing(lab.bucket(), prefixes=prefixes)
    capture = lab.pipeline(items=ItemSource.captured(listing)).capture
    assert capture is not None

    extra = allowed(lab, capture.role) - own_logs(lab, capture)
    assert extra == on(f"{PAYLOAD}/runs/*/items.jsonl", *CAPTURE_UPLOAD) | on(
        "arn:${AWS::Partition}:s3:::data", "s3:ListBucket", condition=condition
    )


def test_a_given_capture_may_write_the_items(lab: Lab, allowed: Allowed) -> None:
    lab.pipeline(items=ItemSource.captured(Capture.function(lab.function("CaptureFunction"))))

    assert allowed(lab, lab.function("CaptureFunction").role) == on(f"{PAYLOAD}/runs/*/items.jsonl", *CAPTURE_UPLOAD)


def test_a_capture_of_a_nested_map_may_write_nested_items_alone(lab: Lab, allowed: Allowed) -> None:
    capture = ItemSource.captured(Capture.function(lab.function("CaptureFunction")))
    lab.pipeline(worker=Worker.nested(items=capture, worker=Worker.function(lab.function())))

    assert allowed(lab, lab.function("CaptureFunction").role) == on(
        f"{PAYLOAD}/runs/*/nested/*/items.jsonl", *CAPTURE_UPLOAD
    )


# -- combine


def test_a_combiner_may_read_the_runs_and_keep_a_large_answer(lab: Lab, allowed: Allowed) -> None:
    lab.pipeline(combine=Combiner.function(lab.function("CombineFunction")))

    assert allowed(lab, lab.function("CombineFunction").role) == {
        *on(f"{PAYLOAD}/runs/*", "s3:GetObject"),
        *on(PAYLOAD, "s3:ListBucket", condition={"StringLike": {"s3:prefix": ["runs/*"]}}),
        *on(f"{PAYLOAD}/runs/*/spill/*", *UPLOAD),
    }


def test_a_combiner_may_read_the_results_in_their_own_bucket(lab: Lab, allowed: Allowed) -> None:
    combine = Combiner.function(lab.function("CombineFunction"))
    lab.pipeline(combine=combine, results=Results(bucket=lab.bucket("Results")))

    results = "arn:${AWS::Partition}:s3:::results"
    assert on(f"{results}/runs/*", "s3:GetObject") | on(
        results, "s3:ListBucket", condition={"StringLike": {"s3:prefix": ["runs/*"]}}
    ) < allowed(lab, lab.function("CombineFunction").role)


# -- grants

NAME = "${PStateMachineD7DE3D71.Name}"


def states(resource: str) -> str:
    return f"arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:{resource}"


@pytest.fixture
def user(lab: Lab) -> iam.User:
    return iam.User(lab.stack, "User")


def granted(lab: Lab, user: iam.User, singled: Callable[[Any], Permissions]) -> Permissions:
    user_id = lab.stack.get_logical_id(cast("iam.CfnUser", user.node.default_child))
    found: list[dict[str, Any]] = []
    for policy in lab.resources("AWS::IAM::Policy").values():
        if {"Ref": user_id} in policy["Properties"].get("Users", []):
            found += policy["Properties"]["PolicyDocument"]["Statement"]
    return singled(found)


def test_grant_start_execution_lets_start_this_machine_alone(lab: Lab, user: iam.User, singled: Any) -> None:
    grant = lab.pipeline().grant_start_execution(user)

    assert isinstance(grant, iam.Grant)
    assert grant.success
    assert granted(lab, user, singled) == on("${PStateMachineD7DE3D71}", "states:StartExecution")


def test_grant_put_items_lets_upload_item_files_alone(lab: Lab, user: iam.User, singled: Any) -> None:
    grant = lab.pipeline(payload_prefix="team/").grant_put_items(user)

    assert isinstance(grant, iam.Grant)
    assert granted(lab, user, singled) == {
        *on(f"{PAYLOAD}/team/runs/*/items.jsonl", *UPLOAD),
        *on(f"{PAYLOAD}/team/items/*", *UPLOAD),
    }


@pytest.mark.parametrize("own_bucket", [False, True], ids=["payload-bucket", "own-bucket"])
def test_grant_read_results_lets_read_what_runs_wrote(
    lab: Lab, user: iam.User, singled: Any, *, own_bucket: bool
) -> None:
    results = Results(bucket=lab.bucket("Results")) if own_bucket else None
    grant = lab.pipeline(results=results).grant_read_results(user)
    buckets = [PAYLOAD, "arn:${AWS::Partition}:s3:::results"] if own_bucket else [PAYLOAD]

    assert isinstance(grant, iam.Grant)
    # A run can be started on an item file that is kept under items/, and is then read with it.
    listed = {PAYLOAD: ["runs/*", "items/*"], "arn:${AWS::Partition}:s3:::results": ["runs/*"]}
    assert granted(lab, user, singled) == on(f"{PAYLOAD}/items/*", "s3:GetObject") | {
        entry
        for bucket in buckets
        for entry in (
            *on(f"{bucket}/runs/*", "s3:GetObject"),
            *on(bucket, "s3:ListBucket", condition={"StringLike": {"s3:prefix": listed[bucket]}}),
        )
    }


def test_grant_operate_names_the_right_kind_of_resource_for_each_action(
    lab: Lab, user: iam.User, singled: Any, workers: dict[str, Any]
) -> None:
    pipeline = lab.pipeline(worker=workers["smallest"]["nested"](lab))
    grant = pipeline.grant_operate(user)
    labels = ["P", "P-ItemFile", "P-Nested", "P-Nested-ItemFile"]

    assert isinstance(grant, iam.Grant)
    assert pipeline.labels == labels
    assert granted(lab, user, singled) == {
        *on("${PStateMachineD7DE3D71}", "states:DescribeStateMachine", "states:ListExecutions"),
        *on(
            states(f"execution:{NAME}:*"),
            "states:DescribeExecution",
            "states:DescribeStateMachineForExecution",
            "states:GetExecutionHistory",
            "states:ListMapRuns",
            "states:RedriveExecution",
            "states:StopExecution",
        ),
        *(
            entry
            for label in labels
            for entry in (
                *on(
                    states(f"mapRun:{NAME}/{label}:*"),
                    "states:DescribeMapRun",
                    "states:UpdateMapRun",
                    "states:ListExecutions",
                ),
                *on(
                    states(f"execution:{NAME}/{label}:*"),
                    "states:DescribeExecution",
                    "states:GetExecutionHistory",
                    "states:ListMapRuns",
                ),
                *on(states(f"express:{NAME}/{label}:*"), "states:DescribeExecution"),
            )
        ),
    }


@pytest.mark.parametrize("method", ["grant_start_execution", "grant_put_items", "grant_read_results", "grant_operate"])
def test_a_grant_to_what_takes_none_says_so(lab: Lab, method: str) -> None:
    frozen = iam.Role.from_role_arn(lab.stack, "Frozen", "arn:aws:iam::111122223333:role/f", mutable=False)
    unknown = lambda_.Function.from_function_name(lab.stack, "Unknown", "elsewhere")
    pipeline = lab.pipeline()

    assert isinstance(getattr(pipeline, method)(frozen), iam.Grant)
    assert isinstance(getattr(pipeline, method)(unknown), iam.Grant)


# -- wildcards

WILDCARDS = {
    "logs:CreateLogDelivery": "delivery of logs has no resources in CloudWatch Logs",
    "logs:DeleteLogDelivery": "likewise",
    "logs:DescribeLogGroups": "likewise",
    "logs:DescribeResourcePolicies": "likewise",
    "logs:GetLogDelivery": "likewise",
    "logs:ListLogDeliveries": "likewise",
    "logs:PutResourcePolicy": "likewise",
    "logs:UpdateLogDelivery": "likewise",
    "xray:PutTraceSegments": "X-Ray has no resources for traces",
    "xray:PutTelemetryRecords": "likewise",
    "xray:GetSamplingRules": "likewise",
    "xray:GetSamplingTargets": "likewise",
    "ec2:AssignPrivateIpAddresses": "network interfaces are named only when Lambda makes them",
    "ec2:CreateNetworkInterface": "likewise",
    "ec2:DeleteNetworkInterface": "likewise",
    "ec2:DescribeNetworkInterfaces": "likewise",
    "ec2:DescribeSubnets": "likewise",
    "ec2:UnassignPrivateIpAddresses": "likewise",
}
"""Actions allowed on any resource, each with what forces it."""


def test_nothing_is_allowed_on_every_resource_but_what_a_service_forces(
    lab: Lab, singled: Any, sources: dict[str, Any]
) -> None:
    vpc = ec2.Vpc(lab.stack, "Vpc", nat_gateways=0, restrict_default_security_group=False)
    subnets = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    user = iam.User(lab.stack, "User")
    for kind, make in sources["full"].items():
        pipeline = lab.pipeline(
            kind.title().replace("-", ""),
            items=make(lab),
            worker=lab.python_worker(vpc=vpc, vpc_subnets=subnets),
            combine=Combiner.python(str(lab.code), handler="handler.handler"),
            tracing=True,
        )
        for method in ("grant_start_execution", "grant_put_items", "grant_read_results", "grant_operate"):
            getattr(pipeline, method)(user)
    found: Permissions = set()
    for policy in lab.resources("AWS::IAM::Policy").values():
        found |= singled(policy["Properties"]["PolicyDocument"]["Statement"])

    assert {action for action, resource, _ in found if resource == "*"} == set(WILDCARDS)
    assert not {action for action, _, _ in found if "*" in action}
