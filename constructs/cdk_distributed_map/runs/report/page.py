"""One HTML page about a run and its retries, which needs nothing but itself to be opened.

The numbers come from the ledger, from one more pass over the records of the children, from the logs of the functions
they call, and from the histories of the slowest of them. All of it is kept in bounded memory, whatever the run's size.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.amounts import dollars_text, seconds_text
from cdk_distributed_map.arns import is_arn
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.descriptions import start_of
from cdk_distributed_map.runs.errors import NotReadyError, RunsError
from cdk_distributed_map.runs.files import chain
from cdk_distributed_map.runs.ledger import reconciliation
from cdk_distributed_map.runs.report import (
    before,
    bounds,
    charts,
    costs,
    figures,
    functions,
    planned,
    retries,
    settings,
)
from cdk_distributed_map.runs.report.before import Row
from cdk_distributed_map.runs.report.bounds import Share
from cdk_distributed_map.runs.report.costs import Cost
from cdk_distributed_map.runs.report.figures import Figures
from cdk_distributed_map.runs.report.functions import Function
from cdk_distributed_map.runs.report.item_times import ItemTimes
from cdk_distributed_map.runs.report.log_lines import Lines
from cdk_distributed_map.runs.text import counted, visible

if TYPE_CHECKING:
    import jinja2

    from cdk_distributed_map.prices import Prices
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.foresight.measured import Term
    from cdk_distributed_map.runs.ledger.of_run import Ledger

_SHOWN: Final = 10
_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_INPUT_CHARACTERS: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything on the page."""

    run: str
    arn: str
    link: str
    pipeline: str
    """By what it was found."""
    runs: tuple[Figures, ...]
    """The run and its retries, in order."""
    costs: tuple[Cost, ...]
    """What each of them cost."""
    price: Prices
    ledger: Ledger
    times: ItemTimes
    """Those of the items of all runs."""
    functions: tuple[Function, ...]
    settings: tuple[tuple[str, str], ...]
    shares: tuple[tuple[Share, ...], ...]
    """Where the time of each run went."""
    run_before: str | None
    """Name of the run that this one is compared with; None where there is none."""
    comparison: tuple[Row, ...]
    predicted: tuple[Term, ...]
    """What a plan says of the run itself, beside what was measured; nothing where none can be made of it."""
    express: bool

    @property
    def first(self) -> Figures:
        """The run itself, without its retries."""
        return self.runs[0]

    @property
    def last(self) -> Figures:
        """The last run of the chain."""
        return self.runs[-1]

    @property
    def parts(self) -> list[tuple[Figures, Cost, tuple[Share, ...]]]:
        """Each run of the chain with its cost, and where its time went."""
        return list(zip(self.runs, self.costs, self.shares, strict=True))

    @property
    def children(self) -> int:
        """How many children there were in all."""
        return sum(each.children for each in self.runs)

    @property
    def dollars(self) -> float:
        """What the chain cost, as far as it is known."""
        return sum(each.total for each in self.costs)

    @property
    def lambda_dollars(self) -> float | None:
        """What the worker cost, or at most; None where that isn't known."""
        dollars = [each.functions for each in self.costs if each.functions is not None]
        return sum(dollars) if len(dollars) == len(self.costs) else None

    @property
    def quantiles(self) -> dict[str, float]:
        """The times of the items, by name; nothing where they aren't known."""
        seconds = {name: self.times.quantile(share) for name, share in _QUANTILES.items()}
        known_seconds = {name: value for name, value in seconds.items() if value is not None}
        return {**known_seconds, "slowest": self.times.most} if known_seconds else {}

    def commands(self) -> list[tuple[str, str]]:
        """Return what to do next, and the command for it."""
        which = f"{shlex.quote(self.pipeline)} {shlex.quote(self.run)}"
        listed = []
        if self.ledger.has_failures:
            # Items around those of nested maps that did not succeed have succeeded themselves.
            nested = "" if self.ledger.unsuccessful else "--nested "
            listed += [
                ("run what did not succeed again", f"distmap retry {which} {nested}--watch"),
                ("every item that did not succeed", f"distmap failures {which}"),
            ]
        if self.ledger.captured_from == "unknown":
            return [*listed, ("its log lines that tell of errors", f"distmap logs {which} --errors")]
        listed += [
            ("the results", f"distmap results {which} --output {shlex.quote(f'{self.run}.jsonl')}"),
            ("the account of every item", f"distmap ledger {which}"),
        ]
        slowest = next((each.arn for run in self.runs for each in run.slowest if each.arn), None)
        if slowest is not None and not self.express:
            listed.append(("the log of the slowest child", f"distmap logs {which} --child {shlex.quote(slowest)}"))
        described = self.first.described
        if described is not None and isinstance(described.input, dict) and "items" not in described.input:
            text = json.dumps(described.input)
            if len(text) <= _INPUT_CHARACTERS:
                again = f"distmap run {shlex.quote(self.pipeline)} --input {shlex.quote(text)} --watch"
                listed.append(("another run with the same input", again))
        return listed

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        described = self.first.described
        slowest = sorted((each for run in self.runs for each in run.slowest), reverse=True)[:_SHOWN]
        at_most = self.lambda_dollars
        return {
            "run": self.run,
            "arn": self.arn,
            "status": self.ledger.status,
            "seconds": None if described is None else described.seconds,
            "ledger": self.ledger.to_json(),
            "children": self.children,
            "childSeconds": round(sum(each.seconds for each in self.runs), 3),
            "childrenWithoutTimes": sum(each.untimed for each in self.runs),
            "stepFunctionsDollars": round(sum(each.step_functions for each in self.costs), 9),
            "lambdaDollarsAtMost": None if at_most is None else round(at_most, 9),
            "runs": [_run_json(*each) for each in self.parts],
            "rounds": [_round_json(each) for each in self.first.rounds],
            "itemSeconds": {name: float(f"{value:.3g}") for name, value in self.quantiles.items()} or None,
            "slowestItems": [
                {"seconds": each.seconds, "index": each.index, "source": each.source, "child": each.child}
                for each in sorted(self.times.slowest, reverse=True)
            ],
            "slowest": [{"seconds": each.seconds, "child": each.arn} for each in slowest],
            "settings": dict(self.settings),
            "runBefore": self.run_before,
            "predicted": [each.to_json() for each in self.predicted],
            "comparison": {row.name: {"now": row.now, "before": row.before} for row in self.comparison},
        }


