"""A pipeline that another app finds by a parameter, deployed on a local AWS."""

from __future__ import annotations

import json
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import DistributedMapPipeline, ItemShape, ItemSource, Worker
from cdk_distributed_map.local.server import LocalAws
from tests.deployments import Deploy


def test_a_parameter_is_read_when_another_app_is_deployed(local: LocalAws, deploy: Deploy, tmp_path: Path) -> None:
    own = cdk.App(analytics_reporting=False, outdir=str(tmp_path / "own"))
    bare = Worker.states(lambda scope: sfn.Pass(scope, "Pass"), item_shape=ItemShape.BARE)
    made = DistributedMapPipeline(
        cdk.Stack(own, "Own"), "P", items=ItemSource.state_array("$.items"), worker=bare, state_machine_name="Squares"
    )
    made.export_to_parameter("/pipelines/squares")
    own.synth()
    other = cdk.App(analytics_reporting=False, outdir=str(tmp_path / "other"))
    stack = cdk.Stack(other, "Other")
    pipeline = DistributedMapPipeline.from_parameter(stack, "Squares", "/pipelines/squares")
    role = iam.Role(stack, "Role", role_name="operator", assumed_by=iam.AccountRootPrincipal())
    for grant in (pipeline.grant_start_execution, pipeline.grant_operate, pipeline.grant_put_items):
        grant(role).assert_success()
    cdk.CfnOutput(stack, "Machine", value=pipeline.state_machine.state_machine_arn)
    other.synth()
    deploy(tmp_path / "own")
    outputs = deploy(tmp_path / "other")["Other"]
    roles = local.client("iam")
    (name,) = roles.list_role_policies(RoleName="operator")["PolicyNames"]
    policy = json.dumps(roles.get_role_policy(RoleName="operator", PolicyName=name)["PolicyDocument"])

    assert outputs["Machine"].endswith(":stateMachine:Squares")
    assert ":mapRun:Squares/*:*" in policy
    assert "/runs/*/items.jsonl" in policy
    assert "Fn::" not in policy
