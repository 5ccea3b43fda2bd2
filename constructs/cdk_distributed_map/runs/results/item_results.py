"""The results of a run and its retries: streamed, each item once, in item order where that is asked for."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import (
    NotFoundError,
    NotReadyError,
    ResultFilesError,
    RunFailedError,
    RunsError,
)
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.files.item_states import IndexesSeen
from cdk_distributed_map.runs.files.reader import LEFT
from cdk_distributed_map.runs.files.unread import unread
from cdk_distributed_map.runs.text import counted
from distmap._errors import DistmapError
from distmap._export import File
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._records import Unsuccessful
from distmap._told import Reader, Told
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.ledger.reconciliation import Ledger


@dataclass(slots=True)
class ItemResult:
    """What became of one item."""

    index: int | None
    """The item's position in its source; None where items came bare, or the export doesn't tell it."""
    status: str
    """``SUCCEEDED``, ``FAILED`` or ``UNPROCESSED``."""
    value: Any = None
    """What its function returned; None unless it succeeded."""
    error: str | None = None
    """Type of what it raised, or the error of its whole child; None unless it failed."""
    cause: str | None = None
    """The message of that."""
    item: Any = None
    """The item itself, where it did not succeed and its child's input was exported."""
    source: str | None = None
    """The file it was read from, ``s3://bucket/key``, where the map read several: they are indexed one by one."""
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""

    @property
    def succeeded(self) -> bool:
        """Whether there is a value."""
        return self.status == "SUCCEEDED"


_FIELDS: Final = ("index", "status", "value", "error", "cause", "item", "source")
"""The first fields of a result: those of what is sorted, which are results of one map."""
_SEE_LEDGER: Final = "`distmap ledger` tells which items that leaves unaccounted for"
_Key = tuple[str, float]
"""What results are sorted by: file, and index."""
_SORTED_BYTES: Final = 32 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An item that did not succeed."""

    index: int | None
    """None where the item came without identity."""
    item: Any
    has_item: bool
    """Whether the item is known: not where its child's input wasn't exported."""
    status: str
    """``FAILED``, ``TIMED_OUT`` or ``UNPROCESSED``."""
    error: str
    cause: str
    run: str
    """Name of the run it failed in last: the first one, or a retry."""
    child: str | None
    """ARN of the child."""
    link: str | None
    """Where the console shows the child."""
    source: str | None = None
    """The file the item was read from, where the map read several."""
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""


def results(
    run: RunHandle, *, ordered: bool = False, unsuccessful: bool = False, wait_seconds: float = 60.0
) -> Iterator[ItemResult]:
    """Yield the results of a run and its retries: see :meth:`Run.results`."""
    found = _each_once(run, unsuccessful=unsuccessful, wait_seconds=wait_seconds)
    return in_order(found) if ordered else found


def _each_once(run: RunHandle, *, unsuccessful: bool, wait_seconds: float) -> Iterator[ItemResult]:
    root = chain_module.root_of(run)
    seen, numbers = IndexSet(), ItemNumbers()
    some = False
    why = ""
    read: list[list[_Files]] = []
    captured = None
    with errors(f"reading the results of {root.name!r}"):
        for each in [root, *(link.run for link in chain_module.links_of(root))]:
            described = _describe(each)
            if each is root:
                captured = _count_told(root, described)
            failed_early = unread(each, described, known=False)
            if failed_early is not None and not failed_early.read:
                why = why or failed_early.why
                continue
            # A run that was given no items has no results to wait for.
            expected = described is not None and chain_module.has_items(each, described)
            found = scan.exported(each, described, wait_seconds=wait_seconds, expected=expected) or []
            ended = described is None or described.ended
            readers = [scan.reader(each, place, captured=captured, numbers=numbers) for place in found]
            files = [_files(reader, ended=ended) for reader in readers]
            tally = _Tally()
            yield from successes_in(files, seen, tally)
            if files and described is not None and described.status == "SUCCEEDED":
                _check_whole(each, files, tally)
            if any(files):
                some = True
                read.append(files)
            else:
                some = some or (described is not None and not expected)
        if not some:
            if why:
                raise RunFailedError(f"there are no results: {why}")
            raise NotReadyError(
                f"the results of {run.name!r} are not there: Step Functions writes them when a map ends, and a "
                "lifecycle rule may have deleted old ones; `distmap describe` tells how far the run is"
            )
        if unsuccessful:
            yield from _of_last_attempts(read, seen)


class _Tally:
    """How many items of one run the files tell anything of."""

    def __init__(self) -> None:
        self.countable = True
        """Whether it is so many for sure: an output without a record may be one of several items."""
        self._indexes = IndexSet()
        self._bare = 0

    def add(self, told: Told) -> None:
        self.countable = self.countable and not told.is_plain
        if told.indexes and not self._indexes.add_range(told.indexes):
            for index in told.indexes:
                self._add(index)
        for other in told.others:
            self._add(other.index)

    def _add(self, index: int | None) -> None:
        if index is None:
            self._bare += 1
        else:
            self._indexes.add_range([index])

    def __len__(self) -> int:
        return len(self._indexes) + self._bare


def _check_whole(run: RunHandle, files: list[_Files], tally: _Tally) -> None:
    """Raise where a run that succeeded had more items than there are in its result files.

    Raises:
        ResultFilesError: It had.
    """
    try:
        total = max((each.items.total for each in run.own_map_runs()), default=0)
    except RunsError:
        return  # it may have been too long ago, or not be for this user to see: the ledger tells it from the item file
    for each in files:
        for told in each.told("PENDING"):
            tally.add(told)
    if tally.countable and len(tally) < total:
        raise ResultFilesError(
            f"{run.name!r} had {counted(total, 'item')}, and there are {len(tally):,} in its result files; "
            f"{_SEE_LEDGER}"
        )


def _count_told(run: RunHandle, described: RunDescription | None) -> int | None:
    """Return how many items a run itself says that it has."""
    file = chain_module.item_file_of(run, described)
    return None if file is None else file.count


def _of_last_attempts(read: list[list[_Files]], seen: IndexSet) -> Iterator[ItemResult]:
    for files in reversed(read):
        bare = False
        for result in unsuccessful_in(files, seen):
            bare = bare or result.index is None
            yield result
        if bare:
            return  # items without identity: the last run tried everything that was left


class _Files(NamedTuple):
    """The result files of one map run, with their reader."""

    reader: Reader
    files: list[File]

    def __bool__(self) -> bool:
        return bool(self.files)

    def told(self, *kinds: str) -> Iterator[Told]:
        """Yield what the files of some kinds say; what doesn't fit is raised."""
        try:
            for file in self.files:
                if file.kind in kinds:
                    yield from self.reader.read(file)
        except DistmapError as error:
            raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error


