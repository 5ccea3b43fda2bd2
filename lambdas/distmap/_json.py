"""JSON as it travels: what is JSON, and how large it is to Step Functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from json import JSONDecoder, JSONEncoder
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from distmap._errors import NotJsonError, error_text, type_name

_REMEDY: Final = "only dict with text keys, list, str, int, finite float or Decimal, bool and None are"
_SIMPLE: Final = (
    "; and dataclasses, pydantic models, enums, dates, UUIDs, paths and numpy scalars stand for their values"
)


def _simpler(value: object) -> object:
    """Return what stands for a value that isn't of JSON's own types, where there is one obvious form of it.

    Whoever has a value of a type imported its module already, so that a cold start does without them.
    """
    for module, name, simplify in _FORMS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            return simplify(value)
    if hasattr(type(value), "__dataclass_fields__"):
        return {name: getattr(value, name) for name in _dataclass_fields(value)}
    if hasattr(type(value), "__pydantic_validator__"):
        return value.model_dump(mode="json")  # type: ignore[attr-defined] # every model has it
    message = f"object of type {type_name(value)} is not JSON serializable{_instead(value)}"
    raise TypeError(message)


def _dataclass_fields(value: object) -> list[str]:
    # A field of a class variable is in the mapping too.
    from dataclasses import fields  # noqa: PLC0415 - see _simpler

    return [each.name for each in fields(value)]  # type: ignore[arg-type] # just looked at


def _number(value: Any) -> int | float:
    """Return the number that a reader gets of the digits that Lambda's own serializer writes for a ``Decimal``."""
    if not value.is_finite():
        message = f"Decimal({str(value)!r}) is no number that JSON has"
        raise ValueError(message)
    number: int | float = decode(str(value))
    return number


def _date(value: Any) -> str:
    text: str = value.isoformat()
    if text == "NaT":  # of pandas, whose type is a datetime's
        message = "the date NaT is none that JSON has (return None)"
        raise ValueError(message)
    return text


_FORMS: Final[tuple[tuple[str, str, Callable[[Any], object]], ...]] = (
    ("decimal", "Decimal", _number),
    ("datetime", "date", _date),  # a datetime is one too
    ("datetime", "time", lambda value: value.isoformat()),
    ("uuid", "UUID", str),
    ("pathlib", "PurePath", str),
    ("enum", "Enum", lambda value: value.value),
    ("numpy", "generic", lambda value: value.item()),
)


_HINTS: Final = {
    "DataFrame": "return its to_dict('records')",
    "timedelta": "return its total_seconds()",
    "NAType": "return None",
    **dict.fromkeys(("deque", "range", "dict_keys", "dict_values"), "return list(...) of it"),
}
"""What to return instead, by the name of a type: most are of packages that needn't be there."""


def _instead(value: object) -> str:
    if isinstance(value, (set, frozenset)):
        return " (a set has no order: return sorted(...))"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return " (return text: base64.b64encode(...).decode())"
    if callable(getattr(type(value), "tolist", None)):
        return " (return its tolist())"
    if callable(getattr(type(value), "parse_obj", None)):
        return " (a model of pydantic 1: return json.loads(its json()))"
    hint = _HINTS.get(type(value).__name__)
    if hint is not None:
        return f" ({hint})"
    return _still_to_run(value)


def _still_to_run(value: object) -> str:
    if isinstance(value, CoroutineType):
        value.close()  # or Python warns that it was never awaited, which the error says already
        return " (the function is async: call asyncio.run on it)"
    if isinstance(value, AsyncGeneratorType):
        return " (the function is async: collect what it yields in a coroutine, and call asyncio.run on that)"
    return " (return a list of what it yields)" if isinstance(value, GeneratorType) else ""


# The separators of Lambda's own serializer: an answer is measured as Step Functions will get it, blanks included.
_AS_LAMBDA_SENDS: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, default=_simpler).encode
_ESCAPED: Final = JSONEncoder(allow_nan=False).encode
_COMPACT: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_simpler).encode

_MOST_LEVELS: Final = 100

