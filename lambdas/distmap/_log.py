"""One JSON line per invocation, for CloudWatch Logs Insights to query."""

from __future__ import annotations

import sys
from json import JSONEncoder
from typing import Any, Final

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
    line = _encode(entry).encode("utf-8", "backslashreplace").decode()
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
