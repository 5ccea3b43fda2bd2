"""``failures.jsonl``: every item that did not succeed, one a line, as it ended in the last round that had it.

Items of nested maps are among them, each with its map and its path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from distmap import _item_states as item_states
from distmap._account_reading import Reading, Step
from distmap._deadline import Deadline
from distmap._envelopes import envelopes, is_json_lines
from distmap._errors import ResultsError
from distmap._export import File, round_folder
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._item_states import ItemStates
from distmap._json import encode
from distmap._nested_reading import NestedReading
from distmap._noting import UNTRIED
from distmap._outcomes import Reader
from distmap._records import UNREADABLE, Unsuccessful, Where
from distmap._stream import is_missing, lines, object_chunks
from distmap._upload import ReportUpload
from distmap.wire import FAILURES_FILE, ITEMS_FILE, FailedItem, ItemFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MOST_BYTES: Final = 32 * 1024**3
"""An upload has 10,000 parts at most: beyond this, the items themselves are left out."""

_OUTCOMES: Final = {
    item_states.MISSING: "MISSING",
    item_states.UNPROCESSED: "UNPROCESSED",
    item_states.PENDING: "PENDING",
}
_REST: Final = "rest"
_NESTED: Final = "nested"


class _Lines:
    """Makes the lines of one map: each item once, and only as the account has it.

    Args:
        states: What became of the items.
        numbers: Those of the items of several files.
        place: What each line says of where its map is; nothing for the outermost.
    """

    def __init__(self, states: ItemStates, numbers: ItemNumbers, place: dict[str, str]) -> None:
        self._states, self._numbers, self._place = states, numbers, place
        self.written = IndexSet()

    def of_records(self, reader: Reader, file: File, attempt: int) -> Iterator[FailedItem]:
        """Yield what the records of a file tell."""
        for outcomes in reader.read(file):
            for other in outcomes.others:
                if self._counts(other):
                    yield self._item(
                        other.index,
                        other.outcome,
                        attempt,
                        other.item,
                        error=other.error,
                        cause=other.cause,
                        child=other.child,
                        where=Where(other.place, other.traceback, other.output),
                    )

    def _counts(self, other: Unsuccessful) -> bool:
        """Tell whether the account of an item is what a record says of it."""
        if other.index is None:
            return True
        state = UNTRIED.get(other.outcome)
        if state is None:
            timed_out = other.outcome == "TIMED_OUT"
            agrees = self._states.is_counted_as(
                other.index, other.error or "", timed_out=timed_out, permanent=other.permanent
            )
        else:
            agrees = self._states.state(other.index) == state
        return agrees and self.written.add(other.index)

    def rest(self) -> Iterator[FailedItem]:
        """Yield the items of which no record says anything."""
        for number in self._states.unsuccessful():
            if self.is_left(number):
                yield self.without_record(number, 0, None)

    def is_left(self, number: int) -> bool:
        """Tell whether an item is to be told of, and was not."""
        state = self._states.state(number)
        # Of results without an index nobody knows which items they are of, so that what is missing isn't known.
        if state in {item_states.SUCCEEDED, item_states.ABSENT} or (
            state == item_states.MISSING and self._states.unidentified
        ):
            return False
        return self.written.add(number)

    def without_record(self, number: int, attempt: int, value: Any) -> FailedItem:
        """Return the line of an item that no record tells of."""
        state = self._states.state(number)
        error, timed_out, _ = self._states.codes().get(state, (None, False, False))
        outcome = _OUTCOMES.get(state, "TIMED_OUT" if timed_out else "FAILED")
        return self._item(number, outcome, attempt, value, error=error)

    def _item(
        self,
        number: int | None,
        outcome: Any,
        attempt: int,
        value: Any,
        *,
        error: str | None = None,
        cause: str | None = None,
        child: str | None = None,
        where: Where | None = None,
    ) -> FailedItem:
        index, source = (None, None) if number is None else self._numbers.identity(number)
        failed_item: FailedItem = {
            "index": index,
            "outcome": outcome,
            "error": error,
            "cause": cause,
            "child": child,
            "attempt": attempt,
            "item": value,
        }
        if source is not None:
            failed_item["source"] = source
        if where is not None:
            failed_item.update(where.members())  # type: ignore[typeddict-item] # its names are those of the members
        return {**failed_item, **self._place}  # type: ignore[typeddict-item]  # members of it


class FailuresFile:
    """The file on its way to S3: it is complete, or not there.

    The newest round is read first, and each item has the first record that agrees with the account.
    What no record tells of comes after them: missing and pending items, with their values where a file has them. The
    items of nested maps come last.
    """

    def __init__(self, s3: S3Client, reading: Reading, *, nested: NestedReading | None) -> None:
        """Look at nothing yet.

        Args:
            s3: The client to read with.
            reading: What was read.
            nested: Reads the nested maps in which items did not succeed; None where there are none.
        """
        self._s3 = s3
        self._nested = nested
        self._reading = reading
        self._made = _Lines(reading.states, reading.numbers, {})
        self._at = 0
        self.key = f"{reading.run.prefix}/{FAILURES_FILE}"
        self._upload = self._new_upload()

    def _new_upload(self, resume: Any = None) -> ReportUpload:
        return ReportUpload(bucket=self._reading.run.bucket, key=self.key, resume=resume)

    def go_on(self, deadline: Deadline) -> bool:
        """Write until everything is written, or the deadline comes near; return whether everything is."""
        sources = self._sources()
        try:
            while self._at < len(sources):
                for failed in self._items(sources[self._at]):
                    if failed is None:
                        if deadline.is_near():
                            return False
                        continue
                    if self._upload.bytes > _MOST_BYTES:
                        failed["item"] = None
                    self._upload.add(encode(failed, what="a failed item") + b"\n", 1)
                self._at += 1
                if deadline.is_near() and self._at < len(sources):
                    return False
        except BaseException:
            self._upload.abandon()
            raise
        return True

    def complete(self) -> int:
        """Make the file readable, and return how many lines it has."""
        return self._upload.complete()["count"]

    def _sources(self) -> list[Step | int | ItemFile | str]:
        """Return where to look, in this order: numbers are those of rounds."""
        reading = self._reading
        by_round = sorted(reading.others, key=lambda step: (-step.round, step.source, step.file))
        found: list[Step | int | ItemFile | str] = [*by_round, *(each.number for each in reversed(reading.plan[1:]))]
        if reading.origin is not None and is_json_lines(reading.origin):
            found.append(reading.origin)
        return [*found, _REST, *([] if self._nested is None else [_NESTED])]

    def _items(self, source: Step | int | ItemFile | str) -> Iterator[FailedItem | None]:
        """Yield the lines of a source, and None where it can be left there."""
        if isinstance(source, Step):
            attempt = self._reading.plan[source.round].number
            return self._made.of_records(self._reading.quiet_reader(source), self._reading.file(source), attempt)
        if isinstance(source, int):
            folder = round_folder(self._reading.run.prefix, source)
            return self._of_envelopes(self._reading.run.bucket, f"{folder}{ITEMS_FILE}", source)
        if isinstance(source, str):
            return self._made.rest() if source == _REST else self._of_nested()
        if source.get("enveloped") is True:
            return self._of_envelopes(source["bucket"], source["key"], 0)
        return self._of_file(source)

    def _of_envelopes(self, bucket: str, key: str, attempt: int) -> Iterator[FailedItem]:
        numbers = self._reading.numbers
        for envelope in envelopes(self._s3, bucket, key, None):
            number = numbers.number(envelope["index"], envelope.get("source"))
            if self._made.is_left(number):
                yield self._made.without_record(number, attempt, envelope["value"])

    def _of_file(self, file: ItemFile) -> Iterator[FailedItem]:
        try:
            for index, line in enumerate(lines(object_chunks(self._s3, file["bucket"], file["key"]))):
                if self._made.is_left(index):
                    yield self._made.without_record(index, 0, json.loads(line))
        except UNREADABLE:
            return  # what the map read there then isn't what is there now
        except Exception as error:
            if not is_missing(error):
                raise

    def _of_nested(self) -> Iterator[FailedItem | None]:
        """Yield the items of nested maps, map by map."""
        assert self._nested is not None  # noqa: S101 - or it would be no source
        for found in self._nested.map_runs(self._reading.states):
            if found is None:
                yield None
                continue
            made = _Lines(found.states, found.numbers, {"map": found.label, "path": found.path.removeprefix("/")})
            if next(iter(found.states.unsuccessful()), None) is None and not found.states.unidentified:
                continue
            for reader in found.readers:
                with suppress(ResultsError):  # the account has reported it
                    for file in reader.files():
                        yield from made.of_records(reader, file, 0)
            yield from made.rest()

    def suspend(self) -> tuple[dict[str, Any], bytes]:
        """Leave it for another invocation: what that one needs, and what was written as bits."""
        nested = None if self._nested is None else self._nested.suspend()
        return {"at": self._at, "upload": self._upload.suspend(), "nested": nested}, bytes(self._made.written)

    def resume(self, left: dict[str, Any], written: bytes) -> None:
        """Take up what :meth:`suspend` returned."""
        self._at, self._upload = left["at"], self._new_upload(left["upload"])
        self._made.written = IndexSet.of(written)
        if self._nested is not None:
            self._nested.resume(left["nested"])
