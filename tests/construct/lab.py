"""A lab for pipelines: an app with fixed feature flags, and looks at what is synthesized of it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Annotations, Match, Template
from constructs import Construct

from cdk_distributed_map import (
    DistributedMapPipeline,
    ItemSource,
    Worker,
)
from cdk_distributed_map.graphs import parse, walk
from cdk_distributed_map.testing import masked

# Flags that change a resource in these templates, each as a new project gets it; that of the result writer
# (useDistributedMapResultWriterV2) is left unset.
FLAGS: dict[str, Any] = {
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-lambda:createNewPoliciesWithAddToRolePolicy": False,
    "@aws-cdk/aws-lambda:recognizeLayerVersion": True,
    "@aws-cdk/aws-lambda:recognizeVersionProps": True,
    "@aws-cdk/aws-s3:createDefaultLoggingPolicy": True,
    "@aws-cdk/aws-kms:aliasNameRef": True,
    "@aws-cdk/core:enablePartitionLiterals": False,
    "aws:cdk:enable-path-metadata": False,
}

HANDLER = "def handler(event, context):\n    return event\n"
ANY_HANDLER = "from elsewhere import handler\n"
"""One that may do for a worker, a capture and a combiner alike: the construct can't know what it is."""


class Lab:
    """An app with one stack, what pipelines are made of, and a look at what comes out."""

    def __init__(
        self,
        folder: Path,
        *,
        outdir: Path | None = None,
        context: Mapping[str, Any] | None = None,
        env: cdk.Environment | None = None,
    ) -> None:
        self._folder = folder
        self.app = cdk.App(
            analytics_reporting=False,
            tree_metadata=False,
            outdir=str(folder / "cdk.out" if outdir is None else outdir),
            context={**FLAGS, **(context or {})},
        )
        self.stack = self.new_stack("Stack", env=env)
        self._templates: dict[str, dict[str, Any]] = {}

    def new_stack(self, id: str, *, scope: Construct | None = None, env: cdk.Environment | None = None) -> cdk.Stack:
        synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
        return cdk.Stack(self.app if scope is None else scope, id, env=env, synthesizer=synthesizer)

    # -- parts

    @functools.cached_property
    def code(self) -> Path:
        """The folder of a handler, of this lab alone."""
        code = self._folder / "code"
        code.mkdir(parents=True)
        (code / "handler.py").write_text(ANY_HANDLER)
        return code

    def bucket(self, id: str = "Data", **attributes: Any) -> s3.IBucket:
        """Return a bucket of that name in lower case, the same one for the same id."""
        existing = self.stack.node.try_find_child(id)
        if existing is not None:
            return existing  # type: ignore[return-value]  # made below
        return s3.Bucket.from_bucket_attributes(self.stack, id, bucket_name=id.lower(), **attributes)

    def machine(self) -> sfn.IStateMachine:
        """Return a state machine made elsewhere, always the same one."""
        existing = self.stack.node.try_find_child("Machine")
        if existing is not None:
            return existing  # type: ignore[return-value]  # made below
        return sfn.StateMachine.from_state_machine_name(self.stack, "Machine", "machine")

    def function(self, id: str = "Function", **options: Any) -> lambda_.Function:
        existing = self.stack.node.try_find_child(id)
        if isinstance(existing, lambda_.Function):
            return existing
        return lambda_.Function(
            self.stack,
            id,
            **{
                "runtime": lambda_.Runtime.PYTHON_3_13,
                "handler": "index.handler",
                "code": lambda_.Code.from_inline(HANDLER),
                "timeout": cdk.Duration.seconds(30),
                **options,
            },
        )

    def number_parameter(self, id: str) -> cdk.CfnParameter:
        return cdk.CfnParameter(self.stack, id, type="Number")

    def text_parameter(self, id: str) -> cdk.CfnParameter:
        return cdk.CfnParameter(self.stack, id)

    def python_worker(self, *, handler: str = "handler.handler", **options: Any) -> Worker:
        return Worker.python(str(self.code), handler=handler, **options)

    def pipeline(self, id: str = "P", *, scope: Construct | None = None, **options: Any) -> DistributedMapPipeline:
        """Return a pipeline; the smallest one, where nothing is said: items in the input, a function made elsewhere."""
        if "items" not in options:
            options["items"] = ItemSource.state_array()
        if "worker" not in options:
            options["worker"] = Worker.function(self.function())
        return DistributedMapPipeline(self.stack if scope is None else scope, id, **options)

    # -- what comes out

    def template(self, stack: cdk.Stack | None = None) -> dict[str, Any]:
        """Return a template; the app is synthesized once."""
        stack = self.stack if stack is None else stack
        path = stack.node.path
        if path not in self._templates:
            self._templates[path] = dict(Template.from_stack(stack).to_json())
        return self._templates[path]

    def masked_template(self) -> dict[str, Any]:
        return masked(self.template())

    def definition(self, machine: DistributedMapPipeline | sfn.StateMachine) -> dict[str, Any]:
        """Return the rendered definition of a pipeline's own, or of another state machine."""
        machine = machine.state_machine if isinstance(machine, DistributedMapPipeline) else machine
        stack = cdk.Stack.of(machine)
        logical_id = stack.get_logical_id(machine.node.default_child)  # type: ignore[arg-type]  # a CfnStateMachine
        return parse(self.template(stack)["Resources"][logical_id]["Properties"]["DefinitionString"])

    def state(self, pipeline: DistributedMapPipeline, name: str) -> dict[str, Any]:
        """Return a rendered state by the end of its name, at any depth."""
        found = [state for key, state in walk(self.definition(pipeline)) if key == f"{pipeline.label} {name}"]
        assert len(found) == 1, f"{len(found)} states named {pipeline.label} {name}"
        return found[0]

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type, by logical id."""
        return {key: each for key, each in self.template()["Resources"].items() if each["Type"] == kind}

    def statements(self, role_id: str) -> list[dict[str, Any]]:
        """Return every statement of the policies attached to a role, in a stable order."""
        found: list[dict[str, Any]] = []
        for policy in self.resources("AWS::IAM::Policy").values():
            if {"Ref": role_id} in policy["Properties"].get("Roles", []):
                found += policy["Properties"]["PolicyDocument"]["Statement"]
        return sorted(found, key=lambda statement: json.dumps(statement, sort_keys=True))

    def role_id(self, role: Any) -> str:
        return cdk.Stack.of(role).get_logical_id(role.node.default_child)

    def warnings(self, id: str, path: str = "*") -> list[str]:
        """Return the texts of the warnings with an id."""
        found = Annotations.from_stack(self.stack).find_warning(path, Match.string_like_regexp(rf"\[ack: {id}\]"))
        return [str(entry.entry.data) for entry in found]
