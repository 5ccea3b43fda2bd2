"""One record of a result file, taken apart: whose it is, what its child got, and what it answered.

What Step Functions writes for a child depends on the transformation: NONE gives a record with the child's input and
output as JSON texts, COMPACT and FLATTEN give outputs only. Children that failed or never ran are always written as
records. See https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeGuard

from distmap._errors import ResultsError
from distmap._events import is_envelope
from distmap._identity import ItemNumbers, identity_of
from distmap._json import decode
from distmap.wire import BATCH_FAILED_ERROR, BATCH_INPUT_KEY, Spilled, WorkerAnswer

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
"""What it raises to read a record that isn't as Step Functions writes it, or is nested deeper than Python reads."""


class Result:
    """What became of one item.

    Attributes:
        index: The item's position in its source; None where the items came bare, or the export doesn't tell it.
        source: The file it was read from, ``s3://bucket/key``, where the map read several; else None.
        value: What the item's function returned; None unless it succeeded.
        status: ``"SUCCEEDED"``, ``"FAILED"``, or ``"UNPROCESSED"``: never tried, or left when a deadline came near.
        error: Type of what it raised, or the error of its whole child; None unless it failed.
        cause: The message of that; None unless it failed.
        has_item: Whether ``item`` is known: only where the item didn't succeed, and its child's input was exported.
        item: The item itself.
    """

    # There are millions of successes: their other attributes are the class's, which makes them much cheaper.
    __slots__ = ("index", "value")

    source: str | None = None
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
    """

    __slots__ = ("cause", "child", "error", "has_item", "item", "outcome", "source", "status")

    def __init__(
        self,
        index: int | None,
        outcome: Outcome,
        error: str | None = None,
        cause: str | None = None,
        *item: Any,
        child: str | None = None,
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


class Child:
    """One child of a map run, as its record tells it.

    Attributes:
        record: The whole record; None where only its output was exported.
        output: What it returned; None unless it succeeded.
    """

    __slots__ = ("_given", "_numbers", "_parsed", "output", "record")

    def __init__(self, record: dict[str, Any] | None, output: Any = None, *, numbers: ItemNumbers) -> None:
        """Take what was exported of a child; ``numbers`` are those of the items of several files."""
        self._numbers = numbers
        self.record = record
        self.output = output
        self._given: Any = None
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
    def has_input(self) -> bool:
        """Whether what it got was exported."""
        return self.record is not None and self.record.get("Input") is not None

    @property
    def given(self) -> Any:
        """What it got, parsed; None where that wasn't exported."""
        if not self._parsed:
            self._given = decode(self.record["Input"]) if self.record is not None and self.has_input else None
            self._parsed = True
        return self._given

    def inputs(self) -> list[tuple[int | None, Any]]:
        """Return the items it got, each with its index or number where it had one; none without its input.

        Raises:
            ResultsError: An item has an index that is none.
        """
        return items_of(self.given, self._numbers) if self.has_input else []

    def identities(self) -> list[tuple[int | None, str | None]]:
        """Return index and file of each of them."""
        return [(None, None) if number is None else self._numbers.identity(number) for number, _ in self.inputs()]

    @property
    def is_batch(self) -> bool:
        """Whether what it got is known to be a batch."""
        return isinstance(self.given, dict) and "Items" in self.given and self.given.keys() <= {"BatchInput", "Items"}

    def run(self) -> dict[str, Any] | None:
        """Return the run it was told it belongs to; None where it was told of none."""
        given = self.given
        if not isinstance(given, dict):
            return None
        batch_input = given.get("BatchInput")
        ours = batch_input.get(BATCH_INPUT_KEY) if isinstance(batch_input, dict) else None
        told = ours.get("run") if isinstance(ours, dict) else None
        if told is None and is_envelope(given):
            told = given["run"]
        return told if isinstance(told, dict) and isinstance(told.get("prefix"), str) else None


def is_answer(value: object) -> TypeGuard[WorkerAnswer]:
    """Whether a child's output is the answer of a worker built on this package."""
    return isinstance(value, dict) and value.keys() >= _ANSWER_KEYS


def is_record(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value of a result file is a record with a child's input and output, and no bare output."""
    return isinstance(value, dict) and value.keys() >= _RECORD_KEYS


def words(error: Exception) -> str:
    """Return one of :data:`UNREADABLE` in words."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, RecursionError):
        return "it is nested deeper than Python reads"
    text = str(error)
    return text[:1].lower() + text[1:]


def items_of(given: Any, numbers: ItemNumbers) -> list[tuple[int | None, Any]]:
    """Return the items in a child's input, each with its index where it had one.

    Raises:
        ResultsError: An item has an index that is none.
    """
    if isinstance(given, dict):
        if "Items" in given and given.keys() <= {"BatchInput", "Items"}:
            batch_input = given.get("BatchInput")
            if isinstance(batch_input, dict) and BATCH_INPUT_KEY in batch_input:
                return [(numbers.number(*identity_of(item)), item["value"]) for item in given["Items"]]
            return [(None, item) for item in given["Items"]]
        if is_envelope(given):
            return [(numbers.number(*identity_of(given)), given["value"])]
    return [(None, given)]


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