ESCAPES_NON_ASCII: Final = sys.version_info < (3, 12)
"""Lambda's runtimes before Python 3.12 answer with escape sequences, which are longer than the characters.

See https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html.
"""

decode: Final = JSONDecoder().decode
"""Parse JSON text (``str``); quicker than ``json.loads``, which looks at its arguments first."""


def encode(value: object, *, what: str) -> bytes:
    """Return ``value`` as compact UTF-8 JSON text.

    Args:
        value: What to encode.
        what: What it is, for the message.

    Raises:
        NotJsonError: It is not JSON.
    """
    try:
        return _COMPACT(value).encode()
    except MemoryError:
        raise
    except Exception as error:
        raise _not_json(what, error, value) from error


def as_sent(value: object, *, what: str) -> str:
    """Return ``value`` as the JSON text that Lambda's own serializer would make of it now.

    What the value's own code raises on the way (a mapping that loads its items when they are asked for) is the
    value's fault like anything else that is not JSON.

    Args:
        value: What to encode.
        what: What it is, for the message.

    Raises:
        NotJsonError: It is not JSON.
    """
    try:
        # Numbers are the most frequent results, and the encoder takes several times longer to find out what they are.
        text = repr(value) if type(value) is int else _AS_LAMBDA_SENDS(value)
        if not text.isascii():
            text.encode()  # a lone surrogate has no UTF-8 form
    except MemoryError:
        raise
    except Exception as error:
        raise _not_json(what, error, value) from error
    return text


def text_of(value: object) -> str:
    """Return ``value`` as JSON text for a message, whatever it is."""
    try:
        return _AS_LAMBDA_SENDS(value)
    except Exception:  # noqa: BLE001 - a message must never fail for what it tells of
        return f"a {type_name(value)}"


def parse_sent(text: str, *, what: str) -> tuple[Any, int]:
    """Return what a text of :func:`as_sent` says, and its size in bytes as Step Functions gets it from Lambda.

    Raises:
        NotJsonError: It is nested deeper than Python reads.
    """
    try:
        value = decode(text)
        if text.isascii():
            return value, len(text)
        return value, len(_ESCAPED(value)) if ESCAPES_NON_ASCII else len(text.encode())
    except RecursionError as error:
        raise _not_json(what, error) from error


def plain(value: object, *, what: str) -> tuple[Any, int]:
    """Return ``value`` as it is now, made of nothing but JSON's own types, and its size to Step Functions.

    Args:
        value: What to copy.
        what: What it is, for the message.

    Returns:
        The copy, and its size in bytes as Step Functions gets it from Lambda.

    Raises:
        NotJsonError: It is not JSON.
    """
    return parse_sent(as_sent(value, what=what), what=what)


def _place_inside(value: object) -> str:
    """Return where in a value the first part is that is not JSON, such as ``$.a[3].b``; ``$`` where it is the whole."""
    place = "$"
    for _ in range(_MOST_LEVELS):
        for step, part in _parts(value):
            try:
                _AS_LAMBDA_SENDS(part).encode()
            except Exception:  # noqa: BLE001 - a value's own code may run, and fail
                place, value = place + step, part
                break
        else:
            return place
    return "$"  # it has itself in it


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if hasattr(type(value), "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in _dataclass_fields(value)}
    if isinstance(value, dict):
        for key, part in list(value.items()):
            yield (f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r:.40}]"), part
    elif isinstance(value, (list, tuple)):
        for at, part in enumerate(value):
            yield f"[{at}]", part


def _not_json(what: str, error: Exception, value: object = None) -> NotJsonError:
    """Return the error that says what is not JSON, where in it, and what to do."""
    reason = error_text(error)
    if isinstance(error, (TypeError, ValueError, RecursionError)):
        reason = f"{reason[:1].lower()}{reason[1:]}"
    else:
        reason = f"{type_name(error)}: {reason}"
    place = "$"
    if not isinstance(error, RecursionError):
        with suppress(Exception):  # a value's own code, once more
            place = _place_inside(value)
    where = "" if place == "$" else f" at {place}"
    return NotJsonError(f"{what} is not JSON{where}: {reason}; {_REMEDY}{_SIMPLE}")
