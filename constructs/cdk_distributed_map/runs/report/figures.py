"""The figures of one run of a chain, by one pass over the records of its children, in bounded memory."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.descriptions import seconds_between
from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.notices import ProgressNotice
from cdk_distributed_map.runs.report.functions import Invocations
from cdk_distributed_map.runs.report.item_times import ItemTimes, SlowItem
from cdk_distributed_map.runs.report.retries import CHILDREN, Retries
from cdk_distributed_map.runs.report.timeline import Timeline
from distmap._errors import DistmapError
from distmap._export import File
from distmap._identity import parse_identifier
from distmap._measured import is_measures
from distmap._outcomes import Reader
from distmap._records import UNREADABLE, Child

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import MapRun, RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle

_INPUT_CHARACTERS: Final = 300


@dataclass(frozen=True, kw_only=True)
class Round:
    """A Map Run of what had not succeeded before it."""

    number: int
    map_run: MapRun
    waited: float | None
    """Seconds from the end of the Map Run before it to its own beginning; None where either isn't known."""

    @property
    def seconds(self) -> float | None:
        """How long it took; None where that isn't known."""
        started = self.map_run.started
        return None if started is None else seconds_between(started, self.map_run.stopped)


@dataclass(frozen=True, order=True)
class SlowChild:
    """A child that took long."""

    seconds: float
    arn: str
    items: str = field(default="", compare=False)
    """Which items it had, for people."""


@dataclass(kw_only=True)
class Figures:
    """What one run of a chain did."""

    name: str
    arn: str
    described: RunDescription | None
    """None where AWS has forgotten it."""
    maps: Sequence[MapRun] = ()
    """Its own Map Runs in the order they started, rounds included."""
    rounds: Sequence[Round] = ()
    children: int = 0
    untimed: int = 0
    """Children whose times weren't exported: they are in no chart."""
    seconds: float = 0.0
    """Those of all children together."""
    tenths: int = 0
    """The same in begun tenths of a second, as Express children are billed."""
    items: int = 0
    """Items that its children had, as often as they had them."""
    unsuccessful: int = 0
    """Those of them that didn't succeed there."""
    first: float | None = None
    last: float | None = None
    """When the first child began, and when the last one ended, in seconds since the epoch."""
    memory_mb: int | None = None
    """Most memory of the worker's process, as it measured itself."""
    timeline: Timeline = field(default_factory=Timeline)
    durations: dict[int, int] = field(default_factory=dict)
    """Number of children by power of two of their milliseconds."""
    slowest: list[SlowChild] = field(default_factory=list)
    times: ItemTimes = field(default_factory=ItemTimes)
    invocations: Invocations = field(default_factory=Invocations)
    retries: Retries = field(default_factory=Retries)

    @property
    def status(self) -> str:
        """What AWS says of it."""
        return "UNKNOWN" if self.described is None else self.described.status

    @property
    def wall(self) -> float | None:
        """Seconds from its start to its end; None where that isn't known."""
        return None if self.described is None else self.described.seconds


def read(figures: Figures, run: RunHandle, *, most_bytes: float = math.inf) -> None:
    """Add what the records of a run's children say; what can't be read is left out: the ledger tells of it.

    Args:
        figures: Where to add it.
        run: The run.
        most_bytes: Size of its result files above which none is read. Default: all are.
    """
    places = [*scan.places(run), *(place for again in scan.rounds(run) for place in again.places)]
    notice = ProgressNotice(run.aws.notice, lambda done: f"reading the results of {run.name}: {done:,} children")
    readers = [scan.reader(run, place, report=lambda _: None) for place in places]
    with errors(f"reading the results of {run.name!r}"):
        # A child that a redrive tried again is in the files of what it came to then.
        files = [
            (reader, file)
            for reader in readers
            for file in scan.files(reader)
            if file.kind != "PENDING" and not file.earlier
        ]
        if sum(file.size for _, file in files) > most_bytes:
            return
        for reader, file in files:
            for child in reader.children(file):
                notice(1)
                _add(figures, child, reader, file)
    figures.slowest = heapq.nlargest(CHILDREN, figures.slowest)


