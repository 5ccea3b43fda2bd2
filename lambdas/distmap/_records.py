"""One record of a result file, taken apart: its run, its child's input, and the child's answer.

What Step Functions writes for a child depends on the transformation: NONE gives a record with the child's input and
output as JSON texts, COMPACT and FLATTEN give outputs only. Children that failed or never ran are always written as
records. See https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeGuard

from distmap._errors import ResultsError
from distmap._events import is_envelope
from distmap._identity import ItemNumbers, identity_of
from distmap._json import decode
from distmap._places import place_in, traceback_in
from distmap.wire import BATCH_FAILED_ERROR, BATCH_INPUT_KEY, PERMANENT_ERROR, Spilled, WorkerAnswer

Status = Literal["SUCCEEDED", "FAILED", "UNPROCESSED"]
Outcome = Literal["FAILED", "TIMED_OUT", "UNPROCESSED", "PENDING"]

_ANSWER_KEYS: Final = {"batchItemResults", "batchItemFailures", "batchItemsUnprocessed"}
_RECORD_KEYS: Final = {"ExecutionArn", "Name", "Status"}
_STATUSES: Final[dict[Outcome, Status]] = {
    "FAILED": "FAILED",
    "TIMED_OUT": "FAILED",
    "UNPROCESSED": "UNPROCESSED",
    "PENDING": "UNPROCESSED",
}
UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError, ResultsError)
"""What reading a record raises that Step Functions didn't write, or that is nested deeper than Python reads."""


class Where(NamedTuple):
    """Where an item failed, as far as that is known."""

    place: str | None = None
    traceback: str | None = None
    output: str | None = None

    @classmethod
    def of(cls, failure: Mapping[str, Any]) -> Where:
        """Return what the answer of a worker, or a line of ``failures.jsonl``, says of a failure."""
        found = map(failure.get, cls._fields)
        return cls(*(text if isinstance(text, str) else None for text in found))

    def members(self) -> dict[str, str]:
        """Return what of it is known, as the members of a :class:`distmap.wire.FailedItem`."""
        return {name: text for name, text in zip(self._fields, self, strict=True) if text is not None}


_NOWHERE: Final = Where()


class Result:
    """What became of one item.

    .. versionadded:: 0.1.0

    Attributes:
        index: The item's position in its source; None for an unidentified item.
        source: The file it was read from, ``s3://bucket/key``, where the map read several; else None.
        value: What the item's function returned; None unless it succeeded.
        status: ``"SUCCEEDED"``, ``"FAILED"``, or ``"UNPROCESSED"``: never tried, or left when a deadline came near.
        error: Type of what it raised, or the error of its whole child; None unless it failed.
        cause: The message of that; None unless it failed.
        place: Where in the user's code it failed, such as ``handler.py:14 in enrich``; None where that isn't known.
        traceback: Of one item of each kind of failures; else None.
        output: The end of what it printed and logged, where its worker keeps that; else None.
        has_item: Whether ``item`` is known: only where the item didn't succeed, and its child's input was exported.
        item: The item itself.
    """

    # There are millions of successes: their other attributes are the class's, which makes them much cheaper.
    __slots__ = ("index", "value")

    source: str | None = None
    status: Status = "SUCCEEDED"
    error: str | None = None
    cause: str | None = None
    place: str | None = None
    traceback: str | None = None
    output: str | None = None
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


class OfFile(Result):
    """What became of an item that succeeded, of one of several files."""

    __slots__ = ("source",)

    def __init__(self, index: int, source: str, value: Any) -> None:
        """Note that it succeeded."""
        super().__init__(index, value)
        self.source = source


class Unsuccessful(Result):
    """What became of an item that didn't succeed.

    Attributes:
        outcome: The status more closely: ``"TIMED_OUT"`` where its child did, ``"PENDING"`` where that never ran.
        child: ARN of its child; None where that never ran.
        permanent: Whether its worker says that trying again is pointless.
    """

    __slots__ = (
        *("cause", "child", "error", "has_item", "item", "outcome", "output", "permanent", "place", "source", "status"),
        "traceback",
    )

    def __init__(
        self,
        index: int | None,
        outcome: Outcome,
        error: str | None = None,
        cause: str | None = None,
        *item: Any,
        child: str | None = None,
        permanent: bool = False,
        where: Where = _NOWHERE,
    ) -> None:
        """Note what became of an item; ``item`` is the item itself where it is known."""
        super().__init__(index, None)
        self.source = None
        self.outcome = outcome
        self.status = _STATUSES[outcome]
        self.error = error
        self.cause = cause
        self.has_item = bool(item)
        self.item = item[0] if item else None
        self.child = child
        self.permanent = permanent or error == PERMANENT_ERROR
        self.place, self.traceback, self.output = where


