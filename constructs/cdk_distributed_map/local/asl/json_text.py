"""JSON as Step Functions writes it, and the sizes it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from cdk_distributed_map.local.errors import StateError, too_large
from distmap import limits

Json = Any


dumps: Final[Callable[[Json], str]] = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
"""Returns a value as compact JSON text."""


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def loads(text: str | bytes) -> Json:
    """Return the value of a JSON text.

    Raises:
        ValueError: It isn't JSON, or too deep; ``NaN`` and ``Infinity`` aren't, though Python reads them.
    """
    whole = text if isinstance(text, str) else text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        return _DECODER.decode(whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def encoded(text: str) -> bytes:
    """Return a text in UTF-8; half a surrogate pair, which has no form in it, becomes a question mark as in Java."""
    return text.encode("utf-8", "replace")


def ordered(text: str) -> bytes:
    """Return what texts are ordered by in Java and JavaScript: their units in UTF-16."""
    return text.encode("utf-16-be", "surrogatepass")


def size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def checked(value: Json, *, what: str, terminal: bool = True) -> str:
    """Return a value's text, within the payload limit.

    Raises:
        StateError: ``States.DataLimitExceeded``.
    """
    text = dumps(value)
    if size(text) > limits.MAX_PAYLOAD_BYTES:
        error = too_large(what)
        raise StateError(error.error, error.cause, hidden_from_all=terminal)
    return text


def number(value: Json) -> bool:
    """Tell whether a value is a JSON number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(value: Json) -> str:
    """Return JSONata's name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if number(value):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