def _run_json(run: Figures, cost: Cost, shares: tuple[Share, ...]) -> dict[str, Any]:
    calls, again = run.invocations, run.retries
    invocations = {
        "number": calls.number,
        "failed": calls.failed,
        "coldStarts": calls.cold,
        "mostMemoryMB": calls.most_mb,
        "nearMemory": calls.near_memory,
        "nearTimeout": calls.near_timeout,
        "complete": calls.complete,
    }
    return {
        "run": run.name,
        "status": run.status,
        "seconds": run.wall,
        "children": run.children,
        "items": run.items,
        "dollars": round(cost.total, 9),
        "workerDollarsAtMost": cost.at_most,
        "invocations": None if calls.why is not None else invocations,
        "retries": None
        if again.why is not None
        else {"children": again.children, "byError": again.errors, "throttled": again.throttled},
        "boundBy": None if not shares else bounds.binding(shares).name,
        "time": {each.name: round(each.seconds, 3) for each in shares},
    }


def _round_json(round_: figures.Round) -> dict[str, Any]:
    return {
        "number": round_.number,
        "status": round_.map_run.status,
        "items": round_.map_run.items.total,
        "succeeded": round_.map_run.items.succeeded,
        "waitedSeconds": round_.waited,
        "seconds": round_.seconds,
    }


def gather(run: RunHandle) -> RunReport:
    """Read everything that the report of a run and its retries shows.

    Raises:
        NotReadyError: The results are not there yet.
        AwsError: AWS refused a call.
    """
    root = chain.root_of(run)
    ledger = reconciliation.make_ledger(root)
    handles = [root, *(link.run for link in chain.links_of(root))]
    known_functions = functions.functions_of(root)
    express = root.pipeline.definition.item_file.express
    runs = []
    for handle in handles:
        of_run = _figures(handle)
        figures.read(of_run, handle)
        _look_closer(of_run, handle, known_functions, express=express)
        runs.append(of_run)
    times = ItemTimes()
    for each in runs:
        times.merge(each.times)
    price = costs.prices_of(arns.parse(root.arn).region)
    cost = partial(costs.cost_of, functions=known_functions, price=price, express=express)
    each_cost = tuple(map(cost, runs))
    other, rows = _compared(root, runs[0], {each.name for each in handles}, cost=cost)
    return RunReport(
        run=root.name,
        arn=root.arn,
        link=arns.console_url(root.arn),
        pipeline=root.pipeline.called,
        runs=tuple(runs),
        costs=each_cost,
        price=price,
        ledger=ledger,
        times=times,
        functions=tuple(known_functions),
        settings=tuple(settings.settings_of(root, runs[0], known_functions)),
        shares=tuple(tuple(bounds.shares(each)) for each in runs),
        run_before=other,
        comparison=tuple(rows),
        predicted=planned.terms_of(root, each_cost[0], price),
        express=express,
    )


