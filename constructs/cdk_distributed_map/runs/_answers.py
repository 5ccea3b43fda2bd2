"""What the answer of a child says of each item, and whether those are the items that it got.

Most children answer for all of their items, and all of them succeeded. That is seen without parsing the input, which
is most of a record: the indexes are picked out of its text. Everything else is parsed and looked at closely.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from distmap._json import decode
from distmap._records import is_answer, quick_output
from distmap.wire import WorkerAnswer

Outcome = Literal["SUCCEEDED", "FAILED", "UNPROCESSED"]

LEFT: Final = "the function's deadline came near"
"""Why an item was left unprocessed."""

_INPUT: Final = b'"Input":"'
_END: Final = b'","'
_ITEM: Final = re.compile(rb'\{\\"index\\":(\d+),\\"value\\":')


@dataclass(frozen=True, slots=True)
class Entry:
    """What an answer says of one item."""

    identifier: int
    """The item's index, or its position in the batch where the answer is positional."""
    outcome: Outcome
    error: str = ""
    cause: str = ""


def entries(answer: WorkerAnswer) -> list[Entry]:
    """Return what an answer says, item by item.

    Raises:
        ValueError: It isn't as the runtime writes it.
        KeyError: Likewise.
        TypeError: Likewise.
    """
    found = [Entry(_identifier(each["itemIdentifier"]), "SUCCEEDED") for each in _dicts(answer, "batchItemResults")]
    for each in _dicts(answer, "batchItemFailures"):
        error, cause = each["error"], each["cause"]
        found.append(Entry(_identifier(each["itemIdentifier"]), "FAILED", str(error), str(cause)))
    return found + [
        Entry(_identifier(each), "UNPROCESSED", "Unprocessed", LEFT) for each in _list(answer, "batchItemsUnprocessed")
    ]


def _list(answer: Any, name: str) -> list[Any]:
    found = answer[name]
    if not isinstance(found, list):
        raise TypeError(f"{name} of an answer is {found!r:.40}, which is no list")
    return found


def _dicts(answer: Any, name: str) -> list[dict[str, Any]]:
    found = _list(answer, name)
    for each in found:
        if not isinstance(each, dict):
            raise TypeError(f"{name} of an answer has {each!r:.40} in it, which is no object")
    return found


def _identifier(given: object) -> int:
    if type(given) is int and given >= 0:
        return given
    if isinstance(given, str) and given.isascii() and given.isdecimal():
        return int(given)
    raise ValueError(f"an answer has the itemIdentifier {given!r:.40}, which is the index of no item")


def quick_answer(value: bytes | Any) -> WorkerAnswer | None:
    """Return a successful child's answer without reading its input; None where it takes a longer look."""
    if not isinstance(value, bytes):
        return None
    text = quick_output(value)
    if text is None:
        return None
    output = decode(text)
    return output if is_answer(output) else None


def quick_successes(value: bytes | Any, marker: bytes) -> list[int] | None:
    """Return the indexes of the items of a child that answered for all of them, and that all of them succeeded.

    Args:
        value: A line of a file of children that succeeded.
        marker: What is in the input of every child of the run.

    Returns:
        None where that isn't so, or can't be told without parsing the input.
    """
    answer = quick_answer(value)
    if answer is None or answer["batchItemFailures"] or answer["batchItemsUnprocessed"] or "positional" in answer:
        return None
    start = value.find(_INPUT)
    end = value.find(_END, start)
    if start < 0 or value.find(marker, start, end) < 0:
        return None
    try:
        identifiers = ",".join([each["itemIdentifier"] for each in answer["batchItemResults"]])
    except (TypeError, KeyError):
        return None
    # Values that look like items are found too: then the two differ, and a longer look is taken.
    given = _ITEM.findall(value, start, end)
    if not given or len(given) != len(answer["batchItemResults"]):
        return None
    return list(map(int, given)) if b",".join(given).decode() == identifiers else None


def marker(prefix: str) -> bytes:
    """Return what is in the inputs of all children of a run, as it is written in a line of a result file."""
    return json.dumps(f'"prefix":{json.dumps(prefix, ensure_ascii=False)}', ensure_ascii=False)[1:-1].encode()
