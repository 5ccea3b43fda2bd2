"""Every result of a map run, streamed from the files that Step Functions exported.

Files are read one after the other and records one by one, so memory depends neither on how many results there are
nor on how large a file is. What is kept is a bit for each index, to drop duplicates (Express children run at least
once), and a bounded number of failures, because another record may still say that the item succeeded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from distmap._chain import Chain
from distmap._deadline import Deadline
from distmap._envelopes import envelopes
from distmap._errors import DeadlineError, ResultsError
from distmap._export import (
    Export,
    File,
    RunFolder,
    folder_of,
    manifests_below,
    results_folder,
    round_folder,
    rounds_begun,
)
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._item_outcomes import ItemOutcomes
from distmap._json import encode
from distmap._outcomes import Reader
from distmap._records import Result, Status, Unsuccessful, with_identities
from distmap.wire import ITEMS_FILE, Manifest, ResultsPlace, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WAITING_BYTES: Final = 8 * 1024**2
"""Failures that wait for the end of the successes. When they are more, the files are read a second time instead."""

_WAITING_OVERHEAD: Final = 600


class Results:
    """Every item's result of a run, each index once. Iterate over it, as often as you like.

    Results come in no particular order, but for successes, which come first. Of two records about one item, a success
    counts more than a failure or no attempt, in whatever round it came; otherwise the last round that the item was in
    says what it met, and in a round the latest redrive.

    .. versionadded:: 0.1.0

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
        rounds: int | None = None,
        accounted: bool = False,
        chain: Chain | None = None,
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
            rounds: How many rounds there were after the map of the source. By default as many as left files.
            accounted: Whether the run's account has found a result of every item: then the files of the items of
                rounds needn't be looked at.
            chain: The runs before it, where it is a retry: their results count, too. By default its own alone.
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
        self._rounds = rounds
        self._accounted = accounted
        self._chain = chain

    def __repr__(self) -> str:
        where = "of no map" if self.place is None else f"in s3://{self.place['bucket']}/{self.place['key']}"
        return f"<Results {where}>"

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
        self._countable = True
        seen, numbers = IndexSet(), ItemNumbers()
        rounds = self._parts(numbers)
        waiting: list[list[Unsuccessful]] | None = [[] for _ in rounds]
        waiting_bytes = 0
        # A batch that failed may have items in it that succeeded: those come before any failure, too.
        latest: Reader | None = None
        before: IndexSet | None = None
        for at, part in enumerate(rounds):
            for reader, file, outcomes in self._read(part, pending=False):
                if reader is not latest:
                    before, latest = None if latest is None else IndexSet.of(bytes(seen)), reader
                yield from with_identities(self._successes(outcomes, file, seen, before), numbers)
                if outcomes.others and waiting is not None and not part.successes_only:
                    waiting[at] += outcomes.others
                    waiting_bytes += sum(map(_size, outcomes.others))
                    if waiting_bytes > WAITING_BYTES:
                        waiting = None
        for at, part in enumerate(rounds):
            if part.successes_only:
                continue
            if waiting is not None:
                yield from with_identities(self._others(waiting[at], seen, once=len(rounds) == 1), numbers)
            else:
                for _, _, outcomes in self._read(part, pending=False):
                    yield from with_identities(self._others(outcomes.others, seen, once=len(rounds) == 1), numbers)
            for _, _, outcomes in self._read(part, pending=True):
                yield from with_identities(self._others(outcomes.others, seen, once=len(rounds) == 1), numbers)
            for index in part.items(self._s3, numbers):
                seen.add(index)  # what its own round doesn't tell of it, no earlier one can
        self._check_whole()

    def manifests(self) -> list[Manifest]:
        """Return the manifests of the map run, that of the latest redrive first.

        Raises:
            ResultsError: One is missing, or is none of this map run.
        """
        return Export(self._s3, self.place).manifests()

    def _parts(self, numbers: ItemNumbers) -> list[_Round]:
        """Return the rounds, the latest first, and at last the map of the source."""
        place, whose = self.place, None if self.place is None else folder_of(self.place)
        found: list[int] = []
        if place is not None and whose is not None and not whose.path and not whose.round:
            some = self._rounds
            found = rounds_begun(self._s3, place["bucket"], whose.prefix) if some is None else list(range(1, some + 1))
        own = None
        if self._chain is not None and self._chain.items is not None and self._run is not None:
            own = (self._run.bucket, self._chain.items)
        parts = [_Round([self._reader(place, numbers, tried_again=bool(found))], own)]
        for number in found:
            assert place is not None  # noqa: S101 - or there would be no rounds
            assert whose is not None  # noqa: S101 - likewise
            places = manifests_below(self._s3, place["bucket"], results_folder(whose.prefix, number))
            if not places:
                message = f"the results of round {number} are not in s3://{place['bucket']}/{whose.prefix}"
                raise ResultsError(message)
            readers = [self._reader(each, numbers, tried_again=number < found[-1]) for each in places]
            payload = place["bucket"] if self._run is None else self._run.bucket
            key = f"{round_folder(whose.prefix, number)}{ITEMS_FILE}"
            parts.insert(0, _Round(readers, None if self._accounted else (payload, key)))
        return [*parts, *self._earlier_parts(numbers)]

    def _earlier_parts(self, numbers: ItemNumbers) -> Iterator[_Round]:
        """Yield the rounds of the runs that this one goes on with, the latest first."""
        if self._chain is None or self._run is None or self.place is None:
            return
        payload, results = self._run.bucket, self.place["bucket"]
        for each in self._chain.earlier:
            whose = RunFolder(payload, each.prefix)
            for number in [*reversed(rounds_begun(self._s3, results, each.prefix)), 0]:
                places = manifests_below(self._s3, results, results_folder(each.prefix, number))
                how: Any = {"run": whose, "numbers": numbers, "tried_again": True}
                readers = [Reader(self._s3, one, **how) for one in places]
                key = f"{round_folder(each.prefix, number)}{ITEMS_FILE}" if number else each.items
                file = None if key is None or self._chain.items is None else (payload, key)
                # Without an index, what the last run met is all that is known of an item that did not succeed.
                yield _Round(readers, file, successes_only=self._chain.items is None)

    def _reader(self, place: ResultsPlace | None, numbers: ItemNumbers, *, tried_again: bool) -> Reader:
        return Reader(self._s3, place, run=self._run, captured=self._captured, numbers=numbers, tried_again=tried_again)

    def _read(self, part: _Round, *, pending: bool) -> Iterator[tuple[Reader, File, ItemOutcomes]]:
        for reader, file in part.files(pending=pending):
            for outcomes in reader.read(file):
                # Of an output without a record nobody knows how many items it answers for.
                self._countable = self._countable and not outcomes.is_plain
                yield reader, file, outcomes
                if self._deadline is not None and self._deadline.is_near():
                    raise self._out_of_time(self._deadline)

    def _successes(self, outcomes: ItemOutcomes, file: File, seen: IndexSet, before: IndexSet | None) -> list[Result]:
        """Return the successes whose index is new; ``before`` has those that later map runs have told."""
        new = outcomes.take_new(seen)
        self.counts["SUCCEEDED"] += len(new)
        if len(new) < len(outcomes.indexes) and not file.earlier:
            # What a redrive or another map run tried again has two results by right.
            again = 0 if before is None else sum(index is not None and index in before for index in outcomes.indexes)
            self.duplicates += len(outcomes.indexes) - len(new) - again
        return new

    def _others(self, others: Any, seen: IndexSet, *, once: bool) -> list[Unsuccessful]:
        new = seen.add_new(others)
        if once:  # what another round tried again has two results by right
            self.duplicates += len(others) - len(new)
        for result in new:
            self.counts[result.status] += 1
        return new

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


