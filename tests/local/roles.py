"""Roles of the local AWS, and what they may do."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from cdk_distributed_map.local.iam.roles import RolePolicies
from cdk_distributed_map.local.server import LocalAws

ACCOUNT = "000000000000"
MACHINE = f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m"
SOURCE = {"aws:SourceArn": MACHINE}
KEY = "arn:aws:s3:::b/k"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(service: str = "states.amazonaws.com", **condition: Any) -> str:
    more = {"Condition": condition} if condition else {}
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}, **more})


def statement(action: str, resource: str, effect: str = "Allow", **condition: Any) -> dict[str, Any]:
    more = {"Condition": condition} if condition else {}
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


@dataclass
class Roles:
    """Makes roles and checks what they may."""

    local: LocalAws
    policies: RolePolicies

    @property
    def iam(self) -> Any:
        """IAM of the local AWS."""
        return self.local.client("iam")

    def make(self, *statements: dict[str, Any], assumed: str | None = None, **more: Any) -> str:
        """Create a role."""
        name = f"r{uuid.uuid4().hex[:12]}"
        document_ = trust() if assumed is None else assumed
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document_, **more)["Role"]["Arn"]
        if statements:
            self.put(arn, *statements)
        return arn

    def put(self, role: str, *statements: dict[str, Any]) -> None:
        """Give a role its policy."""
        self.iam.put_role_policy(RoleName=role.rsplit("/", 1)[-1], PolicyName="p", PolicyDocument=document(*statements))

    def managed(self, *statements: dict[str, Any]) -> str:
        """Create a managed policy."""
        name = f"p{uuid.uuid4().hex[:12]}"
        arn: str = self.iam.create_policy(PolicyName=name, PolicyDocument=document(*statements))["Policy"]["Arn"]
        return arn

    def check(self, role: str, action: str = "s3:GetObject", resource: str = KEY, **context: str) -> str | None:
        """Check."""
        keys = {key.replace("_", ":"): value for key, value in context.items()}
        return self.policies.check(role, action, resource, {**SOURCE, **keys})


def one_task(local: LocalAws, role: str, resource: str, parameters: dict[str, Any]) -> Any:
    """Run a state machine of one task under a role."""
    task = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, "End": True}
    definition = json.dumps({"StartAt": "T", "States": {"T": task}})
    made = local.client("stepfunctions").create_state_machine(
        name=f"m{uuid.uuid4().hex[:12]}", definition=definition, roleArn=role
    )
    return local.run(made["stateMachineArn"])
