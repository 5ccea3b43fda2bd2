"""The results of a run and its retries: streamed, each item once, in item order where that is asked for."""

from __future__ import annotations

import functools
import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import (
    NotReadyError,
    ResultFilesError,
    RunFailedError,
    RunsError,
)
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.files.unread import unread
from cdk_distributed_map.runs.text import counted
from distmap._errors import DistmapError
from distmap._export import Export, File
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._item_outcomes import ItemOutcomes
from distmap._outcomes import Reader
from distmap._records import with_identities
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle


@dataclass(slots=True)
class ItemResult:
    """What became of one item.

    .. versionadded:: 0.1.0
    """

    index: int | None
    """The item's position in its source; None for an unidentified item."""
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
    place: str | None = None
    """Where in the user's code it failed, such as ``handler.py:14 in enrich``; None where that isn't known."""
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""

    @property
    def succeeded(self) -> bool:
        """Whether there is a value."""
        return self.status == "SUCCEEDED"


_FIELDS: Final = ("index", "status", "value", "error", "cause", "item", "source", "place")
"""The first fields of a result: those of what is sorted, which are results of one map."""
_SEE_LEDGER: Final = "`distmap ledger` tells which items that leaves unaccounted for"
_Key = tuple[str, float]
"""What results are sorted by: file, and index."""
SORTED_BYTES: Final = 32 * 1024**2


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
    read: list[_Part] = []
    captured = None
    with errors(f"reading the results of {root.name!r}"):
        for each in [root, *(link.run for link in chain_module.links_of(root))]:
            described = each.describe_if_known()
            if each is root:
                captured = _captured_of(root, described)
            failed_early = unread(each, described, known=False)
            if failed_early is not None and not failed_early.read:
                why = why or failed_early.why
                continue
            # A run that was given no items has no results to wait for.
            expected = described is not None and chain_module.has_items(each, described)
            found = scan.exported(each, described, wait_seconds=wait_seconds, expected=expected) or []
            ended = described is None or described.ended
            tally = _Tally()
            rounds = []
            again = scan.rounds(each)
            every: list[Sequence[ResultsPlace | Export]] = [found, *(each_round.places for each_round in again)]
            for exports in every:
                how: Any = {"captured": captured, "numbers": numbers, "tried_again": exports is not every[-1]}
                rounds.append([_files(scan.reader(each, export, **how), ended=ended) for export in exports])
                yield from successes_in(rounds[-1], seen, tally)
            if rounds[0] and described is not None and described.status == "SUCCEEDED":
                _check_whole(each, [files for files_of_round in rounds for files in files_of_round], tally)
            if any(rounds[0]):
                some = True
                read += map(_Part, rounds, [None, *(functools.partial(_items_of, each, one, numbers) for one in again)])
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
    """How many items of one run have an outcome in the files."""

    def __init__(self) -> None:
        self.countable = True
        """Whether it is so many for sure: an output without a record may be one of several items."""
        self._indexes = IndexSet()
        self._unidentified = 0

    def add(self, outcomes: ItemOutcomes) -> None:
        self.countable = self.countable and not outcomes.is_plain
        if outcomes.indexes and not self._indexes.add_range(outcomes.indexes):
            for index in outcomes.indexes:
                self._add(index)
        for other in outcomes.others:
            self._add(other.index)

    def _add(self, index: int | None) -> None:
        if index is None:
            self._unidentified += 1
        else:
            self._indexes.add_range([index])

    def __len__(self) -> int:
        return len(self._indexes) + self._unidentified


def _check_whole(run: RunHandle, files: list[_Files], tally: _Tally) -> None:
    """Raise where a run that succeeded had more items than there are in its result files.

    Raises:
        ResultFilesError: It had.
    """
    try:
        total = max((map_run.items.total for map_run in run.own_map_runs()), default=0)
    except RunsError:
        return  # it may have been too long ago, or not be for this user to see: the ledger has it from the item file
    for file in files:
        for outcomes in file.outcomes("PENDING"):
            tally.add(outcomes)
    if tally.countable and len(tally) < total:
        raise ResultFilesError(
            f"{run.name!r} had {counted(total, 'item')}, and there are {len(tally):,} in its result files; "
            f"{_SEE_LEDGER}"
        )


def _captured_of(run: RunHandle, described: RunDescription | None) -> int | None:
    """Return how many items a run's own item file has; None where it doesn't say."""
    file = chain_module.item_file_of(run, described)
    return None if file is None else file.count


class _Part(NamedTuple):
    """What the map of a run, or a round of it, exported."""

    files: list[_Files]
    items: Callable[[], Iterator[int]] | None
    """Returns the items of a round."""


def _items_of(run: RunHandle, part: scan.Round, numbers: ItemNumbers) -> Iterator[int]:
    return scan.items_of_round(run, part.number, numbers)


def _of_last_attempts(read: list[_Part], seen: IndexSet) -> Iterator[ItemResult]:
    for part in reversed(read):
        has_unidentified = False
        for result in unsuccessful_in(part.files, seen):
            has_unidentified = has_unidentified or result.index is None
            yield result
        if has_unidentified:
            return  # unidentified items: the last run tried everything that was left
        for index in () if part.items is None else part.items():
            scan.add_index(seen, index)  # what its own round doesn't tell of an item, no earlier one can


class _Files(NamedTuple):
    """The result files of one map run, with their reader."""

    reader: Reader
    files: list[File]

    def __bool__(self) -> bool:
        return bool(self.files)

    def outcomes(self, *kinds: str) -> Iterator[ItemOutcomes]:
        """Yield the outcomes in the files of some kinds; what doesn't fit is raised."""
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
        tally: Where to count every item that has an outcome. Default: nowhere.

    Raises:
        ResultFilesError: A file is missing, cut off or not what it should be.
    """
    for file in files:
        for outcomes in file.outcomes("SUCCEEDED", "FAILED"):
            if tally is not None:
                tally.add(outcomes)
            if outcomes.indexes:
                try:
                    successes = outcomes.take_new(seen)
                except DistmapError as error:
                    raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error
                for result in with_identities(successes, file.reader.numbers):
                    yield ItemResult(result.index, "SUCCEEDED", result.value, source=result.source)


def unsuccessful_in(files: Iterable[_Files], seen: IndexSet) -> Iterator[ItemResult]:
    """Yield the items that did not succeed and whose index is new: to be asked for after all successes.

    Raises:
        ResultFilesError: A file is missing, cut off or not what it should be.
    """
    for file in files:
        for outcomes in file.outcomes("SUCCEEDED", "FAILED", "PENDING"):
            try:
                new = seen.add_new(outcomes.others)
            except DistmapError as error:
                raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error
            for other in with_identities(new, file.reader.numbers):
                yield ItemResult(
                    other.index,
                    other.status,
                    None,
                    other.error,
                    other.cause,
                    other.item,
                    source=other.source,
                    place=other.place,
                )


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
            if size > SORTED_BYTES:
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