def _figures(run: RunHandle) -> Figures:
    """Return what AWS says of a run, and no figures yet."""
    described = run.describe_if_known()
    maps = () if described is None else tuple(sorted(run.own_map_runs(), key=start_of))
    rounds = tuple(figures.rounds_of(maps, run.round_numbers(maps)))
    return Figures(name=run.name, arn=run.arn, described=described, maps=maps, rounds=rounds)


def _look_closer(of_run: Figures, run: RunHandle, known_functions: list[Function], *, express: bool) -> None:
    """Add what logs and histories tell of a run whose children are known."""
    described = of_run.described
    if described is None:
        of_run.invocations.why = of_run.retries.why = "AWS has forgotten the run, 90 days after its end"
        return
    if not any(each.items.total for each in of_run.maps):
        of_run.invocations.why = of_run.retries.why = "no item of it was tried"
        return
    lines = Lines(run, described.started, described.stopped)
    if known_functions:
        of_run.invocations = functions.invocations(lines, known_functions, of_run.timeline, while_=_span(of_run))
    else:
        of_run.invocations.why = "its children call no function that can be described"
    if express:
        of_run.retries = retries.retries_in_log(lines, of_run.timeline)
    else:
        children = [each.arn for each in of_run.slowest if is_arn(each.arn)]
        of_run.retries = retries.retries(run, children, of_run.timeline)


def _span(of_run: Figures) -> tuple[float, float]:
    """Return when the first map of a run began and its last one ended, in seconds since the epoch."""
    starts = [each.started for each in of_run.maps if each.started is not None]
    stops = [each.stopped or datetime.now(UTC) for each in of_run.maps]
    return min(starts, default=datetime.max.replace(tzinfo=UTC)).timestamp(), max(stops).timestamp()


def _compared(
    root: RunHandle, now: Figures, names: set[str], *, cost: Callable[[Figures], Cost]
) -> tuple[str | None, list[Row]]:
    """Return the run before, and what has changed since; what can't be read of it is left out."""
    try:
        other = before.run_before(root, now, names)
        if other is None:
            return None, []
        of_other = _figures(other)
        figures.read(of_other, other, most_bytes=before.MOST_BYTES)
    except (NotReadyError, RunsError):
        return None, []
    # Both by the same measure: the log of the run before isn't read.
    of_other.invocations.why = "left out"
    same = replace(now, invocations=of_other.invocations)
    return other.name, before.compare(root, other, (now, of_other), (cost(same), cost(of_other)))


@cache
def _template() -> tuple[jinja2.Template, str]:
    """Return the page's template and style."""
    import jinja2  # noqa: PLC0415 - only a page needs it, and it takes longer to import than the rest

    folder = resources.files("cdk_distributed_map.runs.report")
    source, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("report.html.j2", "report.css"))
    environment = jinja2.Environment(
        finalize=_shown, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["seconds"] = seconds_text
    environment.filters["dollars"] = dollars_text
    environment.filters["pretty"] = _pretty
    environment.globals["counted"] = counted
    environment.globals["url"] = lambda arn: arns.console_url(arn) if is_arn(arn) else ""
    return environment.from_string(source), style


def render(report: RunReport) -> str:
    """Return the page."""
    template, style = _template()
    limit = max((each.max_concurrency for run in report.runs for each in run.maps), default=0)
    slowest = sorted((each for run in report.runs for each in run.slowest), reverse=True)[:_SHOWN]
    durations: dict[int, int] = {}
    for run in report.runs:
        for power, count in run.durations.items():
            durations[power] = durations.get(power, 0) + count
    drawn = [*charts.over_time(report.runs, limit=limit or None), charts.of_durations(durations)]
    return template.render(
        report=report,
        ledger=report.ledger,
        style=style,
        made=datetime.now(UTC),
        charts=[chart for chart in drawn if chart is not None],
        bars=_bars(report.ledger),
        slowest=slowest,
        near=(functions.NEAR_MEMORY, functions.NEAR_TIMEOUT),
        binding=bounds.binding,
        left_out=costs.left_out(report.costs, express=report.express),
    )


def _shown(value: Any) -> Any:
    """Return what a page shows for a value: a text of data in which nothing turns the direction of what follows."""
    return visible(value) if type(value) is str else value  # Markup is the page's own


def _bars(ledger: Ledger) -> list[tuple[str, int, float]]:
    """Return name, number and share of each kind of item."""
    names = ("succeeded", "failed", "unprocessed", "pending", "missing")
    whole = max(ledger.captured, 1)
    return [(name, getattr(ledger, name), getattr(ledger, name) * 100 / whole) for name in names]


def _pretty(value: Any) -> str:
    """Return JSON as people read it, cut off where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    most = 4_000
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