def _files(reader: Reader, *, ended: bool = True) -> _Files:
    try:
        return _Files(reader, scan.files(reader, ended=ended))
    except ResultFilesError as error:
        raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error


def files_of(run: RunHandle, places: Iterable[ResultsPlace]) -> list[_Files]:
    """Return the result files of the map runs of a run.

    Raises:
        ResultFilesError: They don't fit.
    """
    numbers = ItemNumbers()
    return [_files(scan.reader(run, place, numbers=numbers)) for place in places]


def successes_in(files: Iterable[_Files], seen: IndexSet, tally: _Tally | None = None) -> Iterator[ItemResult]:
    """Yield the successes whose index is new: items of batches that failed, too.

    Args:
        files: The files.
        seen: Indexes that came before, to which those are added.
        tally: Where to count every item that is told of. Default: nowhere.

    Raises:
        ResultFilesError: A file is missing, cut off or not what it should be.
    """
    for each in files:
        for told in each.told("SUCCEEDED", "FAILED"):
            if tally is not None:
                tally.add(told)
            if told.indexes:
                try:
                    fresh = told.fresh_successes(seen)
                except DistmapError as error:
                    raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error
                for result in each.reader.revealed(fresh):
                    yield ItemResult(result.index, "SUCCEEDED", result.value, source=result.source)