def rounds_of(maps: Sequence[MapRun], numbers: dict[str, int]) -> Iterator[Round]:
    """Yield the rounds among the Map Runs of a run."""
    for before, each in pairwise(maps):
        if each.arn in numbers:
            waited = None
            if each.started is not None and before.stopped is not None:
                waited = max(0.0, (each.started - before.stopped).total_seconds())
            yield Round(number=numbers[each.arn], map_run=each, waited=waited)


def _add(figures: Figures, child: Child, reader: Reader, file: File) -> None:
    figures.children += 1
    items = child.items()
    answer = _answer(child, reader, file)
    bad = len(items) if file.kind != "SUCCEEDED" else 0
    if answer is not None:
        bad = len(answer["batchItemFailures"]) + len(answer["batchItemsUnprocessed"])
    figures.items += len(items)
    figures.unsuccessful += bad
    measures = None if answer is None else answer.get("batchMeasures")
    started, stopped = _time(child, "StartDate"), _time(child, "StopDate")
    seconds = None if started is None or stopped is None else max(0.0, stopped - started)
    _add_measures(figures, child, items, measures, seconds)
    if started is None or stopped is None or seconds is None:
        figures.untimed += 1
        return
    figures.seconds += seconds
    # Rounded first, or 0.3 s would begin a fourth tenth in binary.
    figures.tenths += math.ceil(round(seconds * 10, 6))
    figures.first = started if figures.first is None else min(figures.first, started)
    figures.last = stopped if figures.last is None else max(figures.last, stopped)
    figures.timeline.spread(started, stopped)
    figures.timeline.add(stopped, "succeeded", len(items) - bad)
    figures.timeline.add(stopped, "did not succeed", bad)
    power = max(0, math.ceil(math.log2(max(seconds * 1000, 1))))
    figures.durations[power] = figures.durations.get(power, 0) + 1
    _keep_slow(figures, child, seconds)


def _keep_slow(figures: Figures, child: Child, seconds: float) -> None:
    entry = SlowChild(seconds, child.arn or "")
    if len(figures.slowest) >= CHILDREN and entry < figures.slowest[0]:
        return
    indexes = [index for index, _ in child.identities() if index is not None]
    which = ""
    if indexes:
        which = f"item {indexes[0]:,}" if len(indexes) == 1 else f"items {min(indexes):,} to {max(indexes):,}"
    entry = SlowChild(seconds, child.arn or "", which)
    (heapq.heappush if len(figures.slowest) < CHILDREN else heapq.heappushpop)(figures.slowest, entry)


def _answer(child: Child, reader: Reader, file: File) -> Any:
    if file.kind not in {"SUCCEEDED", "FAILED"}:
        return None
    try:
        answer = reader.answer(child, file.kind)
    except (*UNREADABLE, DistmapError):
        return None  # the ledger says so
    if answer is None or not all(
        isinstance(answer[name], list) for name in ("batchItemFailures", "batchItemsUnprocessed")
    ):
        return None
    return answer


def _add_measures(
    figures: Figures, child: Child, items: list[tuple[int | None, Any]], measures: Any, seconds: float | None
) -> None:
    if not is_measures(measures):
        if seconds is not None and items:
            figures.times.add_shares(seconds, len(items))
        return
    figures.times.add_batch(measures)
    memory: object = measures.get("memoryMB")
    if isinstance(memory, int):
        figures.memory_mb = max(memory, figures.memory_mb or 0)
    if figures.times.is_slow(measures["most"]):
        figures.times.note(_slow_item(child, items, measures["slowest"], measures["most"]))


def _slow_item(child: Child, items: list[tuple[int | None, Any]], slowest: str, seconds: float) -> SlowItem:
    try:
        index, source = parse_identifier(slowest)
    except (ValueError, DistmapError):
        return SlowItem(seconds, child.arn or "")
    values = [value for (_, value), one in zip(items, child.identities(), strict=True) if one == (index, source)]
    text = json.dumps(values[0], ensure_ascii=False)[: _INPUT_CHARACTERS + 1] if values else None
    if text is not None and len(text) > _INPUT_CHARACTERS:
        text = f"{text[:-1]}…"
    return SlowItem(seconds, child.arn or "", index, source, text)


def _time(child: Child, name: str) -> float | None:
    value = None if child.record is None else child.record.get(name)
    if value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
