"""A last look at the rendered state machines: what must never be missing is there, whatever else changed them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jsii
from aws_cdk import Stack
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct, IValidation

from cdk_distributed_map._map import walk
from distmap import limits

_UNKNOWN = "0"
"""Stands for what is known only at deployment: right inside a string and in the place of a number."""


def parse(definition_string: Any) -> dict[str, Any]:
    """Return a definition as an object; parts known only at deployment read as ``0``.

    Args:
        definition_string: ``DefinitionString`` of a template: a string, or an ``Fn::Join`` of strings and references.
    """
    if isinstance(definition_string, dict) and "Fn::Join" in definition_string:
        _, pieces = definition_string["Fn::Join"]
        definition_string = "".join(piece if isinstance(piece, str) else _UNKNOWN for piece in pieces)
    parsed: dict[str, Any] = json.loads(definition_string)
    return parsed


def problems(definition: dict[str, Any], labels: Sequence[str]) -> list[str]:
    """Return what is wrong with the maps of these labels in a definition, in words."""
    found = []
    maps = [(name, state) for name, state in walk(definition) if state["Type"] == "Map" and "Label" in state]
    for name, state in maps:
        if state["Label"] not in labels:
            continue
        writer = state.get("ResultWriter", {})
        arguments = writer.get("Arguments", writer.get("Parameters", {}))
        if not writer.get("Resource") or not arguments.get("Bucket") or not arguments.get("Prefix"):
            found.append(
                f"map {name!r} has lost its ResultWriter, so its results would vanish: take out the override that "
                "removes it"
            )
        if "Retry" in state:
            found.append(f"map {name!r} has a Retry, which would run all items again: retry inside the worker")
    every = [state["Label"] for _, state in maps]
    repeated = sorted({label for label in every if every.count(label) > 1})
    return found + [
        f"label {label!r} is on more than one map of a state machine: give one of the pipelines another label"
        for label in repeated
    ]


@jsii.implements(IValidation)
class DefinitionCheck:
    """Checks every state machine of the stack that holds one of the pipeline's maps."""

    def __init__(self, scope: Construct, labels: Sequence[str]) -> None:
        self._scope = scope
        self._labels = list(labels)

    def validate(self) -> list[str]:
        """Return what is wrong, for the synthesis to fail with."""
        stack = Stack.of(self._scope)
        found: list[str] = []
        for child in stack.node.find_all():
            if isinstance(child, sfn.CfnStateMachine) and child.definition_string is not None:
                text = stack.resolve(child.definition_string)
                found += problems(parse(text), self._labels)
                size = len(json.dumps(text).encode())
                if size > limits.MAX_DEFINITION_BYTES:
                    found.append(f"the definition has {size:,} bytes, the limit is {limits.MAX_DEFINITION_BYTES:,}")
        return found
