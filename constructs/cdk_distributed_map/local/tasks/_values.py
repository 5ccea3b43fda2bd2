"""Parameters and answers of API calls: as Step Functions shows them, and as boto3 has them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cdk_distributed_map.local._errors import runtime
from cdk_distributed_map.local._json import Json, dumps
from cdk_distributed_map.local.tasks._integration import text_of

_FROM_TEXT: Final[dict[str, Callable[[str], Any]]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": {"true": True, "false": False}.__getitem__,
}


def request(shape: Any, value: Json) -> Any:  # noqa: PLR0911 - one return for each kind of shape
    """Return parameters as boto3 wants them: AWS writes every name with a capital, some models don't."""
    if shape is None or value is None:
        return value if shape is not None else {}
    kind = shape.type_name
    if kind == "structure" and isinstance(value, Mapping):
        if getattr(shape, "is_document_type", False):
            return value
        names = {name[:1].upper() + name[1:]: name for name in shape.members}
        built = {}
        for key, item in value.items():
            name = key if key in shape.members else names.get(key[:1].upper() + key[1:])
            if name is None:
                raise runtime(f"The field '{key}' is not supported by Step Functions")
            if item is not None:
                built[name] = request(shape.members[name], item)
        return built
    if kind == "list" and isinstance(value, list):
        return [request(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, Mapping):
        return {key: request(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        # The body of an S3 object is the JSON of its value, the quotes of a text included.
        return (dumps(value) if shape.serialization.get("streaming") else text_of(value)).encode()
    if kind == "string" and not isinstance(value, str):
        return dumps(value)
    if kind in _FROM_TEXT and isinstance(value, str):
        return _from_text(kind, value)
    return value


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


def shown(shape: Any, value: Any) -> Json:
    """Return boto3's answer as Step Functions shows it: members with a capital, keys of maps as they are."""
    if getattr(shape, "is_document_type", False):
        return value
    if isinstance(value, Mapping):
        if shape.type_name == "map":
            return {str(key): shown(shape.value, item) for key, item in value.items()}
        return {f"{key[:1].upper()}{key[1:]}": shown(shape.members[key], item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(shape.member, item) for item in value]
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
