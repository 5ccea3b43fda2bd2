"""Parameters and answers of API calls: as Step Functions shows them, and as boto3 has them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.tasks.integration import text_of

Naming = Callable[[str], str]
"""Writes a name of boto3's model."""


class UnknownFieldError(LookupError):
    """An API action has no such parameter. The argument is its name."""


_FROM_TEXT: Final[dict[str, Callable[[str], Any]]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": {"true": True, "false": False}.__getitem__,
}


def request(shape: Any, value: Json, *, named: Naming) -> Any:  # noqa: PLR0911 - one return for each kind of shape
    """Return parameters as boto3 wants them.

    Args:
        shape: Their shape in boto3's model.
        value: The parameters.
        named: How the integration writes the model's names.

    Raises:
        UnknownFieldError: There is no such name.
    """
    if shape is None or value is None:
        return value if shape is not None else {}
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        if getattr(shape, "is_document_type", False):
            return value
        names = {_member(shape, name, named): name for name in shape.members}
        built = {}
        for key, item in value.items():
            if key not in names:
                raise UnknownFieldError(key)
            if item is not None:
                built[names[key]] = request(shape.members[names[key]], item, named=named)
        return built
    if kind == "list" and isinstance(value, list):
        return [request(shape.member, item, named=named) for item in value]
    if kind == "map" and isinstance(value, Mapping):
        return {key: request(shape.value, item, named=named) for key, item in value.items()}
    if kind == "blob":
        # The body of an S3 object is the JSON of its value, the quotes of a text included.
        return (dumps(value) if shape.serialization.get("streaming") else text_of(value)).encode()
    if kind == "string" and not isinstance(value, str):
        return dumps(value)
    if kind in _FROM_TEXT and isinstance(value, str):
        return _from_text(kind, value)
    return value


def _member(shape: Any, name: str, named: Naming) -> str:
    # BOOL, NULL, SS and the like of DynamoDB are data more than names; how SDK integrations have them isn't recorded.
    return name if shape.name == "AttributeValue" else named(name)


def _from_text(kind: str, text: str) -> Any:
    """Return a number or a boolean that is written as a text, as Java reads it, and any other text as it is."""
    try:
        return _FROM_TEXT[kind](text)
    except (ValueError, KeyError):
        return text


def parsed(shape: Any, value: Any) -> Any:
    """Return a value of the API as boto3 gives it: with dates instead of numbers."""
    if shape.type_name == "structure":
        return {key: parsed(shape.members[key], item) for key, item in value.items()}
    if shape.type_name == "list":
        return [parsed(shape.member, item) for item in value]
    if shape.type_name == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    return value


def shown(shape: Any, value: Any, *, named: Naming) -> Json:  # noqa: PLR0911 - one return for each kind of shape
    """Return boto3's answer as Step Functions shows it: keys of maps as they are.

    Args:
        shape: Its shape in boto3's model.
        value: The answer.
        named: How the integration writes the model's names.
    """
    if shape is None:
        # Of many actions the model has no answer.
        return {}
    if getattr(shape, "is_document_type", False):
        return value
    if isinstance(value, Mapping):
        if shape.type_name == "map":
            return {str(key): shown(shape.value, item, named=named) for key, item in value.items()}
        members = shape.members
        return {_member(shape, key, named): shown(members[key], item, named=named) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(shape.member, item, named=named) for item in value]
    if isinstance(value, datetime):
        # Java writes no more digits of a second than it needs, three at a time.
        digits = "milliseconds" if value.microsecond and value.microsecond % 1000 == 0 else "auto"
        return value.isoformat(timespec=digits).replace("+00:00", "Z")
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
