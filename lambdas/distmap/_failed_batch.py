"""What a batch says that failed as a whole: the message of its error, which has what each item met."""

from __future__ import annotations

from json import dumps

from distmap._batch import without_details
from distmap._events import Work
from distmap._json import encode
from distmap._spill import spill
from distmap.limits import FAILURE_MESSAGE_CHARACTERS
from distmap.wire import BatchFailure, Spilled, WorkerAnswer


def spill_name(work: Work) -> str:
    """Return what names a batch to people: its first and its last index."""
    if work.indexes is None:
        return f"unidentified-{len(work.values)}"
    return f"{work.indexes[0]}-{work.indexes[-1]}" if len(work.indexes) > 1 else str(work.indexes[0])


def failure_message(work: Work, answer: WorkerAnswer) -> str:
    """Return the message of a failed batch: JSON text of the shape ``BatchFailure``.

    Step Functions cuts a cause that is too long, and Lambda escapes the message once more on its way there, so the
    escaped text is what counts.
    """
    failures = answer["batchItemFailures"]
    first = failures[0]
    place = f" at {first['place']}" if "place" in first else ""
    summary = (
        f"{len(failures)} of {len(work.values)} items failed, the first with {first['error']}{place}: "
        f"{first['cause']:.500}"
    )
    text = _failure_text(summary, answer)
    if len(dumps(text)) <= FAILURE_MESSAGE_CHARACTERS:
        return text
    if work.run is None:
        without_details(failures)
        text = _failure_text(summary, answer)
        return text if len(dumps(text)) <= FAILURE_MESSAGE_CHARACTERS else _failure_text(summary, None)
    body = encode(answer, what="the answer of the batch")
    return _failure_text(summary, spill(body, run=work.run, name=spill_name(work)))


def _failure_text(message: str, batch: WorkerAnswer | Spilled | None) -> str:
    failure: BatchFailure = {"message": message, "batch": batch}
    return encode(failure, what="the failure of the batch").decode()
