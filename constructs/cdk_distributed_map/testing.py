"""Helpers for the tests of stacks that hold pipelines.

A snapshot of a template should change when the template does, and only then. Two things get in the way: asset hashes
move with every edit of a handler, and a state machine's definition is a string in pieces that nobody can review. So::

    def test_template_is_as_reviewed(snapshot):
        stack = MyStack(App(analytics_reporting=False), "My")
        assert masked_template(stack) == snapshot

To look at the states alone, :func:`definitions` returns every definition of a template, parsed.

A run on the local AWS meets what ``local_aws.outcomes`` scripts (:class:`Outcomes`), and ``local_aws.path`` returns the
path that it took (:class:`ExecutionPath`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from aws_cdk.assertions import Template

from cdk_distributed_map.graphs import parse
from cdk_distributed_map.local.cloud import CloudAws
from cdk_distributed_map.local.deployed import DeployedAws
from cdk_distributed_map.local.execution_path import Attempt, ExecutionPath, MapRunPath, Visit
from cdk_distributed_map.local.outcomes import Outcomes
from cdk_distributed_map.plan import Forecast, dollars_text, seconds_text

__all__ = [
    "Attempt",
    "CloudAws",
    "DeployedAws",
    "ExecutionPath",
    "MapRunPath",
    "Outcomes",
    "Visit",
    "assert_plan",
    "definitions",
    "masked",
    "masked_template",
]

_STATE_MACHINE = "AWS::StepFunctions::StateMachine"
_HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_VERSION_ID = re.compile(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}")


def masked_template(stack: Stack) -> dict[str, Any]:
    """Return the template of a stack as it is worth a snapshot.

    The app is synthesized. The rest is :func:`masked`'s.

    .. versionadded:: 0.1.0

    Args:
        stack: A stack, of an app or of a stage.

    Raises:
        RuntimeError: The app can't be synthesized.
    """
    return masked(Template.from_stack(stack).to_json())


def masked(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template with its asset hashes masked and the definitions of its state machines readable.

    Assets are named by the order in which they occur, so that it still shows which functions share one. A reference
    inside a definition reads as ``${<logical id>}`` or ``${<logical id>.<attribute>}``.

    .. versionadded:: 0.1.0

    Args:
        template: A template, left as it is.

    Example::

        >>> code = {"S3Key": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.zip"}
        >>> function = {"Type": "AWS::Lambda::Function", "Properties": {"Code": code}}
        >>> masked({"Resources": {"Worker": function}})["Resources"]["Worker"]["Properties"]["Code"]
        {'S3Key': 'asset-1.zip'}
    """
    names: dict[str, str] = {}
    result: dict[str, Any] = _masked(template, names)
    for resource in result.get("Resources", {}).values():
        if resource["Type"] == _STATE_MACHINE and "DefinitionString" in resource["Properties"]:
            properties = resource["Properties"]
            properties["DefinitionString"] = parse(properties["DefinitionString"], name_numbers=True)
    return result


def definitions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the definition of each state machine of a template, by logical id.

    .. versionadded:: 0.1.0

    Args:
        template: A template as the CDK synthesizes it. A reference inside a string reads as ``${<logical id>}`` or
            ``${<logical id>.<attribute>}``; in the place of a number it reads as 0, so that the definition stays one
            that validators and engines take.

    Raises:
        ValueError: A definition isn't in the template itself, or not JSON.

    Example::

        >>> text = ['{"States": {}, "Comment": "', {"Ref": "AWS::StackName"}, '"}']
        >>> machine = {"DefinitionString": {"Fn::Join": ["", text]}}
        >>> definitions({"Resources": {"M": {"Type": "AWS::StepFunctions::StateMachine", "Properties": machine}}})
        {'M': {'States': {}, 'Comment': '${AWS::StackName}'}}
    """
    return {
        logical_id: parse(resource["Properties"].get("DefinitionString"))
        for logical_id, resource in template.get("Resources", {}).items()
        if resource["Type"] == _STATE_MACHINE
    }


def assert_plan(found: Forecast, *, max_cost: float | None = None, max_seconds: float | None = None) -> None:
    """Hold what ``pipeline.plan(...)`` returned to what a run may cost and take.

    .. versionadded:: 0.1.0

    Args:
        found: The plan.
        max_cost: What it may cost at most, in USD. Default: anything.
        max_seconds: What 9 of 10 runs may take at most. Default: anything.

    Raises:
        AssertionError: It costs or takes more, with what it costs and takes, and what binds.
    """
    problems = []
    if max_cost is not None and found.bill.total > max_cost:
        problems.append(f"costs {dollars_text(found.bill.total)}, over {dollars_text(max_cost)}")
    if max_seconds is not None and found.p90 > max_seconds:
        problems.append(f"takes {seconds_text(found.p90)} (p90), over {seconds_text(max_seconds)}")
    if problems:
        raise AssertionError(f"the run {' and '.join(problems)}: {found.summary()}")


def _masked(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {_masked(key, names): _masked(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, names) for item in value]
    if not isinstance(value, str):
        return value
    text = _HASH.sub(lambda found: names.setdefault(found[0], f"asset-{len(names) + 1}"), value)
    return _VERSION_ID.sub(r"\1", text)
