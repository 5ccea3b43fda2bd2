"""boto3's models of APIs, and whether a value is what one answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from botocore.session import Session

from cdk_distributed_map.endpoints import unconfigured_session
from cdk_distributed_map.local.asl.json_text import Json, dumps

_NUMBERS: Final = frozenset({"integer", "long", "float", "double"})
_SHOWN: Final = 80


@cache
def models() -> Session:
    """Return what has the models of all services."""
    return unconfigured_session()


@cache
def service_model(boto_name: str) -> Any:
    """Return the model of a service, by boto3's name of it."""
    return models().get_service_model(boto_name)


def problem(shape: Any, value: Json, *, named: Callable[[str], str], also: frozenset[str] = frozenset()) -> str | None:
    """Return why a value isn't of a shape, None where it is.

    Args:
        shape: The shape in boto3's model, None where the API answers nothing.
        value: The value, as Step Functions shows it.
        named: How the integration writes the model's names.
        also: Members that the integration adds.
    """
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in also}
    return next(_problems(shape, value, named, "the result"), None)


def _problems(shape: Any, value: Json, named: Callable[[str], str], where: str) -> Iterator[str]:
    kind = "structure" if shape is None else shape.type_name
    if getattr(shape, "is_document_type", False):
        return
    if kind in {"structure", "map"} and not isinstance(value, Mapping):
        yield f"{where} must be an object, got {_text(value)}"
    elif kind == "structure":
        yield from _of_members(shape, value, named, where)
    elif kind == "map":
        for key, item in value.items():
            yield from _problems(shape.value, item, named, f"{where}.{key}")
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{where} must be an array, got {_text(value)}"
            return
        for at, item in enumerate(value):
            yield from _problems(shape.member, item, named, f"{where}[{at}]")
    elif not _is_scalar(kind, value):
        yield f"{where} must be a {kind}, got {_text(value)}"
    elif kind == "string" and shape.enum and value not in shape.enum:
        yield f"{where} must be one of {', '.join(shape.enum)}, got {_text(value)}"


def _of_members(shape: Any, value: Mapping[str, Json], named: Callable[[str], str], where: str) -> Iterator[str]:
    members = {} if shape is None else shape.members
    # Attribute values of DynamoDB have their names as they are.
    names = {name if shape.name == "AttributeValue" else named(name): name for name in members}
    for key, item in value.items():
        if key not in names:
            close = get_close_matches(key, names, n=1, cutoff=0.3) or sorted(names)[:5] or ["nothing"]
            yield f"{where} has {key!r}, which the API doesn't answer: give {', '.join(close)}"
        else:
            yield from _problems(members[names[key]], item, named, f"{where}.{key}")
    lacking = [key for key, name in names.items() if name in shape.required_members and key not in value]
    if lacking:
        yield f"{where} lacks {lacking[0]!r}, which the API always answers"


def _is_scalar(kind: str, value: Json) -> bool:
    if kind in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "timestamp":
        return isinstance(value, str | int | float) and not isinstance(value, bool)
    # A body that is JSON comes as its value.
    return kind == "blob" or isinstance(value, str)


def _text(value: Json) -> str:
    return dumps(value)[:_SHOWN]
