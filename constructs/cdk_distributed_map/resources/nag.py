"""What cdk-nag's AwsSolutions rules find in a pipeline, acknowledged with the reasons for it.

cdk-nag isn't needed for it: what it reads is metadata of constructs, which is in no template. Since its version 3 it
wants each finding named exactly, with the logical ids of what a policy names, so they are read from what was made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsii
from aws_cdk import IAspect, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import IConstruct, IValidation

from cdk_distributed_map.resources import grants
from cdk_distributed_map.resources.functions import VPC_ACTIONS
from cdk_distributed_map.resources.metrics import PipelineMetrics
from cdk_distributed_map.settings.functions import DEFAULT_RUNTIME

_METADATA = "aws:cdk:acknowledged-rules"
"""``Validations.ACKNOWLEDGED_RULES_METADATA_KEY``, which the oldest aws-cdk-lib that we support doesn't have."""
_FUNCTION = r"(?:Nested/)*(?:Worker|Capture|Combine|Account)"
_OPEN_POLICIES = re.compile(rf"(?:{_FUNCTION})?Role/DefaultPolicy/Resource")
"""Policies that users may add to: only what is known to be the pipeline's own is acknowledged in them."""
_NO_RESOURCES = frozenset({*grants.LOG_DELIVERY_ACTIONS, *grants.TRACING_ACTIONS, *VPC_ACTIONS, "batch:DescribeJobs"})
_READS = frozenset({"s3:GetObject", "s3:GetObjectVersion"})

_BUCKET = (
    "an access log needs a bucket of its own, which is the account's decision: payload_bucket= takes one that has it"
)
_RUNTIME = "it is the newest runtime that the oldest supported aws-cdk-lib knows: runtime= takes another"
_LOGS = "errors are logged by default: all events of a large map cost more than the map; log_level= takes ALL"
_TRACING = "tracing is a choice, at a price for each child: tracing=True"
_STARTER = "it only starts runs, which are logged and traced as the pipeline says; its own history tells the rest"
_EVERY = "these actions (delivery of logs, X-Ray, network interfaces of Lambda, descriptions of jobs) have no resources"
_RUNS = "a run's folder is named after the execution, its files after items and map runs: nobody knows them before"
_STARTED = "executions, children, map runs, tasks and jobs are named when they start"
_SOURCE = "the objects that a run reads are listed under that prefix, or named by its input"


@jsii.implements(IAspect)
class NagAcknowledgements:
    """An aspect that acknowledges what cdk-nag's AwsSolutions rules find in pipelines, each with its reason.

    Only findings that the construct causes on purpose are acknowledged, on its own resources: whatever you add to a
    role, choose yourself (a runtime, no logs) or grant to a role of yours is still reported. For cdk-nag 3. The
    templates stay as they are.

    .. versionadded:: 0.1.0

    Example::

        Aspects.of(app).add(NagAcknowledgements())
    """

    def __repr__(self) -> str:
        return "NagAcknowledgements()"

    def visit(self, node: IConstruct) -> None:
        """Have a pipeline acknowledge its findings at the end of the synthesis. The CDK calls this."""
        if isinstance(node, PipelineMetrics):
            # References to other stacks are what cdk-nag will see only after all aspects.
            node.node.add_validation(_Acknowledging(node))


@jsii.implements(IValidation)
class _Acknowledging:
    def __init__(self, pipeline: PipelineMetrics) -> None:
        self._pipeline = pipeline
        self._done = False

    def validate(self) -> list[str]:
        if not self._done:
            self._done = True
            for resource, rule, reason in _findings(self._pipeline):
                # As Validations.of(resource).acknowledge(...) writes it.
                resource.node.add_metadata(_METADATA, {f"Annotation::AwsSolutions-{rule}": reason})
        return []


def _findings(pipeline: PipelineMetrics) -> Iterator[tuple[IConstruct, str, str]]:
    """Return each resource with a finding, the rule and the reason."""
    above = len(pipeline.node.path) + 1
    statements = [statement.to_statement_json() for statement in pipeline._statements_of_states()]  # noqa: SLF001 - users have no need of it
    own = _wildcards(Stack.of(pipeline).resolve(statements))
    for resource in pipeline.node.find_all():
        place = resource.node.path[above:]
        if isinstance(resource, s3.CfnBucket) and place == "PayloadBucket/Resource":
            yield resource, "S1", _BUCKET
        elif isinstance(resource, lambda_.CfnFunction) and re.fullmatch(f"{_FUNCTION}/Resource", place):
            if resource.runtime == DEFAULT_RUNTIME.name:
                yield resource, "L1", _RUNTIME
        elif isinstance(resource, sfn.CfnStateMachine) and re.fullmatch(r"\w+Starter/Resource", place):
            yield from ((resource, rule, _STARTER) for rule in ("SF1", "SF2"))
        elif isinstance(resource, sfn.CfnStateMachine) and place == "StateMachine/Resource":
            if pipeline.log_group is not None:
                yield resource, "SF1", _LOGS
            yield resource, "SF2", _TRACING
        elif isinstance(resource, iam.CfnPolicy):
            is_open = _OPEN_POLICIES.fullmatch(place) is not None
            document = Stack.of(resource).resolve(resource.policy_document)
            for name, actions in _wildcards(document.get("Statement", [])).items():
                reason = _reason(name, actions, is_own=not is_open or (place.startswith("Role/") and name in own))
                if reason is not None:
                    yield resource, f"IAM5[Resource::{name}]", reason


def _reason(resource: str, actions: set[str], *, is_own: bool) -> str | None:
    """Return why a policy of the pipeline names what it doesn't know; None for what isn't the pipeline's doing."""
    if resource == "*":
        return _EVERY if actions <= _NO_RESOURCES else None
    if not is_own:
        return None
    if re.search(r"[/>](?:runs|items)/\*", resource) is not None:
        return _RUNS
    if re.match(r"arn:[^:]+:(?:states|ecs|batch):", resource.replace("::", "")) is not None:
        return _STARTED
    return _SOURCE if actions <= _READS else None


def _wildcards(statements: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return the resources with an asterisk that resolved statements allow something on, each with the actions.

    They are written as cdk-nag writes them.
    """
    actions: dict[str, set[str]] = {}
    for statement in statements:
        if statement.get("Effect", "Allow") == "Allow":
            for resource in map(_flat, _listed(statement["Resource"])):
                if "*" in resource:
                    actions.setdefault(resource, set()).update(_listed(statement["Action"]))
    return actions


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flat(value: Any) -> str:
    """Return a value with CloudFormation's functions as one text, as cdk-nag writes it."""
    if isinstance(value, str):
        return value.replace("${", "<").replace("}", ">")
    if "Fn::Join" in value:
        delimiter, parts = value["Fn::Join"]
        return str(delimiter).join(map(_flat, parts))
    if "Fn::GetAtt" in value:
        name, attribute = value["Fn::GetAtt"]
        return f"<{_flat(name)}.{_flat(attribute)}>"
    for function in ("Fn::Sub", "Fn::ImportValue"):
        if function in value:
            return _flat(value[function])
    if "Ref" in value:
        return f"<{_flat(value['Ref'])}>"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
