"""A plan: time as a range, cost, and what bounds them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from cdk_distributed_map.amounts import dollars_text, seconds_text
from cdk_distributed_map.plan._bill import Bill, make_bill
from cdk_distributed_map.plan._events import Trace, simulate
from cdk_distributed_map.plan._platform import Platform, Range
from cdk_distributed_map.plan._work import Setting, Work, problems
from cdk_distributed_map.prices import Prices
from distmap import limits

PHASES: Final = ("reading", "ramp", "steady", "tail", "end")
_TRIALS: Final = 21
_TRIALS_OF_BLOCKS: Final = 11
_EVENTS: Final = 20_000
"""Children up to which each is an event of every trial."""
_FEW_EVENTS: Final = 5_000
_BARELY: Final = 0.02
"""Share of the time that a limit must cost to be listed."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What holds a run back.

    .. versionadded:: 0.1.0
    """

    name: str
    text: str
    remedy: str
    seconds: float
    """What the run would take less without it, in the median."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run is expected to take and cost.

    .. versionadded:: 0.1.0
    """

    work: Work
    setting: Setting
    children: int
    p10: float
    """Seconds that 1 of 10 runs takes at most."""
    p50: float
    p90: float
    phases: dict[str, float]
    """Seconds of each phase in the median run: reading until the first child, the ramp, the steady part, the tail of
    the last children, the end of the Map Run with the account."""
    peak: int
    """Children at once at most."""
    throttled: int
    """Invocations that Lambda refuses in the median run."""
    bill: Bill
    limits: tuple[Limit, ...]
    """What binds, and what binds next without it."""
    concurrency: tuple[tuple[float, int], ...]
    """Seconds from the start, and children that run then."""

    def summary(self) -> str:
        """Return it in one line, for people."""
        time = f"{seconds_text(self.p50)} (p10 {seconds_text(self.p10)}, p90 {seconds_text(self.p90)})"
        bound = f"; what binds: {self.limits[0].text}; to change that: {self.limits[0].remedy}" if self.limits else ""
        items = f"{self.work.items:,} item{'' if self.work.items == 1 else 's'}"
        children = "1 child" if self.children == 1 else f"{self.children:,} children"
        return f"{items} in {children} take about {time} and cost about {dollars_text(self.bill.total)}{bound}"

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            "items": self.work.items,
            "setting": dataclasses.asdict(self.setting),
            "children": self.children,
            "seconds": {"p10": round(self.p10, 1), "p50": round(self.p50, 1), "p90": round(self.p90, 1)},
            "phases": {name: round(seconds, 1) for name, seconds in self.phases.items()},
            "peakConcurrency": self.peak,
            "throttled": self.throttled,
            "dollars": round(self.bill.total, 6),
            "pricesAsOf": self.bill.as_of,
            "charges": [
                {**dataclasses.asdict(entry), "dollars": round(entry.dollars, 9)} for entry in self.bill.charges
            ],
            "limits": [dataclasses.asdict(entry) for entry in self.limits],
            "concurrency": [[round(when, 1), running] for when, running in self.concurrency],
        }


def forecast(
    work: Work,
    setting: Setting,
    *,
    platform: Platform | None = None,
    prices: Prices | None = None,
    seed: int = 0,
    trials: int | None = None,
    refuses: bool = True,
) -> Forecast:
    """Return what a run is expected to take and cost.

    .. versionadded:: 0.1.0

    Args:
        work: What is to be done.
        setting: The settings that it is done with.
        platform: Quotas and speeds. Default: those of us-east-1.
        prices: Prices. Default: those of us-east-1.
        seed: Seed of the simulation: the same one gives the same times. Cost doesn't depend on it.
        trials: Runs that are simulated. Default: 21, or 11 of more children than 20,000.
        refuses: Whether a run that AWS would refuse, or end, is an error; of one that there was, it is known better.

    Raises:
        ValueError: AWS would refuse the run, or end it.
    """
    if refuses and (refused := problems(work, setting)):
        raise ValueError("; ".join(refused))
    platform = Platform() if platform is None else platform
    if trials is None:
        trials = _TRIALS if work.children(setting) <= _EVENTS else _TRIALS_OF_BLOCKS
    traces = sorted((_trial(work, setting, platform, seed, number) for number in range(trials)), key=_end_of)
    median = traces[len(traces) // 2]
    return Forecast(
        work=work,
        setting=setting,
        children=work.children(setting),
        p10=_quantile(traces, 0.1),
        p50=median.ended,
        p90=_quantile(traces, 0.9),
        phases=_phases(median),
        peak=round(median.peak),
        throttled=round(median.throttled),
        bill=make_bill(work, setting, platform=platform, price=Prices() if prices is None else prices),
        limits=tuple(_binding(work, setting, platform.likely(), seed)),
        concurrency=tuple(median.moments),
    )


def seconds_of(work: Work, setting: Setting, platform: Platform, *, seed: int = 0, events: int = _FEW_EVENTS) -> float:
    """Return what a run takes where each speed is in the middle of its range.

    .. versionadded:: 0.1.0
    """
    return simulate(work, setting, platform.likely(), rng=_chance(seed), most_events=events).ended


def _chance(seed: int | str) -> Random:
    return Random(seed)  # noqa: S311 - it simulates, and keeps no secret


def _trial(work: Work, setting: Setting, platform: Platform, seed: int, number: int) -> Trace:
    # Each trial has its own chance, the same for every setting: settings are compared under the same weather.
    rng = _chance(f"{seed}:{number}")
    return simulate(work, setting, platform.drawn(rng), rng=rng, most_events=_EVENTS)


def _end_of(trace: Trace) -> float:
    return trace.ended


def _quantile(traces: list[Trace], share: float) -> float:
    return traces[min(len(traces) - 1, max(0, round(share * (len(traces) - 1))))].ended


def _phases(trace: Trace) -> dict[str, float]:
    moments = [0.0, trace.begun, trace.full, trace.all_begun, trace.worked, trace.ended]
    for place in range(1, len(moments)):
        moments[place] = max(moments[place], moments[place - 1])
    return {name: moments[place + 1] - moments[place] for place, name in enumerate(PHASES)}


# -- what binds: the limit without which the run would be shortest


def _binding(work: Work, setting: Setting, platform: Platform, seed: int) -> list[Limit]:
    binding: list[Limit] = []
    relaxed = (work, setting, platform)
    whole = before = simulate(*relaxed, rng=_chance(seed), most_events=_FEW_EVENTS).ended
    for _ in range(2):
        best: tuple[float, float, str, tuple[Work, Setting, Platform]] | None = None
        for name, without in _relaxed(*relaxed):
            if any(limit.name == name for limit in binding):
                continue
            ended = simulate(*without, rng=_chance(seed), most_events=_FEW_EVENTS).ended
            saved = before - ended
            if saved > _BARELY * whole and (best is None or saved > best[0]):
                best = saved, ended, name, without
        if best is None:
            break
        text, remedy = _words(best[2], work, setting, platform)
        binding.append(Limit(name=best[2], text=text, remedy=remedy, seconds=best[0]))
        _, before, _, relaxed = best
    return binding


def _relaxed(work: Work, setting: Setting, platform: Platform) -> list[tuple[str, tuple[Work, Setting, Platform]]]:
    """Return the inputs without one of their limits each."""
    free, none = Range(1e12, 1e12), Range(0.0, 0.0)
    on, of = dataclasses.replace, []
    reading = on(platform, rows=free, listed=free, captured=free, file_bytes=1e18)
    of.append(("reading", (work, setting, reading)))
    starts = on(platform, standard_starts=Range(1e9, 1e9), express_starts=Range(1e9, 1e9))
    of.append(("starts", (work, setting, starts)))
    of.append(("transitions", (work, setting, on(platform, transitions=1e12))))
    if setting.concurrency < limits.MAX_CONCURRENT_CHILDREN:
        most = on(setting, concurrency=limits.MAX_CONCURRENT_CHILDREN)
        # What is reserved for as many children grows with them.
        is_reserved = work.reserved is not None and work.reserved >= setting.concurrency * work.map_runs_at_once
        of.append(("concurrency", (on(work, reserved=None) if is_reserved else work, most, platform)))
    if work.calls_function:
        allowed = on(platform, account_concurrency=10**9, scaling_step=10**9)
        of.append(("function", (on(work, reserved=None), setting, allowed)))
        of.append(("cold starts", (work, setting, on(platform, cold_seconds=none))))
    even = on(work, times=on(work.times, variance=0.0, sample=()))
    of.append(("stragglers", (even, setting, platform)))
    fixed = on(platform, start_seconds=none, end_seconds=none)
    of.append(("fixed seconds", (work, setting, fixed)))
    of.append(("children", (work, setting, on(platform, child_seconds=none))))
    return of


def _words(name: str, work: Work, setting: Setting, platform: Platform) -> tuple[str, str]:
    kind = "Express" if setting.express else "Standard"
    rate = platform.express_starts.middle if setting.express else platform.standard_starts.middle
    fixed = platform.start_seconds.middle + platform.end_seconds.middle
    allowed = min(platform.account_concurrency, work.reserved or platform.account_concurrency)
    whose = "the function's reserved concurrency" if work.reserved == allowed else "the account's Lambda concurrency"
    larger = math.ceil(setting.batch * 2)
    express = "" if setting.express else ", or Express children where batches take under 5 minutes"
    reading = {
        "listing": (f"a Map Run lists {platform.listed.middle:,.0f} objects a second", "read an S3 inventory"),
        "captured": (f"items are captured at {platform.captured.middle:,.0f} a second", "reuse a run's item file"),
    }.get(
        work.source,
        (f"a Map Run reads {platform.rows.middle:,.0f} rows a second", "share the items out to several maps"),
    )
    words = {
        "reading": reading,
        "starts": (
            f"a Map Run starts {rate:,.0f} {kind} children a second",
            f"larger batches, such as {larger:,} items{express}",
        ),
        "transitions": (
            f"the account makes {platform.transitions:,.0f} state transitions a second",
            "larger batches, Express children, or a higher quota of StateTransition",
        ),
        "concurrency": (
            f"the map's concurrency of {setting.concurrency:,}",
            "raise max_concurrency, and the worker's reserved concurrency with it",
        ),
        "function": (f"{whose} of {allowed:,}, and how fast Lambda adds to it", "raise it, or take fewer children"),
        "cold starts": (
            f"each new environment takes {platform.cold_seconds.middle:g} s to start",
            "import less, or raise the batch size",
        ),
        "stragglers": ("a few slow batches keep the run waiting", "smaller batches, or split slow items"),
        "fixed seconds": (
            f"each Map Run takes about {fixed:g} s to start and end",
            "run more items in one Map Run" if work.map_runs > 1 else "nothing: it is Step Functions' own time",
        ),
        "children": (f"each child takes {platform.child_seconds.middle:g} s beside its work", "larger batches"),
    }
    return words[name]
