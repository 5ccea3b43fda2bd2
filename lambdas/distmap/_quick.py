"""The successes in a line of a result file, without parsing the line.

Most children answer for all of their items, and all of those succeeded. Most of their record is the input, as JSON in
a JSON string, and decoding it costs more than everything else: here the indexes are picked out of its text. Inside a
JSON string every quote has a backslash, so the bytes looked for can only be where the record's own structure has them.
"""

from __future__ import annotations

import json
import re
from itertools import repeat
from operator import contains, itemgetter
from typing import Any, Final

from distmap._export import RunFolder
from distmap._json import decode
from distmap._records import is_answer

_START: Final = b'{"ExecutionArn":'
_INPUT: Final = b'"Input":"'
_OUTPUT: Final = b'"Output":"'
_NEXT: Final = b'","'
_AFTER_OUTPUT: Final = b'","OutputDetails":'
_SUCCEEDED: Final = b'"Status":"SUCCEEDED"'
_ITEM: Final = re.compile(rb'\{\\"index\\":(\d+),\\"value\\":')

_identifier: Final = itemgetter("itemIdentifier")


class QuickLook:
    """Reads the lines of children of one map run.

    Args:
        run: The run that they must be of. Default: any.
    """

    __slots__ = ("_path", "_prefix")

    def __init__(self, run: RunFolder | None) -> None:
        self._prefix = b"" if run is None else _member("prefix", run.prefix)
        self._path = b"" if run is None else _member("path", run.path)

    def successes(self, line: bytes) -> tuple[list[int], list[Any], Any] | None:
        """Return indexes, results and measures of a child that answered for all of its items, all of which succeeded.

        Returns:
            None where that isn't so, or isn't known without parsing the input.
        """
        text, end = quick_output(line)
        answer = None if text is None else decode(text)
        if not is_answer(answer) or answer["batchItemFailures"] or answer["batchItemsUnprocessed"]:
            return None
        start = line.find(_INPUT)
        stop = line.find(_NEXT, start)
        of_run = start >= 0 and line.find(self._prefix, start, stop) >= 0 and line.find(self._path, start, stop) >= 0
        if not of_run or line.find(_SUCCEEDED, end) < 0 or "positional" in answer:
            return None
        results = answer["batchItemResults"]
        try:
            identifiers = ",".join(map(_identifier, results))
        except (TypeError, KeyError):
            return None
        # Values that look like items are found too: then the two differ, and the line is parsed.
        indexes = _ITEM.findall(line, start, stop)
        if not indexes or len(indexes) != len(results) or b",".join(indexes).decode() != identifiers:
            return None
        # Taking the results out here would cost those most who only count.
        if not all(map(contains, results, repeat("result"))):
            return None
        return list(map(int, indexes)), results, answer.get("batchMeasures")


def quick_output(line: bytes) -> tuple[str | None, int]:
    """Return the output in a record of a child that succeeded, as JSON text, and where it ends.

    Returns:
        None where the line isn't written as expected, or the output has more escapes than those of its quotes: then
        it must be parsed as a whole.
    """
    if not line.startswith(_START):
        return None, 0
    start = line.find(_OUTPUT) + len(_OUTPUT)
    end = line.find(_NEXT, start)
    if start < len(_OUTPUT) or end < 0 or not line.startswith(_AFTER_OUTPUT, end):
        return None, 0
    text = line[start:end].replace(b'\\"', b'"')
    return (None, 0) if b"\\" in text else (text.decode(), end)


def _member(name: str, value: str) -> bytes:
    """Return a member of a run, as it is written in the inputs of its children in a line of a result file."""
    text = f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}"
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()
