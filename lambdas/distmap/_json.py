"""JSON as it travels: what is JSON, and how large it is to Step Functions."""

from __future__ import annotations

import sys
from json import JSONDecoder, JSONEncoder
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from distmap._errors import NotJsonError, type_name, words_of

_REMEDY: Final = "only dict with text keys, list, str, int, finite float or Decimal, bool and None are"


def _number(value: object) -> int | float:
    """Return the number that a reader gets of the digits that Lambda's own serializer writes for a ``Decimal``."""
    from decimal import Decimal  # noqa: PLC0415 - whoever has one imported it already; a cold start does without

    if not isinstance(value, Decimal):
        message = f"object of type {type_name(value)} is not JSON serializable{_still_to_run(value)}"
        raise TypeError(message)
    if not value.is_finite():
        message = f"Decimal({str(value)!r}) is no number that JSON has"
        raise ValueError(message)
    number: int | float = decode(str(value))
    return number


def _still_to_run(value: object) -> str:
    if isinstance(value, CoroutineType):
        value.close()  # or Python warns that it was never awaited, of which nobody needs to be told twice
        return " (the function is async: call asyncio.run on it)"
    if isinstance(value, AsyncGeneratorType):
        return " (the function is async: collect what it yields in a coroutine, and call asyncio.run on that)"
    return " (return a list of what it yields)" if isinstance(value, GeneratorType) else ""


# The separators of Lambda's own serializer: an answer is measured as Step Functions will get it, blanks included.
_AS_LAMBDA_SENDS: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, default=_number).encode
_ESCAPED: Final = JSONEncoder(allow_nan=False).encode
_COMPACT: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_number).encode

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
        raise _not_json(what, error) from error


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
        raise _not_json(what, error) from error
    return text


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


def _not_json(what: str, error: Exception) -> NotJsonError:
    """Return the error that says what is not JSON and what to do."""
    reason = words_of(error)
    if isinstance(error, (TypeError, ValueError, RecursionError)):
        reason = f"{reason[:1].lower()}{reason[1:]}"
    else:
        reason = f"{type_name(error)}: {reason}"
    return NotJsonError(f"{what} is not JSON: {reason}; {_REMEDY}")
