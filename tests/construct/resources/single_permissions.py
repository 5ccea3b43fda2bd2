"""Permissions as a set of single ones: an action on a resource under a condition."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

Permissions = set[tuple[str, str, str]]


def plain(value: Any) -> Any:
    """Return a value of a template as text: ``${<logical id>.<attribute>}`` for what is referred to."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    references: dict[str, Callable[[Any], str]] = {
        "Ref": lambda name: f"${{{name}}}",
        "Fn::GetAtt": lambda path: f"${{{'.'.join(path)}}}",
        "Fn::Join": lambda join: "".join(plain(piece) for piece in join[1]),
        # What the L2 takes from the ARN of a state machine.
        "Fn::Select": lambda _: "${Name}",
    }
    for function, text in references.items():
        if function in value:
            return text(value[function])
    return {key: plain(item) for key, item in value.items()}


def single(statements: Iterable[dict[str, Any]]) -> Permissions:
    """Return each action on each resource, with its condition as JSON, empty for none."""
    found = set()
    for statement in statements:
        assert statement["Effect"] == "Allow"
        actions, resources = statement["Action"], plain(statement["Resource"])
        condition = json.dumps(plain(statement.get("Condition", {})), sort_keys=True)
        for action in [actions] if isinstance(actions, str) else actions:
            for resource in [resources] if isinstance(resources, str) else resources:
                found.add((action, resource, "" if condition == "{}" else condition))
    return found
