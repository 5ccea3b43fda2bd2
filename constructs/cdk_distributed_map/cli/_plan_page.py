"""A plan as one HTML page, which needs nothing but itself to be opened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import jinja2

from cdk_distributed_map.plan import Alternative, Forecast, Inputs, dollars_text, seconds_text

if TYPE_CHECKING:
    from cdk_distributed_map.cli._plan_choices import Choices

_WIDTH: Final = 600
_HEIGHT: Final = 200
_EDGE: Final = 10


def render(inputs: Inputs, forecast: Forecast, others: Choices) -> str:
    """Return the page."""
    source = resources.files("cdk_distributed_map.cli").joinpath("plan.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"seconds": seconds_text, "dollars": dollars_text}
    times, costs = (
        [getattr(alternative, name) for alternative in others.shown] or [0.0] for name in ("seconds", "dollars")
    )
    return environment.from_string(source).render(
        name=inputs.name,
        found=forecast,
        others=others,
        inputs=inputs.listed,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        total=max(sum(forecast.phases.values()), 1e-9),
        running=_running(forecast.concurrency, forecast.p50),
        points=_points(others.shown),
        fastest=min(times),
        slowest=max(times),
        cheapest=min(costs),
        dearest=max(costs),
    )


def _running(moments: Sequence[tuple[float, int]], end: float) -> str:
    """Return the corners of the area below the number of children over time."""
    most = max((number for _, number in moments), default=0)
    if not most or end <= 0:
        return ""
    corners, before = [(0.0, float(_HEIGHT))], float(_HEIGHT)
    for when, number in moments:
        across, up = min(_WIDTH, when / end * _WIDTH), _HEIGHT * (1 - number / most)
        corners += [(across, before), (across, up)]
        before = up
    corners += [(corners[-1][0], float(_HEIGHT))]
    return " ".join(f"{across:.1f},{up:.1f}" for across, up in corners)


def _points(shown: Sequence[Alternative]) -> list[dict[str, Any]]:
    """Return where each setting is, by the logarithms of its time and its cost."""
    times = [math.log(max(one.seconds, 1e-9)) for one in shown]
    costs = [math.log(max(one.dollars, 1e-9)) for one in shown]
    return [
        {
            "x": f"{_place(time, times, _WIDTH):.1f}",
            "y": f"{_HEIGHT - _place(cost, costs, _HEIGHT):.1f}",
            "now": one.is_current,
            "text": f"batches of {one.setting.batch:,}, {'Express' if one.setting.express else 'Standard'}, "
            f"{one.setting.concurrency:,} at once: {seconds_text(one.seconds)}, {dollars_text(one.dollars)}",
        }
        for one, time, cost in zip(shown, times, costs, strict=True)
    ]


def _place(value: float, values: Sequence[float], size: int) -> float:
    low, high = min(values), max(values)
    share = (value - low) / (high - low) if high > low else 0.5
    return _EDGE + share * (size - 2 * _EDGE)
