"""One HTML page about a run, which needs nothing but itself to be opened.

The numbers come from the ledger and from one more pass over the records of the children, in bounded memory: times are
put into at most :data:`_BUCKETS` buckets, whose width doubles when a run outgrows them.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.arns import is_arn
from cdk_distributed_map.plan import express_children, invocations, standard_children
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.descriptions import seconds_between, start_of
from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import NotFoundError, RunsError
from cdk_distributed_map.runs.files import chain, scan
from cdk_distributed_map.runs.ledger import reconciliation
from distmap._records import Child

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import MapRun, RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.ledger.of_run import Ledger

_BUCKETS: Final = 120
_SLOWEST: Final = 10


class Timeline:
    """Sums over time, in few buckets."""

    def __init__(self, origin: datetime) -> None:
        self._origin = origin
        self.width = 1.0
        self.sums = [0.0] * _BUCKETS

    def add(self, at: datetime, amount: float) -> None:
        """Add to the bucket of a time."""
        seconds = self._make_room(at)
        self.sums[int(seconds // self.width)] += amount

    def spread(self, start: datetime, end: datetime) -> None:
        """Add every second between two times to the bucket it is in."""
        last = self._make_room(end)
        first = max(0.0, (start - self._origin).total_seconds())
        for bucket in range(int(first // self.width), int(last // self.width) + 1):
            within = min(last, (bucket + 1) * self.width) - max(first, bucket * self.width)
            self.sums[bucket] += max(0.0, within)

    def _make_room(self, at: datetime) -> float:
        """Return the seconds to a time, which then is in a bucket."""
        seconds = max(0.0, (at - self._origin).total_seconds())
        while seconds >= self.width * _BUCKETS:
            pairs = [self.sums[number] + self.sums[number + 1] for number in range(0, _BUCKETS, 2)]
            self.sums = pairs + [0.0] * (_BUCKETS - len(pairs))
            self.width *= 2
        return seconds

    def used(self) -> list[float]:
        """Return the buckets up to the last one in use."""
        last = max((number for number, amount in enumerate(self.sums) if amount), default=0)
        return self.sums[: last + 1]


@dataclass
class Children:
    """Sums over the records of the children."""

    number: int = 0
    seconds: float = 0.0
    items: Timeline | None = None
    busy: Timeline | None = None
    """Seconds of children."""
    durations: dict[int, int] = field(default_factory=dict)
    """Number of children by power of two of their milliseconds."""
    slowest: list[tuple[float, str, str]] = field(default_factory=list)
    dollars: float = 0.0
    untimed: int = 0
    """Children whose times weren't exported: they are in no chart."""
    functions: tuple[int, str] | None = None
    """Memory in MB and architecture of what the children call; None where that isn't one function, or isn't known."""
    function_dollars: float = 0.0

    def begin(self, origin: datetime) -> None:
        """Set where time begins: children don't come in its order."""
        self.items, self.busy = Timeline(origin), Timeline(origin)


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


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything on the page."""

    run: str
    arn: str
    link: str
    pipeline: str
    described: RunDescription | None
    maps: tuple[MapRun, ...]
    """Its own Map Runs in the order they started, rounds included."""
    rounds: tuple[Round, ...]
    ledger: Ledger
    children: Children
    express: bool

    @property
    def lambda_dollars(self) -> float | None:
        """What the worker costs at most: as if it ran for all of each child's time. None where that isn't known."""
        known = self.children.functions is not None and not self.children.untimed
        return self.children.function_dollars if known else None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        described = self.described
        return {
            "run": self.run,
            "arn": self.arn,
            "status": self.ledger.status,
            "seconds": None if described is None else described.seconds,
            "ledger": self.ledger.to_json(),
            "children": self.children.number,
            "childSeconds": round(self.children.seconds, 3),
            "childrenWithoutTimes": self.children.untimed,
            "stepFunctionsDollars": round(self.children.dollars, 9),
            "lambdaDollarsAtMost": None if self.lambda_dollars is None else round(self.lambda_dollars, 9),
            "rounds": [
                {
                    "number": each.number,
                    "status": each.map_run.status,
                    "items": each.map_run.items.total,
                    "succeeded": each.map_run.items.succeeded,
                    "waitedSeconds": each.waited,
                    "seconds": each.seconds,
                }
                for each in self.rounds
            ],
            "slowest": [{"seconds": seconds, "child": arn} for seconds, arn, _ in self.children.slowest],
        }


def gather(run: RunHandle) -> RunReport:
    """Read everything that the report of a run and its retries shows.

    Raises:
        NotReadyError: The results are not there yet.
        AwsError: AWS refused a call.
    """
    root = chain.root_of(run)
    ledger = reconciliation.make_ledger(root)
    try:
        described: RunDescription | None = root.describe()
        maps = tuple(sorted(root.own_map_runs(), key=start_of))
    except NotFoundError:
        described, maps = None, ()
    children = Children(functions=_function(root))
    if described is not None:
        children.begin(described.started)
    express = root.pipeline.definition.item_file.express
    for each in [root, *(link.run for link in chain.links_of(root))]:
        every = [*scan.places(each), *(place for again in scan.rounds(each) for place in again.places)]
        for place in every:
            # The ledger, which is on the page, lists what can't be read.
            reader = scan.reader(each, place, report=lambda _: None)
            with errors(f"reading the results of {each.name!r}"):
                # A child that a redrive tried again is in the files of what it came to then.
                for file in [file for file in scan.files(reader) if file.kind != "PENDING" and not file.earlier]:
                    for child in reader.children(file):
                        _add(children, child, express=express)
    children.slowest = heapq.nlargest(_SLOWEST, children.slowest)
    return RunReport(
        run=root.name,
        arn=root.arn,
        link=arns.console_url(root.arn),
        pipeline=root.pipeline.name,
        described=described,
        maps=maps,
        rounds=tuple(_rounds(maps, root.round_numbers(maps))),
        ledger=ledger,
        children=children,
        express=express,
    )


def _rounds(maps: Sequence[MapRun], numbers: dict[str, int]) -> Iterator[Round]:
    for before, each in pairwise(maps):
        if each.arn in numbers:
            waited = None
            if each.started is not None and before.stopped is not None:
                waited = max(0.0, (each.started - before.stopped).total_seconds())
            yield Round(number=numbers[each.arn], map_run=each, waited=waited)


def _function(run: RunHandle) -> tuple[int, str] | None:
    """Return memory and architecture of the one function that children call; None where it isn't known."""
    names = run.pipeline.definition.item_file.functions
    if len(names) != 1:
        return None
    try:
        with errors(f"describing the function {names[0]!r}"):
            found = run.aws.functions().get_function_configuration(FunctionName=names[0])
    except RunsError:
        # It may be gone, or not for this user to see: a report does without.
        return None
    return found["MemorySize"], str(next(iter(found.get("Architectures") or ["x86_64"])))