class Child:
    """One child of a map run, as its record describes it.

    Attributes:
        record: The whole record; None where only its output was exported.
        output: What it returned; None unless it succeeded.
    """

    __slots__ = ("_input", "_numbers", "_parsed", "output", "record")

    def __init__(self, record: dict[str, Any] | None, output: Any = None, *, numbers: ItemNumbers) -> None:
        """Take what was exported of a child; ``numbers`` are those of the items of several files."""
        self._numbers = numbers
        self.record = record
        self.output = output
        self._input: Any = None
        self._parsed = False

    @property
    def arn(self) -> str | None:
        """Its ARN; None where it never ran or only its output was exported."""
        return None if self.record is None else self.record.get("ExecutionArn")

    @property
    def error(self) -> str:
        """Its error. AWS gives none for a child that was aborted: then its status, which is the reason."""
        record = self.record or {}
        status = str(record.get("Status", "FAILED"))
        return str(record.get("Error") or ("States.Timeout" if status == "TIMED_OUT" else status))

    @property
    def cause(self) -> str:
        """The message of its error."""
        return message_of((self.record or {}).get("Cause"))

    @property
    def where(self) -> Where:
        """Where its function raised what it failed with, as Lambda's Python runtime says it."""
        cause = (self.record or {}).get("Cause")
        try:
            details = None if cause is None else _details(cause)
        except ValueError:
            return _NOWHERE
        stack = None if details is None else details.get("stackTrace")
        return Where(place_in(stack), traceback_in(stack)) if stack else _NOWHERE

    @property
    def has_input(self) -> bool:
        """Whether its input was exported."""
        return self.record is not None and self.record.get("Input") is not None

    @property
    def input(self) -> Any:
        """Its input, parsed; None where that wasn't exported."""
        if not self._parsed:
            self._input = decode(self.record["Input"]) if self.record is not None and self.has_input else None
            self._parsed = True
        return self._input

    def items(self) -> list[tuple[int | None, Any]]:
        """Return the items it got, each with its index or number where it had one. Without its input there are none.

        Raises:
            ResultsError: An item has an index that isn't valid.
        """
        return items_of(self.input, self._numbers) if self.has_input else []

    def identities(self) -> list[tuple[int | None, str | None]]:
        """Return index and file of each of them."""
        return [(None, None) if number is None else self._numbers.identity(number) for number, _ in self.items()]

    @property
    def is_batch(self) -> bool:
        """Whether its input is known to be a batch."""
        return isinstance(self.input, dict) and "Items" in self.input and self.input.keys() <= {"BatchInput", "Items"}

    def run(self) -> dict[str, Any] | None:
        """Return the run that its input names; None where it names none."""
        if not isinstance(self.input, dict):
            return None
        batch_input = self.input.get("BatchInput")
        context = batch_input.get(BATCH_INPUT_KEY) if isinstance(batch_input, dict) else None
        run = context.get("run") if isinstance(context, dict) else None
        if run is None and is_envelope(self.input):
            run = self.input["run"]
        return run if isinstance(run, dict) and isinstance(run.get("prefix"), str) else None


def is_answer(value: object) -> TypeGuard[WorkerAnswer]:
    """Whether a child's output is the answer of a worker built on this package."""
    return isinstance(value, dict) and value.keys() >= _ANSWER_KEYS


def is_record(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value of a result file is a record with a child's input and output, and not an output alone."""
    return isinstance(value, dict) and value.keys() >= _RECORD_KEYS


def error_message(error: Exception) -> str:
    """Return what is wrong with a record, as one of :data:`UNREADABLE` says it."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, RecursionError):
        return "it is nested deeper than Python reads"
    text = str(error)
    return text[:1].lower() + text[1:]


def items_of(child_input: Any, numbers: ItemNumbers) -> list[tuple[int | None, Any]]:
    """Return the items in a child's input, each with its index where it had one.

    Raises:
        ResultsError: An item has an index that isn't valid.
    """
    if isinstance(child_input, dict):
        if "Items" in child_input and child_input.keys() <= {"BatchInput", "Items"}:
            batch_input = child_input.get("BatchInput")
            if isinstance(batch_input, dict) and BATCH_INPUT_KEY in batch_input:
                return [(numbers.number(*identity_of(item)), item["value"]) for item in child_input["Items"]]
            return [(None, item) for item in child_input["Items"]]
        if is_envelope(child_input):
            return [(numbers.number(*identity_of(child_input)), child_input["value"])]
    return [(None, child_input)]


def message_of(cause: str | None) -> str:
    """Return the message in a cause: of a Lambda function's error it is one field of a JSON text."""
    if cause is None:
        return ""
    try:
        details = _details(cause)
    except ValueError:
        return cause
    return cause if details is None else str(details["errorMessage"])


def _details(cause: Any) -> dict[str, Any] | None:
    """Return the fields of a Lambda function's error; None where a cause has none, as JSON.

    Raises:
        ValueError: It is no JSON.
    """
    details = decode(cause)
    return details if isinstance(details, dict) and isinstance(details.get("errorMessage"), str) else None


def failed_batch(record: dict[str, Any]) -> WorkerAnswer | Spilled | None:
    """Return the outcome of each item of a failed child, where its worker gave it: see ``wire.BatchFailure``."""
    if record.get("Error") != BATCH_FAILED_ERROR:
        return None
    try:
        failure = decode(message_of(record.get("Cause")))
    except ValueError:
        return None
    batch: WorkerAnswer | Spilled | None = failure.get("batch") if isinstance(failure, dict) else None
    return batch


def with_identities(results: Sequence[Result], numbers: ItemNumbers) -> Iterable[Result]:
    """Return results with the items' own indexes and files in place of numbers."""
    return (with_identity(result, numbers) for result in results) if numbers else results


def with_identity(result: Result, numbers: ItemNumbers) -> Result:
    """Return a result with its item's own index and file in place of a number."""
    if result.index is None:
        return result
    index, source = numbers.identity(result.index)
    if source is None:
        return result
    if not isinstance(result, Unsuccessful):
        return OfFile(index, source, result.value)
    result.index, result.source = index, source
    return result
