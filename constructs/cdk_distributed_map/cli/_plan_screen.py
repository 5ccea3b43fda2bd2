"""A plan as a terminal shows it: one screen of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.plan import changes, dollars_text, seconds_text
from cdk_distributed_map.runs.text import counted

if TYPE_CHECKING:
    from cdk_distributed_map.cli._plan_choices import Choices
    from cdk_distributed_map.plan import Bill, Forecast, Input

COLUMNS: Final = 80
_LABEL: Final = 10
_BAR: Final = COLUMNS - _LABEL
_LETTERS: Final = {"reading": "·", "ramp": "/", "steady": "█", "tail": "\\", "end": "·"}
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_MOST_CHARGES: Final = 8


def lines(name: str, forecast: Forecast, inputs: Sequence[Input]) -> list[str]:
    """Return the lines of a plan, none of them longer than 80 columns."""
    kind = "Express" if forecast.setting.express else "Standard"
    children = counted(forecast.children, "child").replace("childs", "children")
    head = f"{name}: {counted(forecast.work.items, 'item')} in {children}, {kind}, of up to {forecast.setting.batch:,}"
    return [
        head[:COLUMNS],
        "",
        *_time(forecast),
        "",
        *_cost(forecast.bill),
        "",
        *_limits(forecast),
        "",
        *_inputs(inputs),
    ]


def alternatives(others: Choices) -> list[str]:
    """Return the lines of other settings."""
    if not others.shown:
        return []
    lines = [
        "",
        _labelled("settings", f"{'batch':>9}  {'children':<9}{'at once':>8}{'memory':>8}{'time':>10}{'cost':>12}"),
    ]
    for alternative in others.shown:
        kind, setting = "Express" if alternative.setting.express else "Standard", alternative.setting
        note = "  now" if alternative.is_current else "  best" if alternative == others.best else ""
        lines.append(
            _labelled(
                "",
                f"{setting.batch:>9,}  {kind:<9}{setting.concurrency:>8,}{setting.memory_mb:>8,}"
                f"{seconds_text(alternative.seconds):>10}{dollars_text(alternative.dollars):>12}{note}",
            )
        )
    if others.best is not None and not others.best.is_current:
        time, cost = seconds_text(others.best.seconds), dollars_text(others.best.dollars)
        best = f"best by {others.objective}: {time}, {cost}; change"
        lines += [_labelled("", best), *(f"    {line}" for line in changes(others.best.setting, others.current))]
    return lines


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"[:COLUMNS].rstrip()


def _wrapped(label: str, text: str) -> Iterator[str]:
    import textwrap  # noqa: PLC0415 - only people need it

    for number, line in enumerate(textwrap.wrap(text, COLUMNS - _LABEL)):
        yield _labelled("" if number else label, line)


def _time(forecast: Forecast) -> Iterator[str]:
    yield _labelled(
        "time",
        f"p50 {seconds_text(forecast.p50)}   p10 {seconds_text(forecast.p10)}   p90 {seconds_text(forecast.p90)}",
    )
    yield _labelled("", "  ".join(f"{name} {seconds_text(seconds)}" for name, seconds in forecast.phases.items()))
    yield _labelled("phases", bar(forecast.phases, _BAR))
    chart = running(forecast.concurrency, forecast.p50, _BAR)
    yield _labelled("children", chart)
    throttled = f", {forecast.throttled:,} invocations throttled" if forecast.throttled else ""
    yield _labelled("", f"{forecast.peak:,} at once at most{throttled}")


def bar(phases: dict[str, float], width: int) -> str:
    """Return phases side by side, each with its first letter where it has room."""
    total = sum(phases.values())
    if total <= 0:
        return ""
    text, done = "", 0.0
    for name, seconds in phases.items():
        done += seconds
        part = _LETTERS[name] * (round(done / total * width) - len(text))
        room = len(part) - len(name) - 2
        text += part if room < 0 else f"{part[: room // 2]} {name} {part[room // 2 + len(name) + 2 :]}"
    return text


def running(moments: Sequence[tuple[float, int]], end: float, width: int) -> str:
    """Return how many children run over time, as a line of bars."""
    most = max((number for _, number in moments), default=0)
    if not most or end <= 0:
        return ""
    text, place, now = "", 0, 0
    for column in range(width):
        until, peak = (column + 1) * end / width, now
        while place < len(moments) and moments[place][0] < until:
            now = moments[place][1]
            peak = max(peak, now)
            place += 1
        text += _LEVELS[math.ceil(peak / most * (len(_LEVELS) - 1))]
    return text.rstrip()


def _cost(bill: Bill) -> Iterator[str]:
    yield _labelled("cost", f"{dollars_text(bill.total)}   (prices of {bill.as_of}, free tiers left out)")
    for number, (service, amount) in enumerate(bill.by_service().items()):
        del number
        yield _labelled("", f"{service:<18}{dollars_text(amount):>12}")
        for charge in bill.charges:
            if charge.service == service and charge.dollars >= 0.005 * bill.total:
                quantity = f"{charge.quantity:,.0f}" if charge.quantity >= 100 else f"{charge.quantity:.3g}"
                yield _labelled("", f"  {quantity} {charge.unit} x ${charge.unit_price:.10g}  {charge.what}")


def _limits(forecast: Forecast) -> Iterator[str]:
    if not forecast.limits:
        yield _labelled("binds", "nothing: its work alone takes that long")
    for number, limit in enumerate(forecast.limits):
        yield from _wrapped("then" if number else "binds", f"{limit.text} (costs {seconds_text(limit.seconds)})")
        yield from _wrapped("", f"-> {limit.remedy}")


def _inputs(inputs: Sequence[Input]) -> Iterator[str]:
    """Yield the inputs in two columns, by where they come from."""
    cells = [f"{entry.name}: {entry.text} ({entry.origin})" for entry in inputs]
    half = (COLUMNS - _LABEL) // 2
    row, label = "", "inputs"
    for cell in cells:
        wide = len(cell) > half - 1
        if row and (wide or len(row) > half):
            yield _labelled(label, row.rstrip())
            row, label = "", ""
        if wide:
            yield _labelled(label, cell)
            label = ""
        else:
            row += f"{cell:<{half}}"
            if len(row) > half:
                yield _labelled(label, row.rstrip())
                row, label = "", ""
    if row:
        yield _labelled(label, row.rstrip())