def _time(child: Child, name: str) -> datetime | None:
    value = None if child.record is None else child.record.get(name)
    if value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None


def _add(children: Children, child: Child, *, express: bool) -> None:
    children.number += 1
    started, stopped = _time(child, "StartDate"), _time(child, "StopDate")
    seconds = (stopped - started).total_seconds() if started is not None and stopped is not None else 0.0
    cost = express_children(1, seconds=max(0.0, seconds)) if express else standard_children(1)
    children.dollars += cost.total
    if started is None or stopped is None:
        children.untimed += 1
        return
    if children.functions is not None:
        memory, architecture = children.functions
        billed = invocations([math.ceil(max(0.0, seconds) * 1000)], memory_mb=memory, architecture=architecture)
        children.function_dollars += billed.functions
    if children.items is None:
        children.begin(started.replace(microsecond=0))
    assert children.items is not None  # noqa: S101 - narrows the types
    assert children.busy is not None  # noqa: S101 - likewise
    children.seconds += seconds
    children.items.add(stopped, len(child.items()))
    children.busy.spread(started, stopped)
    power = max(0, math.ceil(math.log2(max(seconds * 1000, 1))))
    children.durations[power] = children.durations.get(power, 0) + 1
    indexes = [index for index, _ in child.identities() if index is not None]
    which = f"items {min(indexes):,} to {max(indexes):,}" if indexes else ""
    entry = (seconds, child.arn or "", which)
    if len(children.slowest) < _SLOWEST:
        heapq.heappush(children.slowest, entry)
    else:
        heapq.heappushpop(children.slowest, entry)


def render(report: RunReport) -> str:
    """Return the page."""
    import jinja2  # noqa: PLC0415 - only a page needs it, and it takes longer to import than the rest

    source = resources.files("cdk_distributed_map.runs.report").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["url"] = lambda arn: arns.console_url(arn) if is_arn(arn) else ""
    return environment.from_string(source).render(
        report=report,
        ledger=report.ledger,
        made=datetime.now(UTC),
        charts=_charts(report.children),
        bars=_bars(report.ledger),
    )


@dataclass(frozen=True)
class Chart:
    """A chart of bars, in units of a drawing 600 wide and 140 high."""

    title: str
    unit: str
    most: str
    first: str
    last: str
    bars: tuple[tuple[float, float, float, str], ...]
    """Left, height and width of each bar, and what it says."""


def _charts(children: Children) -> list[Chart]:
    charts: list[Chart] = []
    if children.number and children.items is not None and children.busy is not None:
        for title, unit, timeline in (
            ("Throughput", "items a second", children.items),
            ("Concurrency", "children at once", children.busy),
        ):
            width = timeline.width
            levels = [amount / width for amount in timeline.used()]
            each = f"{unit} (mean of {width:g} s)"
            charts.append(_chart(title, each, levels, first=_clock(0), last=_clock(len(levels) * width), width=width))
    if children.durations:
        powers = range(min(children.durations), max(children.durations) + 1)
        counts = [float(children.durations.get(power, 0)) for power in powers]
        labels = [f"up to {_milliseconds(2**power)}" for power in powers]
        charts.append(_chart("Durations", "children", counts, first=labels[0], last=labels[-1], width=0, labels=labels))
    return charts


def _chart(
    title: str,
    unit: str,
    values: list[float],
    *,
    first: str,
    last: str,
    width: float,
    labels: list[str] | None = None,
) -> Chart:
    most = max(values, default=0.0) or 1.0
    step = 600 / max(len(values), 1)
    bars = tuple(
        (
            round(number * step, 2),
            round(value / most * 140, 2),
            round(max(step - 1, 0.5), 2),
            f"{_clock(number * width) if labels is None else labels[number]}: {value:,.1f} {unit}".replace(".0 ", " "),
        )
        for number, value in enumerate(values)
    )
    return Chart(title, unit, short_number(most), first, last, bars)


def _bars(ledger: Ledger) -> list[tuple[str, int, float]]:
    """Return name, number and share of each kind of item."""
    names = ("succeeded", "failed", "unprocessed", "pending", "missing")
    whole = max(ledger.captured, 1)
    return [(name, getattr(ledger, name), getattr(ledger, name) * 100 / whole) for name in names]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"


def short_number(number: float) -> str:
    """Return a number with one decimal, or as many as a smaller one needs not to be shown as 0."""
    return f"{number:,.1f}".removesuffix(".0") if number >= 1 else f"{number:.1g}"
