"""The results of a run and its retries: streamed, each item once, in item order where that is asked for."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs import _answers, _arns, _chain, _scan
from cdk_distributed_map.runs._account import IndexesSeen
from cdk_distributed_map.runs._aws import error_code, errors
from cdk_distributed_map.runs._errors import (
    NotFoundError,
    NotReadyError,
    ResultFilesError,
    RunFailedError,
)
from cdk_distributed_map.runs._tables import COLUMNS
from cdk_distributed_map.runs._unread import unread
from distmap import DistmapError
from distmap._results import Results
from distmap.wire import ResultsPlace

if TYPE_CHECKING:
    from cdk_distributed_map.runs._described import RunDescription
    from cdk_distributed_map.runs._ledger import Ledger
    from cdk_distributed_map.runs._run import Run


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
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""

    @property
    def succeeded(self) -> bool:
        """Whether there is a value."""
        return self.status == "SUCCEEDED"


_FIELDS: Final = (*COLUMNS, "item")  # of what is sorted: results of one map
_SEE_LEDGER: Final = "`distmap ledger` tells which items that leaves unaccounted for"
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
    map: str | None = None
    """Label of the nested map it is an item of; None for an item of the outermost map."""
    path: str | None = None
    """Indexes of the items around it, outermost first, as in ``3/0``; None likewise."""


def results(
    run: Run, *, ordered: bool = False, unsuccessful: bool = False, wait_seconds: float = 60.0
) -> Iterator[ItemResult]:
    """Yield the results of a run and its retries: see :meth:`Run.results`."""
    found = _each_once(run, unsuccessful=unsuccessful, wait_seconds=wait_seconds)
    return in_order(found) if ordered else found


def _each_once(run: Run, *, unsuccessful: bool, wait_seconds: float) -> Iterator[ItemResult]:
    root = _chain.root_of(run)
    runs = [root, *(link.run for link in _chain.links_of(root))]
    seen = IndexesSeen()
    some = False
    why = ""
    with errors(f"reading the results of {root.name!r}"):
        for each in runs:
            described = _describe(each)
            failed_early = unread(each, described, known=False)
            if failed_early is not None and not failed_early.read:
                why = why or failed_early.why
                continue
            # A run that was given no items has no results to wait for.
            expected = described is not None and _chain.has_items(each, described)
            if not _scan.exported(each, described, wait_seconds=wait_seconds, expected=expected):
                some = some or (described is not None and not expected)
                continue
            for place in _scan.places(each):
                some = True
                for result in read_place(each, place):
                    if result.succeeded and (result.index is None or seen.add(result.index)):
                        yield result
        if not some:
            if why:
                raise RunFailedError(f"there are no results: {why}")
            raise NotReadyError(
                f"the results of {run.name!r} are not there: Step Functions writes them when a map ends, and a "
                "lifecycle rule may have deleted old ones; `distmap describe` tells how far the run is"
            )
        if unsuccessful:
            yield from _unsuccessful(runs, seen)


def _unsuccessful(runs: list[Run], seen: IndexesSeen) -> Iterator[ItemResult]:
    bare = False
    for each in reversed(runs):
        for place in _scan.places(each):
            for result in read_place(each, place):
                if result.index is None:
                    bare = True
                if not result.succeeded and (result.index is None or seen.add(result.index)):
                    yield result
        if bare:
            return  # items without identity: the last run tried everything that was left


def _describe(run: Run) -> RunDescription | None:
    try:
        return run.describe()
    except NotFoundError:
        return None


def read_place(run: Run, place: ResultsPlace) -> Iterator[ItemResult]:
    try:
        for each in Results(run.aws.s3(), place):
            if each.succeeded:
                yield ItemResult(each.index, "SUCCEEDED", each.value)
            else:
                yield ItemResult(each.index, each.status, None, each.error, each.cause, each.item)
    except DistmapError as error:
        raise ResultFilesError(f"{error}; {_SEE_LEDGER}") from error
    except Exception as error:
        if error_code(error) not in {"404", "NoSuchKey"}:
            raise
        raise ResultFilesError(f"{_missing_file(run, place)}; {_SEE_LEDGER}") from error


def _missing_file(run: Run, place: ResultsPlace) -> str:
    problems: list[str] = []
    for file in _scan.files(run.aws.s3(), place):
        next(_scan.records(run.aws.s3(), file, report=problems.append), None)
        if problems:
            return problems[0]
    return f"a result file of s3://{place['bucket']}/{place['key']} is missing"


def in_order(found: Iterable[ItemResult]) -> Iterator[ItemResult]:
    """Sort in bounded memory: sorted pieces in temporary files, merged. Results without an index come last."""
    with ExitStack() as stack:
        pieces: list[IO[str]] = []
        rows: list[tuple[float, str]] = []
        size = 0
        encode = json.JSONEncoder(separators=(",", ":")).encode  # made once: json.dumps makes one for each call
        for result in found:
            text = encode([getattr(result, name) for name in _FIELDS])
            rows.append((_key(result.index), text))
            size += len(text) + 200
            if size > _SORTED_BYTES:
                pieces.append(stack.enter_context(_piece(rows)))
                rows, size = [], 0
        rows.sort(key=lambda row: row[0])
        streams = [_rows(piece) for piece in pieces]
        for _, text in heapq.merge(*streams, rows, key=lambda row: row[0]):
            yield ItemResult(*json.loads(text))


def _piece(rows: list[tuple[float, str]]) -> IO[str]:
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the caller's exit stack closes it
    # The key stands before the row, so that merging needs no look into it.
    file.writelines(f"{key} {text}\n" for key, text in sorted(rows, key=lambda row: row[0]))
    file.seek(0)
    return file


def _rows(file: IO[str]) -> Iterator[tuple[float, str]]:
    for line in file:
        key, _, text = line.partition(" ")
        yield float(key), text


def _key(index: int | None) -> float:
    return float("inf") if index is None else index


def failures(run: Run, ledger: Ledger) -> Iterator[Failure]:
    """Yield the items that failed or were left unprocessed and did not succeed in a retry: see :meth:`Run.failures`."""
    if ledger.run_error is not None and not ledger.captured:
        raise RunFailedError(f"no item failed, because none was read: {ledger.run_error}")
    root = _chain.root_of(run)
    seen = IndexesSeen()
    chain = [root, *(link.run for link in _chain.links_of(root))]
    for each in reversed(chain):
        wanted = _not_yet(ledger, seen)
        yield from failures_of(each, _scan.places(each), wanted)
        if ledger.unidentified:
            return  # items without identity: the last run tried everything that was left


def _not_yet(ledger: Ledger, seen: IndexesSeen) -> Callable[[int], bool]:
    return lambda index: not ledger.states.succeeded(index) and seen.add(index)


def failures_of(run: Run, places: Iterable[ResultsPlace], wanted: Callable[[int], bool]) -> Iterator[Failure]:
    """Yield the failures in the results of one run.

    Args:
        run: The run.
        places: Where the results are.
        wanted: Tells whether a failure of the item of an index is to be had; asked once for each failure.
    """
    s3 = run.aws.s3()
    for place in places:
        for file in _scan.files(s3, place):
            if file.kind == "PENDING":
                continue
            # What can't be read is told by the ledger, which every caller has made.
            for value in _scan.records(s3, file, report=lambda _: None):
                try:
                    if file.kind == "SUCCEEDED" and _all_well(value):
                        continue
                    found = list(_of_child(run, _scan.as_child(value, file.kind)))
                except _scan.UNREADABLE:
                    continue
                for failure in found:
                    if failure.index is None or wanted(failure.index):
                        yield failure


def _all_well(value: Any) -> bool:
    answer = _answers.quick_answer(value)
    return answer is not None and not answer["batchItemFailures"] and not answer["batchItemsUnprocessed"]


def _of_child(run: Run, child: _scan.Child) -> Iterator[Failure]:
    succeeded = child.kind == "SUCCEEDED"
    try:
        answer = child.answer(run.aws.s3())
        entries = [] if answer is None else _answers.entries(answer)
    except _scan.UNREADABLE:
        if succeeded:
            return
        answer, entries = None, []
    inputs = child.inputs()
    positional = answer is not None and "positional" in answer
    known = {at if positional else index: item for at, (index, item) in enumerate(inputs)}
    link = None if child.arn is None else _arns.console_url(child.arn)

    def failure(index: int | None, status: str, error: str, cause: str, *item: Any) -> Failure:
        return Failure(
            index=index,
            item=item[0] if item else None,
            has_item=bool(item),
            status=status,
            error=error,
            cause=cause,
            run=run.name,
            child=child.arn,
            link=link,
        )

    for entry in entries:
        if entry.outcome == "SUCCEEDED" or (inputs and entry.identifier not in known):
            continue
        item = (known[entry.identifier],) if entry.identifier in known else ()
        index = None if positional else entry.identifier
        yield failure(index, entry.outcome, entry.error, entry.cause, *item)
    if positional or succeeded:
        return
    told = {entry.identifier for entry in entries}
    status = "TIMED_OUT" if child.status == "TIMED_OUT" else "FAILED"
    for index, item in inputs:
        if index is None or index not in told:
            yield failure(index, status, child.error, child.cause, item)
