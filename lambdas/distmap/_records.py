"""One record of a result file, and what it says about each item of its child.

What Step Functions writes for a child depends on the transformation: NONE gives a record with the child's input and
output as JSON texts, COMPACT and FLATTEN give outputs only. Children that failed or never ran are always written as
records. See https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain
from typing import Any, Final, Literal, TypeGuard

from distmap._errors import ResultsError
from distmap._json import decode
from distmap.wire import BATCH_FAILED_ERROR, BATCH_INPUT_KEY, ItemFailure, Spilled, WorkerAnswer

Status = Literal["SUCCEEDED", "FAILED", "UNPROCESSED"]

_ANSWER_KEYS: Final = {"batchItemResults", "batchItemFailures", "batchItemsUnprocessed"}
_RECORD_KEYS: Final = {"ExecutionArn", "Name", "Status"}
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError, ResultsError)
"""What it raises to read a record that isn't as Step Functions writes it, or is nested deeper than Python reads."""

_RECORD_START: Final = b'{"ExecutionArn":'
_OUTPUT: Final = b'"Output":"'
_NEXT: Final = b'","'
_AFTER_OUTPUT: Final = b'","OutputDetails":'


class Result:
    """What became of one item.

    Attributes:
        index: The item's position in its source; None where the items came bare, or the export doesn't tell it.
        value: What the item's function returned; None unless it succeeded.
        status: ``"SUCCEEDED"``, ``"FAILED"``, or ``"UNPROCESSED"``: never tried, or left when a deadline came near.
        error: Type of what it raised, or the error of its whole child; None unless it failed.
        cause: The message of that; None unless it failed.
        has_item: Whether ``item`` is known: only where the item didn't succeed, and its child's input was exported.
        item: The item itself.
    """

    # There are millions of successes: their other attributes are the class's, which makes them much cheaper.
    __slots__ = ("index", "value")

    status: Status = "SUCCEEDED"
    error: str | None = None
    cause: str | None = None
    has_item: bool = False
    item: Any = None

    def __init__(self, index: int | None, value: Any) -> None:
        """Note that an item succeeded."""
        self.index = index
        self.value = value

    @property
    def succeeded(self) -> bool:
        """Whether there is a value."""
        return self.status == "SUCCEEDED"

    def __repr__(self) -> str:
        outcome = repr(self.value) if self.succeeded else f"{self.error}: {self.cause}" if self.error else ""
        return f"<Result {self.index} {self.status} {outcome:.80}>"


class Unsuccessful(Result):
    """What became of an item that didn't succeed."""

    __slots__ = ("cause", "error", "has_item", "item", "status")

    def __init__(
        self, index: int | None, status: Status, error: str | None = None, cause: str | None = None, *item: Any
    ) -> None:
        """Note what became of an item; ``item`` is the item itself where it is known."""
        super().__init__(index, None)
        self.status = status
        self.error = error
        self.cause = cause
        self.has_item = bool(item)
        self.item = item[0] if item else None


Told = tuple[list[Result], list[Unsuccessful]]
"""What is told at a time: items that succeeded, and items that did not."""


def is_answer(value: object) -> TypeGuard[WorkerAnswer]:
    """Whether a child's output is the answer of a worker built on this package."""
    return isinstance(value, dict) and value.keys() >= _ANSWER_KEYS


def words(error: Exception) -> str:
    """Return one of :data:`UNREADABLE` in words."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, RecursionError):
        return "it is nested deeper than Python reads"
    text = str(error)
    return text[:1].lower() + text[1:]


def is_record(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value of a result file is a record with a child's input and output, and no bare output."""
    return isinstance(value, dict) and value.keys() >= _RECORD_KEYS


def quick_output(line: bytes) -> str | None:
    """Return the output in a record of a child that succeeded, as JSON text, without parsing the record.

    Most of a record is the input, as JSON in a JSON string, which nobody reads where all went well: decoding it
    costs more than everything else. Inside a JSON string every quote has a backslash, so the bytes looked for here
    can only be where the record's own structure has them.

    Returns:
        None where the line isn't written as expected, or the output has more escapes than those of its quotes: then
        it must be parsed as a whole.
    """
    if not line.startswith(_RECORD_START):
        return None
    start = line.find(_OUTPUT) + len(_OUTPUT)
    end = line.find(_NEXT, start)
    if start < len(_OUTPUT) or end < 0 or not line.startswith(_AFTER_OUTPUT, end):
        return None
    text = line[start:end].replace(b'\\"', b'"')
    return None if b"\\" in text else text.decode()


def items_of_input(text: str | None) -> list[tuple[int | None, Any]]:
    """Return the items that a child got, each with its index where it had one.

    Args:
        text: The child's input as JSON text; None where it was not exported.

    Raises:
        ResultsError: An item has an index that is none.
    """
    return [] if text is None else items_of(decode(text))


def items_of(given: Any) -> list[tuple[int | None, Any]]:
    """Return the same of a child's input that was parsed."""
    if isinstance(given, dict):
        if "Items" in given and given.keys() <= {"BatchInput", "Items"}:
            batch_input = given.get("BatchInput")
            if isinstance(batch_input, dict) and BATCH_INPUT_KEY in batch_input:
                return [(_index_of(item), item["value"]) for item in given["Items"]]
            return [(None, item) for item in given["Items"]]
        if given.keys() == {"index", "value", "run"}:
            return [(_index_of(given), given["value"])]
    return [(None, given)]


