"""Charts of bars, as a page draws them: over time, the runs of a chain side by side, and of durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.amounts import seconds_text
from cdk_distributed_map.runs.report.timeline import Segment, aligned

if TYPE_CHECKING:
    from cdk_distributed_map.runs.report.figures import Figures

WIDTH: Final = 600.0
HEIGHT: Final = 140.0
_BARS: Final = 120
_GAP: Final = 10.0
_LEAST_LABEL: Final = 18.0
"""Percent of a chart's width that a label under it needs."""


@dataclass(frozen=True)
class Bar:
    """A bar in units of the drawing, which is 600 wide and 140 high."""

    left: float
    top: float
    width: float
    height: float
    kind: str
    """Class of the style."""
    says: str


@dataclass(frozen=True)
class Part:
    """A stretch of a chart: a run of a chain, or what comes after a gap."""

    share: float
    """Percent of the width."""
    label: str
    """Empty where there is no room."""
    says: str
    start: float
    """Where it begins in the drawing."""


@dataclass(frozen=True)
class Chart:
    """A chart."""

    title: str
    unit: str
    most: str
    bars: tuple[Bar, ...]
    parts: tuple[Part, ...]
    ends: tuple[str, str] | None = None
    """What stands at both ends below it, where it isn't one over time."""
    limit: float | None = None
    """Where a line is drawn, from the top; None where there is none."""
    limit_says: str = ""
    kinds: tuple[tuple[str, str], ...] = ()
    """Class and name of what is stacked."""


def over_time(runs: Sequence[Figures], *, limit: int | None) -> list[Chart]:
    """Return the charts over time of the runs of a chain, each run where it begins, without the time between them."""
    timed = [each for each in runs if each.timeline]
    if not timed:
        return []
    segments = aligned([each.timeline for each in timed], most=_BARS)
    placed = _placed(timed, segments)
    width = segments[0][0].width
    per = f"mean of {width:g} s"
    rates = {"succeeded": "ok", "did not succeed": "bad"}
    looked_at = sum(each.retries.children for each in timed)
    # Step Functions keeps a history of each Standard child, and has no list of what was throttled.
    of_whom = f", as {looked_at:,} of the slowest children tell" if looked_at else ""
    attempts = {"throttles": "bad", "other retries": "left", "failed invocations": "lost"}
    found = [_concurrency(placed, f"children at once ({per})", limit)]
    for title, unit, kinds in (
        ("Cold starts", f"in {width:g} s", {"cold starts": "bar"}),
        ("Throttles and retries", f"in {width:g} s{of_whom}", attempts),
    ):
        if any(name in segment.amounts for _, segment in placed for name in kinds):
            found.append(_stacked(title, unit, placed, kinds, per_second=False))
    return [_stacked("Throughput", f"items a second ({per})", placed, rates, per_second=True), *found]


_Placed = list[tuple[Part, Segment]]


def _placed(runs: Sequence[Figures], segments: Sequence[Sequence[Segment]]) -> _Placed:
    every = [(run, segment) for run, own in zip(runs, segments, strict=True) for segment in own]
    whole = sum(len(segment.levels) for _, segment in every)
    room = WIDTH - _GAP * (len(every) - 1)
    placed: _Placed = []
    left = 0.0
    for run, segment in every:
        size = room * len(segment.levels) / whole
        when = datetime.fromtimestamp(segment.start, UTC)
        says = f"{run.name}: {when:%Y-%m-%d %H:%M:%S} to {datetime.fromtimestamp(segment.end, UTC):%H:%M:%S} UTC"
        share = size / WIDTH * 100
        label = f"{when:%H:%M:%S}" if len(runs) == 1 else f"{run.name} · {when:%H:%M:%S}"
        placed.append((Part(share, label if share >= _LEAST_LABEL else "", says, left), segment))
        left += size + _GAP
    return placed


def _stacked(title: str, unit: str, placed: _Placed, kinds: Mapping[str, str], *, per_second: bool) -> Chart:
    def height(segment: Segment, name: str, number: int) -> float:
        amounts = segment.amounts.get(name)
        return 0.0 if amounts is None else amounts[number] / (segment.width if per_second else 1)

    most = max(
        sum(height(segment, name, number) for name in kinds)
        for _, segment in placed
        for number in range(len(segment.levels))
    )
    bars = []
    for part, segment in placed:
        for number in range(len(segment.levels)):
            top = HEIGHT
            for name, kind in kinds.items():
                value = height(segment, name, number)
                if value:
                    tall = value / most * HEIGHT
                    top -= tall
                    says = f"{_clock(segment, number)}: {short_number(value)} {name}{' a second' if per_second else ''}"
                    bars.append(_bar(part, segment, number, top=top, tall=tall, kind=kind, says=says))
    shown = tuple((kind, name) for name, kind in kinds.items() if any(bar.kind == kind for bar in bars))
    return Chart(title, unit, short_number(most), tuple(bars), _parts(placed), kinds=shown if len(kinds) > 1 else ())


def _concurrency(placed: _Placed, unit: str, limit: int | None) -> Chart:
    peak = max((level for _, segment in placed for level in segment.levels), default=0.0)
    shown = limit is not None and limit <= peak * 3
    most = max(peak, float(limit or 0) if shown else 0.0) or 1.0
    bars = tuple(
        _bar(
            part,
            segment,
            number,
            top=HEIGHT - level / most * HEIGHT,
            tall=level / most * HEIGHT,
            kind="bar",
            says=f"{_clock(segment, number)}: {short_number(level)} children at once",
        )
        for part, segment in placed
        for number, level in enumerate(segment.levels)
        if level
    )
    chart = Chart("Concurrency", unit, short_number(peak), bars, _parts(placed))
    if not shown or limit is None:
        return chart
    return replace(chart, limit=round(HEIGHT - limit / most * HEIGHT, 2), limit_says=f"MaxConcurrency {limit:,}")


def _parts(placed: _Placed) -> tuple[Part, ...]:
    return tuple(part for part, _ in placed)


def _bar(part: Part, segment: Segment, number: int, *, top: float, tall: float, kind: str, says: str) -> Bar:
    step = part.share / 100 * WIDTH / len(segment.levels)
    left = part.start + number * step
    return Bar(round(left, 2), round(top, 2), round(max(step * 0.86, 0.5), 2), round(tall, 2), kind, says)


def _clock(segment: Segment, number: int) -> str:
    return f"{datetime.fromtimestamp(segment.start + number * segment.width, UTC):%H:%M:%S}"


def of_durations(durations: Mapping[int, int]) -> Chart | None:
    """Return the chart of how long children took; None where it isn't known."""
    if not durations:
        return None
    powers = range(min(durations), max(durations) + 1)
    most = max(durations.values())
    step = WIDTH / len(powers)
    bars = []
    for number, power in enumerate(powers):
        count = durations.get(power, 0)
        says = f"up to {seconds_text(2**power / 1000)}: {count:,} children"
        tall = round(count / most * HEIGHT, 2)
        bars.append(Bar(round(number * step, 2), round(HEIGHT - tall, 2), round(step * 0.86, 2), tall, "bar", says))
    ends = (f"up to {seconds_text(2 ** powers[0] / 1000)}", f"up to {seconds_text(2 ** powers[-1] / 1000)}")
    return Chart("Durations", "children", short_number(most), tuple(bars), (), ends)


def short_number(number: float) -> str:
    """Return a number with one decimal, or as many as a smaller one needs not to be shown as 0."""
    return f"{number:,.1f}".removesuffix(".0") if number >= 1 else f"{number:.1g}"
