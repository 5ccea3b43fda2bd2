"""What a finished run tells a plan: how many items there were, how long one took, and how large it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from statistics import median
from typing import Any, Final

from cdk_distributed_map.plan import Fact, Forecast, Times, express_children, standard_children
from cdk_distributed_map.runs.aws.descriptions import start_of
from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import NotReadyError
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.find.handles import RunHandle
from distmap._records import Child

_MOST_CHILDREN: Final = 20_000
"""Children that are read of a run: more of them tell no more of an item."""
_LEAST_SECONDS: Final = 1e-4
"""What an item takes at least, where clocks saw nothing."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A run, as far as a plan needs it."""

    items: int
    children: int
    seconds: float
    """From its start to its end."""
    work_seconds: float
    """From the start of its first child to the end of its last."""
    child_seconds: float
    """Of a child, in the mean."""
    times: Times
    item_bytes: float
    read_items: int
    """Items that this was measured of."""
    run_again: float = 0.0
    """Share of the items that its first round ran again."""
    used_mb: int | None = None
    """Most memory that a function's process had; None where its batches didn't measure it."""

    def facts(self) -> dict[str, Fact]:
        """Return what a plan takes of it."""
        values: dict[str, Any] = {"items": self.items, "times": self.times, "item_bytes": self.item_bytes}
        values["run_again"] = self.run_again
        if self.used_mb is not None:
            values["used_mb"] = self.used_mb
        return {name: Fact(value, "measured") for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class Term:
    """One number of a run, predicted and measured."""

    name: str
    unit: str
    predicted: float
    measured: float

    @property
    def ratio(self) -> float | None:
        """How many times as much was measured as predicted; None where nothing was predicted."""
        return self.measured / self.predicted if self.predicted else None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        ratio = None if self.ratio is None else round(self.ratio, 3)
        numbers = {"predicted": round(self.predicted, 6), "measured": round(self.measured, 6), "ratio": ratio}
        return {"term": self.name, "unit": self.unit, **numbers}


class _Sums:
    def __init__(self) -> None:
        self.children = self.timed = self.items = self.bytes = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.child_seconds = 0.0
        self.of_item: list[float] = []
        self.measures: list[tuple[int, float, float, float]] = []
        """Items, seconds of all of them, median and p99 of batches that measured these."""
        self.used_mb: int | None = None

    def add(self, child: Child) -> None:
        record = child.record
        self.children += 1
        if record is None:
            return
        items = len(child.items()) if child.has_input else 0
        self.items += items
        self.bytes += len(str(record.get("Input", "")).encode())
        start, stop = _moment(record.get("StartDate")), _moment(record.get("StopDate"))
        if start is None or stop is None:
            return
        self.first = start if self.first is None else min(self.first, start)
        self.last = stop if self.last is None else max(self.last, stop)
        seconds = (stop - start).total_seconds()
        self.timed += 1
        self.child_seconds += seconds
        if items:
            self.of_item.append(max(seconds / items, _LEAST_SECONDS))
        measures = child.output.get("batchMeasures") if isinstance(child.output, dict) else None
        if isinstance(measures, dict) and measures.get("items"):
            self.measures.append((measures["items"], measures["seconds"], measures["median"], measures["p99"]))
            self.used_mb = max(filter(None, [self.used_mb, measures.get("memoryMB")]), default=None)

    def times(self) -> Times:
        if self.measures:
            return _of_measures(self.measures)
        return Times.measured(self.of_item)


def _of_measures(measures: Sequence[tuple[int, float, float, float]]) -> Times:
    mean = max(_LEAST_SECONDS, sum(measure[1] for measure in measures) / sum(measure[0] for measure in measures))
    middle = max(_LEAST_SECONDS, median(measure[2] for measure in measures))
    times = Times.of(middle, max(middle, median(measure[3] for measure in measures)))
    return times.scaled(mean / times.mean)


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None


def _children(run: RunHandle) -> Iterator[Child]:
    for place in scan.places(run):
        reader = scan.reader(run, place, report=lambda _: None)
        with errors(f"reading the results of {run.name!r}"):
            for file in scan.files(reader):
                if file.kind != "PENDING" and not file.earlier:
                    yield from reader.children(file)


def measure(run: RunHandle) -> Measured:
    """Return what a run tells a plan.

    Raises:
        NotReadyError: It hasn't ended, or its results tell nothing of its items.
        NotFoundError: AWS doesn't know it, or not any more.
        AwsError: AWS refused a call.
    """
    described = run.describe()
    if described.status == "RUNNING":
        raise NotReadyError(f"the run {run.name!r} is still running: a plan is made from one that has ended")
    maps = sorted(run.own_map_runs(), key=start_of)
    sums = _Sums()
    for child in islice(_children(run), _MOST_CHILDREN):
        sums.add(child)
    if not sums.of_item or sums.first is None or sums.last is None:
        raise NotReadyError(
            f"the results of {run.name!r} don't tell how long an item took: plan from another run, or give --items and "
            "--item-seconds"
        )
    first_rounds = [arn for arn, number in run.round_numbers(maps).items() if number == 1]
    again = sum(map_run.items.total for map_run in maps if map_run.arn in first_rounds)
    return Measured(
        items=maps[0].items.total if maps else sums.items,
        children=maps[0].children.total if maps else sums.children,
        seconds=described.seconds,
        work_seconds=(sums.last - sums.first).total_seconds(),
        child_seconds=sums.child_seconds / sums.timed,
        times=sums.times(),
        item_bytes=math.ceil(sums.bytes / max(1, sums.items)),
        read_items=sums.items,
        run_again=min(1.0, again / max(1, maps[0].items.total)) if maps else 0.0,
        used_mb=sums.used_mb,
    )


def compare(forecast: Forecast, run: Measured) -> list[Term]:
    """Return the terms of a plan beside what a run measured."""
    express = forecast.setting.express
    each = (
        express_children(1, seconds=run.child_seconds) if express else standard_children(1, states=forecast.work.states)
    )
    charges = [
        one for one in forecast.bill.charges if one.service == "Step Functions" and one.what != "states of the run"
    ]
    work = forecast.phases["ramp"] + forecast.phases["steady"] + forecast.phases["tail"]
    batches = max(1, forecast.children)
    predicted_child = forecast.work.items * forecast.work.item_times(forecast.setting).mean / batches
    terms = [
        ("time of the run", "s", forecast.p50, run.seconds),
        ("from the first child's start to the last one's end", "s", work, run.work_seconds),
        ("items", "", forecast.work.items, run.items),
        ("children", "", forecast.children, run.children),
        ("time of a child", "s", predicted_child, run.child_seconds),
        ("bytes of an item", "", forecast.work.item_bytes, run.item_bytes),
        ("starts and states of children", "USD", sum(one.dollars for one in charges), run.children * each.total),
    ]
    return [Term(name=name, unit=unit, predicted=one, measured=other) for name, unit, one, other in terms]
