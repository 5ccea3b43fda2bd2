"""One JSON line per invocation, for CloudWatch Logs Insights to query."""

from __future__ import annotations

import sys
from contextlib import suppress
from json import JSONEncoder
from typing import Any, Final

from distmap._errors import error_text

_encode: Final = JSONEncoder(ensure_ascii=False, default=repr).encode


def log_line(message: str, *, context: Any, **fields: object) -> None:
    """Write one line of JSON to standard output, which Lambda sends to CloudWatch Logs.

    The root logger is left alone: its level and its format are the user's.

    Args:
        message: What happened.
        context: The Lambda context, for the request id, or None.
        fields: What belongs to it; None is left out.
    """
    entry: dict[str, object] = {"level": "INFO", "message": message}
    request = getattr(context, "aws_request_id", None)
    if request is not None:
        entry["requestId"] = request
    entry.update((key, value) for key, value in fields.items() if value is not None)
    try:
        line = _encode(entry)
    except Exception as error:  # noqa: BLE001 - a line of a log never fails what it tells of: items may be anything
        kept = {key: value for key, value in entry.items() if type(value) in (str, int, float, bool)}
        line = _encode({**kept, "leftOut": f"{', '.join(entry.keys() - kept.keys())}: {error_text(error)}"})
    with suppress(Exception):  # the function may have closed standard output
        sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stdout.flush()
