"""What a target of a rule is sent: the event, a part of it, a constant, or a template filled in from it.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path

_PLACE: Final = re.compile(r"<([^<>]+)>")
# A string is taken whole, so that a place inside it is told from one that stands for a value.
_STRING_OR_PLACE: Final = re.compile(r'"(?:\\.|[^"\\])*"|<[^<>]+>')


class InputError(ValueError):
    """A target's input can't be made of an event."""


def text(target: Mapping[str, Any], rule: Mapping[str, str], event: Mapping[str, Any]) -> str:
    """Return what a target is sent of an event.

    Args:
        target: The target, as PutTargets takes it.
        rule: Name and ARN of its rule, as ``name`` and ``arn``.
        event: The event.

    Raises:
        InputError: Its path leads nowhere in the event.
    """
    if target.get("InputTransformer"):
        return _filled(target["InputTransformer"], rule, event)
    if target.get("Input"):
        return str(target["Input"])
    if target.get("InputPath"):
        try:
            return json.dumps(_at(target["InputPath"], event))
        except NotFoundError as error:
            raise InputError(f"its InputPath {target['InputPath']} leads nowhere in the event") from error
    return json.dumps(event)


def _at(path: str, event: Mapping[str, Any]) -> Any:
    return compile_path(path).walk(dict(event))


def _filled(transformer: Mapping[str, Any], rule: Mapping[str, str], event: Mapping[str, Any]) -> str:
    values: dict[str, Any] = {}
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        try:
            values[name] = _at(path, event)
        except NotFoundError:
            values[name] = ""
    values |= {
        "aws.events.rule-arn": rule["arn"],
        "aws.events.rule-name": rule["name"],
        "aws.events.event.ingestion-time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    template = str(transformer.get("InputTemplate", ""))

    def inside(match: re.Match[str]) -> str:
        return _shown(values[match[1]]) if match[1] in values else match[0]

    def outside(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return _PLACE.sub(inside, match[0])
        name = match[0][1:-1]
        return json.dumps(values[name]) if name in values else match[0]

    alone = _PLACE.fullmatch(template.strip())
    if alone is not None and not isinstance(values.get(alone[1], ""), str):
        return json.dumps(values[alone[1]])
    if '"' not in template and not template.lstrip().startswith(("{", "[")):
        # Plain text, no JSON.
        return _PLACE.sub(inside, template)
    return _STRING_OR_PLACE.sub(outside, template)


def _shown(value: Any) -> str:
    # As AWS does: nothing is escaped, and an object within a string loses its quotes.
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")
