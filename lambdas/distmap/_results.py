"""Every result of a map run, streamed from the files that Step Functions exported.

Files are read one after the other and records one by one, so memory depends neither on how many results there are
nor on how large a file is. What is kept is a bit for each index, to drop duplicates (Express children run at least
once), and a bounded number of failures, because another record may still say that the item succeeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from distmap._deadline import Deadline
from distmap._errors import DeadlineError, ResultsError
from distmap._export import Export, File, RunFolder
from distmap._indexes import IndexSet
from distmap._json import encode
from distmap._records import Result, Status, Unsuccessful
from distmap._told import Reader, Told
from distmap.wire import Manifest, ResultsPlace, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_WAITING_BYTES: Final = 8 * 1024**2
"""Failures that wait for the end of the successes. When they are more, the files are read a second time instead."""

_WAITING_OVERHEAD: Final = 600


class Results:
    """Every item's result of one map run, each index once. Iterate over it, as often as you like.

    Results come in no particular order, but for successes, which come first. Of two records about one item, a success
    counts more than a failure or no attempt; of two failures, that of the latest redrive.

    Attributes:
        place: Where the manifest is.
        counts: Results of the last iteration by status.
        duplicates: Results that the last iteration dropped because their index had come before.
    """

    def __init__(
        self,
        s3: S3Client,
        place: ResultsPlace | None,
        *,
        run: Run | None = None,
        captured: int | None = None,
        expected: int | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        """Look at no file yet.

        Args:
            s3: The client to read with.
            place: Where the map's manifest is: the one of the first attempt, or of a redrive. None where no map ran,
                because there was no item: there are no results then.
            run: The run that it is of. By default as the manifest's key tells it.
            captured: How many items the source has; by default any index is taken.
            expected: How many items the map read; by default that isn't known, so that no one can miss any.
            deadline: When reading must stop. By default never.
        """
        self.place = place
        self.duplicates = 0
        self.counts: dict[Status, int] = {"SUCCEEDED": 0, "FAILED": 0, "UNPROCESSED": 0}
        self._countable = True
        self._s3 = s3
        self._run = None if run is None else RunFolder(run["bucket"], run["prefix"], run["path"])
        self._captured = captured
        self._expected = expected
        self._deadline = deadline

    def __iter__(self) -> Iterator[Result]:
        """Yield each item's result.

        Raises:
            ResultsError: A manifest or a file is missing, isn't what Step Functions writes, or is of another run; or
                there are fewer results than the map had items.
            SpillError: A spilled answer is not what its reference says.
            DeadlineError: The deadline came near.
        """
        self.duplicates = 0
        self.counts = {"SUCCEEDED": 0, "FAILED": 0, "UNPROCESSED": 0}
        reader = Reader(self._s3, self.place, run=self._run, captured=self._captured)
        files = reader.files()
        self._countable = True
        answered = [file for file in files if file.kind != "PENDING"]
        seen, revealed = IndexSet(), reader.revealed
        waiting: list[Unsuccessful] | None = []
        waiting_bytes = 0
        # A batch that failed may have items in it that succeeded: those come before any failure, too.
        for file, told in self._read(reader, answered):
            yield from revealed(self._successes(told, file, seen))
            if told.others and waiting is not None:
                waiting += told.others
                waiting_bytes += sum(map(_size, told.others))
                if waiting_bytes > _WAITING_BYTES:
                    waiting = None
        if waiting is not None:
            yield from revealed(self._others(waiting, seen))
        else:
            for _, told in self._read(reader, answered):
                yield from revealed(self._others(told.others, seen))
        for _, told in self._read(reader, [file for file in files if file.kind == "PENDING"]):
            yield from revealed(self._others(told.others, seen))
        self._check_whole()

    def manifests(self) -> list[Manifest]:
        """Return the manifests of the map run, that of the latest redrive first.

        Raises:
            ResultsError: One is missing, or is none of this map run.
        """
        return Export(self._s3, self.place).manifests()

    def _read(self, reader: Reader, files: list[File]) -> Iterator[tuple[File, Told]]:
        for file in files:
            for told in reader.read(file):
                # Of an output without a record nobody knows how many items it answers for.
                self._countable = self._countable and not told.is_plain
                yield file, told
                if self._deadline is not None and self._deadline.is_near():
                    raise self._out_of_time(self._deadline)

    def _successes(self, told: Told, file: File, seen: IndexSet) -> list[Result]:
        """Return the successes whose index is new."""
        fresh = told.fresh_successes(seen)
        self.counts["SUCCEEDED"] += len(fresh)
        if not file.earlier:  # what a redrive tried again has two results by right
            self.duplicates += len(told.indexes) - len(fresh)
        return fresh

    def _others(self, others: Any, seen: IndexSet) -> list[Unsuccessful]:
        fresh = seen.fresh(others)
        self.duplicates += len(others) - len(fresh)
        for result in fresh:
            self.counts[result.status] += 1
        return fresh

    def _check_whole(self) -> None:
        """Raise where items are in no result: when a map has succeeded, there is a record of every child."""
        found = sum(self.counts.values())
        if self._expected is None or self.place is None or not self._countable or found >= self._expected:
            return
        message = (
            f"the map had {self._expected:,} items, and there are results of {found:,}; `distmap ledger` tells which "
            "are missing"
        )
        raise ResultsError(message)

    def _out_of_time(self, deadline: Deadline) -> DeadlineError:
        message = (
            f"the function's deadline came near after {sum(self.counts.values()):,} results: {deadline.at_start:.0f} s "
            f"were left when it started and {deadline.reserve:.0f} s are kept for the answer; raise the function's "
            "timeout or its memory, which brings more CPU"
        )
        return DeadlineError(message)


def _size(result: Unsuccessful) -> int:
    """Return about how much memory a result takes."""
    item = len(encode(result.item, what="item")) if result.has_item else 0
    return _WAITING_OVERHEAD + len(result.cause or "") + 8 * item
