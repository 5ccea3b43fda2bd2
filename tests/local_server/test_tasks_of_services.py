"""Tasks that call other services, under roles that have just what AWS's pages on their permissions name."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.local_server.test_roles import Roles, one_task, roles, statement

if TYPE_CHECKING:
    from cdk_distributed_map.local.server import LocalAws

__all__ = ["roles"]
PASS = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
HERE = "us-east-1:000000000000"
RULE = f"arn:aws:events:{HERE}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"


@pytest.fixture(scope="module")
def machine(local: LocalAws) -> str:
    """A state machine that tasks start."""
    iam = local.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=f"r{uuid.uuid4().hex[:12]}", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    made = local.client("stepfunctions").create_state_machine(
        name=f"m{uuid.uuid4().hex[:12]}", definition=json.dumps(PASS), roleArn=role
    )
    arn: str = made["stateMachineArn"]
    return arn


@pytest.mark.parametrize("form", ["", ".sync", ".sync:2"])
def test_an_execution_is_started_with_the_documented_permissions(roles: Roles, machine: str, form: str) -> None:
    grants = [statement("states:StartExecution", machine)]
    if form:
        execution = machine.replace(":stateMachine:", ":execution:")
        grants += [statement(f"states:{name}Execution", f"{execution}:*") for name in ("Describe", "Stop")]
        grants += [statement(f"events:{name}", RULE) for name in ("PutTargets", "PutRule", "DescribeRule")]
    given = {"StateMachineArn": machine}
    ended = one_task(roles.local, roles.make(*grants), f"states:startExecution{form}", given)
    assert ended.status == "SUCCEEDED", ended.cause


def test_fails_when_a_role_lacks_the_managed_rule(roles: Roles, machine: str) -> None:
    role = roles.make(statement("states:StartExecution", machine), statement("events:PutRule", RULE))
    ended = one_task(roles.local, role, "states:startExecution.sync", {"StateMachineArn": machine})
    assert (ended.status, ended.error) == ("FAILED", "States.Runtime")
    assert f"'{role}' is not authorized to create managed-rule" in ended.cause
    assert f"allow events:DescribeRule, events:PutTargets on {RULE}" in ended.cause