def _index_of(envelope: dict[str, Any]) -> int:
    index = envelope["index"]
    if type(index) is not int or index < 0:
        message = f"an item has the index {index!r:.40}, which is no position in a source"
        raise ResultsError(message)
    return index


def of_answer(answer: WorkerAnswer, given: Callable[[], str | None]) -> Told:
    """Return what a worker's answer says about each item.

    Args:
        answer: The answer.
        given: Returns the child's input as JSON text, where it is known: for the items that didn't succeed.
    """
    if "positional" in answer:
        return _of_positional(answer, given)
    succeeded = [Result(int(result["itemIdentifier"]), result["result"]) for result in answer["batchItemResults"]]
    if not answer["batchItemFailures"] and not answer["batchItemsUnprocessed"]:
        return succeeded, []
    known = _items_by_identifier(given())
    failed = [_of_failure(failure, known) for failure in answer["batchItemFailures"]]
    return succeeded, failed + [_of_unprocessed(each, known) for each in answer["batchItemsUnprocessed"]]


def of_members(members: Iterable[tuple[str, Any]], given: Callable[[], str | None]) -> Iterator[Told]:
    """Yield the same as :func:`of_answer`, of an answer too large to be held: its members come one by one.

    Such an answer was spilled, so its items had an index.
    """
    known: dict[str, Any] | None = None
    for key, member in members:
        if key == "batchItemResults":
            yield [Result(int(member["itemIdentifier"]), member["result"])], []
            continue
        if known is None:
            known = _items_by_identifier(given())
        if key == "batchItemFailures":
            yield [], [_of_failure(member, known)]
        elif key == "batchItemsUnprocessed":
            yield [], [_of_unprocessed(member, known)]


def _of_positional(answer: WorkerAnswer, given: Callable[[], str | None]) -> Told:
    """Return the same as :func:`of_answer`, of items that came bare: their identifiers tell nothing beyond it."""
    items = {str(position): item for position, (_, item) in enumerate(items_of_input(given()))}
    told = of_answer({key: value for key, value in answer.items() if key != "positional"}, lambda: None)  # type: ignore[arg-type] # the same without one key
    for result in chain(*told):
        identifier = str(result.index)
        result.index = None
        if isinstance(result, Unsuccessful) and identifier in items:
            result.has_item, result.item = True, items[identifier]
    return told


def _items_by_identifier(given: str | None) -> dict[str, Any]:
    return {str(index): item for index, item in items_of_input(given)}


def _of_failure(failure: ItemFailure, known: dict[str, Any]) -> Unsuccessful:
    identifier = failure["itemIdentifier"]
    item = (known[identifier],) if identifier in known else ()
    return Unsuccessful(int(identifier), "FAILED", failure["error"], failure["cause"], *item)


def _of_unprocessed(identifier: str, known: dict[str, Any]) -> Unsuccessful:
    item = (known[identifier],) if identifier in known else ()
    return Unsuccessful(int(identifier), "UNPROCESSED", None, None, *item)


def of_foreign_output(output: Any, given: str | None) -> Told:
    """Return what the output of a worker that isn't built on this package says about each item.

    Raises:
        ResultsError: It was a batch, and the output doesn't tell its items apart.
    """
    items = items_of_input(given)
    if not _is_batch(given):
        return [Result(items[0][0] if items else None, output)], []
    if not isinstance(output, list) or len(output) != len(items):
        message = (
            f"a child answered {output!r:.100} for a batch of {len(items):,} items, which tells nothing about each; "
            "decorate its worker with @process_items, let it return a list of as many results, or turn batching off"
        )
        raise ResultsError(message)
    return [Result(index, value) for (index, _), value in zip(items, output, strict=True)], []


def _is_batch(given: str | None) -> bool:
    value = None if given is None else decode(given)
    return isinstance(value, dict) and "Items" in value and value.keys() <= {"BatchInput", "Items"}


def of_unsuccessful(record: dict[str, Any], status: Status, told: Container[int | None] = ()) -> Told:
    """Return each item of a child that failed as a whole, or never ran.

    Args:
        record: The child's record.
        status: What became of it.
        told: Indexes of the items for which the worker itself told what became of them.
    """
    error = cause = None
    if status == "FAILED":
        error, cause = record.get("Error") or record.get("Status") or "FAILED", message_of(record.get("Cause"))
    if record.get("Input") is None:
        # The input was too large to be exported: that the child failed is all there is to say.
        return [], [Unsuccessful(None, status, error, cause)]
    items = items_of_input(record.get("Input"))
    return [], [Unsuccessful(index, status, error, cause, item) for index, item in items if index not in told]


def message_of(cause: str | None) -> str:
    """Return the message in a cause: of a Lambda function's error it is one field of a JSON text."""
    if cause is None:
        return ""
    try:
        details = decode(cause)
    except ValueError:
        return cause
    if isinstance(details, dict) and isinstance(details.get("errorMessage"), str):
        message: str = details["errorMessage"]
        return message
    return cause


def failed_batch(record: dict[str, Any]) -> WorkerAnswer | Spilled | None:
    """Return what each item of a failed child met, where its worker told it: see ``wire.BatchFailure``."""
    if record.get("Error") != BATCH_FAILED_ERROR:
        return None
    try:
        failure = decode(message_of(record.get("Cause")))
    except ValueError:
        return None
    batch: WorkerAnswer | Spilled | None = failure.get("batch") if isinstance(failure, dict) else None
    return batch