class _Round:
    """What the map runs of one round exported."""

    def __init__(
        self, readers: list[Reader], item_file: tuple[str, str] | None = None, *, successes_only: bool = False
    ) -> None:
        """Look at no file yet.

        Args:
            readers: Of each of its map runs.
            item_file: Bucket and key of the items that it had. By default they aren't needed.
            successes_only: Whether items that did not succeed in it were all tried again.
        """
        self.successes_only = successes_only
        self._readers = readers
        self._item_file = item_file
        self._files: list[tuple[Reader, File]] | None = None

    def files(self, *, pending: bool) -> list[tuple[Reader, File]]:
        if self._files is None:
            self._files = [(reader, file) for reader in self._readers for file in reader.files()]
        return [(reader, file) for reader, file in self._files if (file.kind == "PENDING") is pending]

    def items(self, s3: S3Client, numbers: ItemNumbers) -> Iterator[int]:
        if self._item_file is None:
            return
        for envelope in envelopes(s3, *self._item_file, None, index_only=True):
            yield numbers.number(envelope["index"], envelope.get("source"))


def _size(result: Unsuccessful) -> int:
    """Return about how much memory a result takes."""
    item = len(encode(result.item, what="item")) if result.has_item else 0
    return _WAITING_OVERHEAD + len(result.cause or "") + 8 * item
