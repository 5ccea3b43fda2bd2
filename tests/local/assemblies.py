"""A local AWS, and cloud assemblies written by hand: they need no Node."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
HANDLER = """
import json, os, sys
import boto3

def echo(event, context):
    print("got", json.dumps(event))
    return event

def fail(event, context):
    raise ValueError("no")

def say(event, context):
    print(event)

def again(event, context):
    if event > 0:
        given = {"FunctionName": context.function_name, "InvocationType": "Event", "Payload": json.dumps(event - 1)}
        assert boto3.client("lambda").invoke(**given)["StatusCode"] == 202
    return event

def read(event, context):
    return boto3.client("s3").get_object(Bucket=event["bucket"], Key=event["key"])["Body"].read().decode()

def invoke(event, context):
    answer = boto3.client("lambda").invoke(FunctionName=event["function"], Payload=b'"from a function"')
    return json.loads(answer["Payload"].read())

def who(event, context):
    return boto3.client("sts").get_caller_identity()["Arn"]

def sleep(event, context):
    import time
    time.sleep(event)
    return "slept"
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [f"{s}.amazonaws.com"]}}
        for s in ("lambda", "states")
    ],
}


def role(*statements: Mapping[str, Any]) -> dict[str, Any]:
    """Return a role that functions and state machines may assume."""
    policies = [
        {"PolicyName": f"p{number}", "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
        for number, statement in enumerate(statements)
    ]
    return {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST, "Policies": policies}}


def allow(action: str, resource: Any) -> dict[str, Any]:
    """Return a statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def function(handler: str, role_id: str = "Role", **properties: Any) -> dict[str, Any]:
    """Return a function of the handlers above."""
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": "code.zip"},
            "Handler": f"app.{handler}",
            "Runtime": "python3.11",
            "Role": {"Fn::GetAtt": [role_id, "Arn"]},
            "Timeout": 20,
            **properties,
        },
    }


class Writer:
    """Writes assemblies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.artifacts: dict[str, Any] = {}
        code = folder / "asset.code"
        code.mkdir(exist_ok=True)
        (code / "app.py").write_text(HANDLER)

    def stack(
        self,
        name: str,
        resources: Mapping[str, Any],
        *,
        environment: str = "aws://unknown-account/unknown-region",
        after: tuple[str, ...] = (),
        files: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Writer:
        """Add a stack."""
        template = {"Resources": resources, **more}
        text = json.dumps(template)
        (self.folder / f"{name}.template.json").write_text(text)
        # As CDK does: a stack that another test has deployed under this name has another template there.
        key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()}.json"
        found = {
            "code": {"source": {"path": "asset.code", "packaging": "zip"}, "key": "code.zip"},
            "template": {"source": {"path": f"{name}.template.json", "packaging": "file"}, "key": key},
            **(files or {}),
        }
        manifest = {
            "files": {
                id_: {
                    "source": file["source"],
                    "destinations": {"here": {"bucketName": BUCKET, "objectKey": file["key"]}},
                }
                for id_, file in found.items()
            },
            "dockerImages": {},
        }
        (self.folder / f"{name}.assets.json").write_text(json.dumps(manifest))
        self.artifacts[f"{name}.assets"] = {
            "type": "cdk:asset-manifest",
            "properties": {"file": f"{name}.assets.json"},
        }
        self.artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "environment": environment,
            "displayName": name,
            "properties": {
                "templateFile": f"{name}.template.json",
                "bootstrapStackVersionSsmParameter": "/cdk-bootstrap/hnb659fds/version",
            },
            "dependencies": [f"{name}.assets", *after],
        }
        return self

    def nested(self, name: str, after: tuple[str, ...] = ()) -> Writer:
        """Add a stage and return what writes it."""
        folder = self.folder / f"assembly-{name}"
        self.artifacts[f"assembly-{name}"] = {
            "type": "cdk:cloud-assembly",
            "properties": {"directoryName": folder.name},
            "dependencies": list(after),
        }
        return Writer(folder)

    def write(self) -> Path:
        """Write the manifest."""
        (self.folder / "manifest.json").write_text(json.dumps({"version": "55.0.0", "artifacts": self.artifacts}))
        return self.folder
