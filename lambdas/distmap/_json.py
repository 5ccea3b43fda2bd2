"""JSON as it travels: what is JSON, and how large it is to Step Functions."""

from __future__ import annotations

import sys
from json import JSONDecoder, JSONEncoder
from typing import Final

from distmap._errors import NotJsonError

_REMEDY: Final = "only dict with text keys, list, str, int, finite float, bool and None are"

# The separators of Lambda's own serializer: an answer is measured as Step Functions will get it, blanks included.
_AS_LAMBDA_SENDS: Final = JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ESCAPED: Final = JSONEncoder(allow_nan=False).encode
_COMPACT: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

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
    except (TypeError, ValueError, RecursionError) as error:
        raise not_json(what, error) from error


def not_json(what: str, error: Exception) -> NotJsonError:
    """Return the error that says what is not JSON and what to do."""
    reason = str(error)
    return NotJsonError(f"{what} is not JSON: {reason[:1].lower()}{reason[1:]}; {_REMEDY}")


def measure(value: object, *, what: str) -> int:
    """Return the size of ``value`` in bytes as Step Functions gets it from Lambda.

    Args:
        value: What to measure.
        what: What it is, for the message.

    Raises:
        NotJsonError: It is not JSON.
    """
    try:
        text = _AS_LAMBDA_SENDS(value)
        if text.isascii():
            return len(text)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise not_json(what, error) from error
    if ESCAPES_NON_ASCII:
        return len(_ESCAPED(value))
    return size
