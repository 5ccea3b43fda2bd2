"""What a template, as the CDK synthesizes it, says of a state machine that a plan needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.graphs import parse
from cdk_distributed_map.plan._definition import functions
from cdk_distributed_map.plan._inputs import Described, FunctionFacts

_REFERENCE: Final = re.compile(r"\$\{(?P<id>[A-Za-z0-9]+)(?:\.[A-Za-z]+)?\}")


def described(template: Mapping[str, Any], machine: str, *, name: str, region: str | None = None) -> Described:
    """Return what a template says of a state machine.

    .. versionadded:: 0.1.0

    Args:
        template: A template, as the CDK synthesizes it.
        machine: Logical id of the state machine.
        name: What the plan calls it.
        region: Region that it is deployed to. Default: not known.

    Raises:
        ValueError: The template has no such state machine, or its definition isn't in the template.
    """
    resource = template.get("Resources", {}).get(machine)
    if resource is None:
        raise ValueError(f"the template has no resource {machine!r}")
    properties = resource.get("Properties", {})
    definition = _known(parse(properties.get("DefinitionString"), name_numbers=True), template)
    return Described(
        name=name,
        definition=definition,
        origin="template",
        functions={each: _function(each, template) for each in functions(definition)},
        region=region,
        logs_all=properties.get("LoggingConfiguration", {}).get("Level") == "ALL",
        traced=properties.get("TracingConfiguration", {}).get("Enabled") is True,
        kms=_asks_kms(definition, template),
    )


def _known(value: Any, template: Mapping[str, Any]) -> Any:
    """Return a definition with the default values of parameters in the places of numbers."""
    if isinstance(value, dict):
        return {key: _known(each, template) for key, each in value.items()}
    if isinstance(value, list):
        return [_known(each, template) for each in value]
    if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)) is not None:
        parameter = template.get("Parameters", {}).get(match["id"], {})
        if parameter.get("Type") == "Number" and "Default" in parameter:
            return float(parameter["Default"])
    return value


def _function(name: str, template: Mapping[str, Any]) -> FunctionFacts:
    match = _REFERENCE.search(name)
    properties = None if match is None else _function_of(match["id"], template)
    if properties is None:
        return FunctionFacts()
    return FunctionFacts(
        memory_mb=_number(properties.get("MemorySize", 128)),
        timeout=_number(properties.get("Timeout", 3)),
        reserved=_number(properties.get("ReservedConcurrentExecutions")),
        architecture=next(iter(properties.get("Architectures", [])), "x86_64"),
        traced=properties.get("TracingConfig", {}).get("Mode") == "Active",
    )


def _function_of(logical: str, template: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the properties of a function, which an alias or a version may stand for."""
    resource = template.get("Resources", {}).get(logical, {})
    properties: Mapping[str, Any] = resource.get("Properties", {})
    if resource.get("Type") == "AWS::Lambda::Function":
        return properties
    if resource.get("Type") in {"AWS::Lambda::Alias", "AWS::Lambda::Version"}:
        reference = properties.get("FunctionName", {})
        inner = reference.get("Ref") or next(iter(reference.get("Fn::GetAtt", [])), None)
        return None if inner is None else _function_of(inner, template)
    return None


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _asks_kms(definition: Mapping[str, Any], template: Mapping[str, Any]) -> bool:
    every = template.get("Resources", {}).items()
    buckets = {logical: each.get("Properties", {}) for logical, each in every if each.get("Type") == "AWS::S3::Bucket"}
    named = {found["id"] for found in _REFERENCE.finditer(json.dumps(definition))}
    for logical in named & buckets.keys():
        for rule in buckets[logical].get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", []):
            default = rule.get("ServerSideEncryptionByDefault", {})
            if default.get("SSEAlgorithm") == "aws:kms" and rule.get("BucketKeyEnabled") is not True:
                return True
    return False