def unsuccessful_in(files: Iterable[_Files], seen: IndexSet) -> Iterator[ItemResult]:
    """Yield the items that did not succeed and whose index is new: to be asked for after all successes.

    Raises:
        ResultFilesError: A file is missing, cut off or not what it should be.
    """
    for each in files:
        for told in each.told("SUCCEEDED", "FAILED", "PENDING"):
            for other in each.reader.revealed(seen.fresh(told.others)):
                yield ItemResult(
                    other.index, other.status, None, other.error, other.cause, other.item, source=other.source
                )


def _describe(run: RunHandle) -> RunDescription | None:
    try:
        return run.describe()
    except NotFoundError:
        return None


def in_order(found: Iterable[ItemResult]) -> Iterator[ItemResult]:
    """Sort in bounded memory: sorted pieces in temporary files, merged. Results without an index come last."""
    with ExitStack() as stack:
        pieces: list[IO[str]] = []
        rows: list[tuple[_Key, str]] = []
        size = 0
        encode = json.JSONEncoder(separators=(",", ":")).encode  # made once: json.dumps makes one for each call
        for result in found:
            text = encode([getattr(result, name) for name in _FIELDS])
            rows.append((_key(result), text))
            size += len(text) + 200
            if size > _SORTED_BYTES:
                pieces.append(stack.enter_context(_piece(rows)))
                rows, size = [], 0
        rows.sort(key=lambda row: row[0])
        streams = [_rows(piece) for piece in pieces]
        for _, text in heapq.merge(*streams, rows, key=lambda row: row[0]):
            yield ItemResult(*json.loads(text))


def _piece(rows: list[tuple[_Key, str]]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the caller's exit stack closes it
    # The key stands before the row, so that merging needs no look into it.
    file.writelines(f"{quote(key[0])} {key[1]} {text}\n" for key, text in sorted(rows, key=lambda row: row[0]))
    file.seek(0)
    return file


def _rows(file: IO[str]) -> Iterator[tuple[_Key, str]]:
    for line in file:
        source, index, text = line.split(" ", 2)
        yield (unquote(source), float(index)), text


def _key(result: ItemResult) -> _Key:
    return result.source or "", float("inf") if result.index is None else result.index


def failures(run: RunHandle, ledger: Ledger) -> Iterator[Failure]:
    """Yield the items that failed or were left unprocessed and did not succeed in a retry: see :meth:`Run.failures`."""
    if ledger.run_error is not None and not ledger.captured:
        raise RunFailedError(f"no item failed, because none was read: {ledger.run_error}")
    root = chain_module.root_of(run)
    seen = IndexesSeen()
    chain = [root, *(link.run for link in chain_module.links_of(root))]
    for each in reversed(chain):
        wanted = _not_yet(ledger, seen)
        yield from failures_of(each, scan.places(each), wanted, ledger.numbers)
        if ledger.unidentified:
            return  # items without identity: the last run tried everything that was left


def _not_yet(ledger: Ledger, seen: IndexesSeen) -> Callable[[int], bool]:
    return lambda index: not ledger.states.succeeded(index) and seen.add(index)


def failures_of(
    run: RunHandle, places: Iterable[ResultsPlace], wanted: Callable[[int], bool], numbers: ItemNumbers
) -> Iterator[Failure]:
    """Yield the failures in the results of one run.

    Args:
        run: The run.
        places: Where the results are.
        wanted: Tells whether a failure of the item of an index is to be had; asked once for each failure.
        numbers: Numbers that stand for the indexes of items of several files.
    """
    for place in places:
        # What can't be read is told by the ledger, which every caller has made.
        reader = scan.reader(run, place, report=lambda _: None, numbers=numbers)
        for file in scan.files(reader):
            if file.kind == "PENDING":
                continue
            for told in reader.read(file):
                for other in told.others:
                    if other.index is None or wanted(other.index):
                        reader.reveal(other)
                        yield _failure(run, other)


def _failure(run: RunHandle, other: Unsuccessful) -> Failure:
    left = other.outcome == "UNPROCESSED"
    return Failure(
        index=other.index,
        source=other.source,
        item=other.item,
        has_item=other.has_item,
        status=other.outcome,
        error="Unprocessed" if left else other.error or "",
        cause=LEFT if left else other.cause or "",
        run=run.name,
        child=other.child,
        link=None if other.child is None else arns.console_url(other.child),
    )
