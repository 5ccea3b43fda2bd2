"""Whether a run starts, by what it would take and cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _show
from cdk_distributed_map.runs.text import visible

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Forecast
    from cdk_distributed_map.runs import Client, Pipeline
    from cdk_distributed_map.runs.foresight.count import Counted


_POSITIVE: Final = click.FloatRange(min=0, min_open=True)
_OPTIONS: Final = {
    "--item-count": (
        click.IntRange(min=0),
        "N",
        "number of items. Default: as counted where they are, or in the latest run.",
    ),
    "--item-seconds": (_POSITIVE, "S", "seconds that an item takes. Default: as long as in the latest run."),
    "--max-cost": (_POSITIVE, "USD", "start nothing that costs more."),
    "--max-hours": (_POSITIVE, "H", "start nothing that takes longer in more than 1 of 10 cases."),
}


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--plan`` and what goes with it."""
    for name, (kind, metavar, words) in reversed(_OPTIONS.items()):
        command = click.option(name, type=kind, metavar=metavar, help=f"With --plan: {words}")(command)
    return click.option("--plan", "planning", is_flag=True, help="Say first what it takes and costs, and ask.")(command)


def agreed(
    client: Client,
    target: Pipeline,
    *,
    planning: bool,
    max_cost: float | None,
    max_hours: float | None,
    item_count: int | None,
    item_seconds: float | None,
    items: str | None,
    execution_input: Any,
) -> bool:
    """Return whether a run may start: it shows what it would take and cost, and asks the user, on standard error.

    Raises:
        click.UsageError: What a plan needs isn't given, or is given without one.
        click.ClickException: The answer is no.
    """
    if not planning:
        measured_options = {
            "--max-cost": max_cost,
            "--max-hours": max_hours,
            "--item-count": item_count,
            "--item-seconds": item_seconds,
        }
        if wrong := [name for name, value in measured_options.items() if value is not None]:
            raise click.UsageError(f"{wrong[0]} needs --plan")
        return True
    counted = None if item_count is not None else _counted(client, target, items, execution_input)
    forecast = _plan(client, target, item_count, item_seconds, counted)
    _show.say(forecast.summary(), err=True)
    problems = []
    if max_cost is not None and forecast.bill.total > max_cost:
        problems.append(f"it costs {forecast.bill.total:,.2f} USD, over {max_cost:,.2f}")
    if max_hours is not None and forecast.p90 > max_hours * 3_600:
        problems.append(f"it takes {forecast.p90 / 3_600:.2f} h, over {max_hours:g}")
    for problem in problems:
        _show.say(f"over the limit: {problem}", err=True)
    if not sys.stdin.isatty():
        if problems:
            _show.say("nothing was started: `distmap plan` shows settings that are cheaper or faster", err=True)
        return not problems
    if not click.confirm(visible(f"start {target.called}?"), err=True, default=not problems):
        message = "nothing was started"
        raise click.ClickException(message)
    return True


def _counted(client: Client, target: Pipeline, items: str | None, execution_input: Any) -> Counted | None:
    """Return how many items the run would have; None where that isn't known before it."""
    from cdk_distributed_map.runs import InputError  # noqa: PLC0415 - only a plan needs it
    from cdk_distributed_map.runs.foresight import count  # noqa: PLC0415 - likewise
    from cdk_distributed_map.runs.foresight.source import source_for  # noqa: PLC0415 - likewise

    if items == "-":
        raise click.UsageError("items on standard input can't be counted before they are read: give --item-count")
    try:
        source = source_for(target.asl_definition, {} if execution_input is None else execution_input, named=items)
    except InputError:
        if items is not None:
            raise
        return None  # the latest run may tell
    return count.count(client.aws, source)


def _plan(
    client: Client, target: Pipeline, items: int | None, seconds: float | None, counted: Counted | None
) -> Forecast:
    from cdk_distributed_map.runs import RunsError  # noqa: PLC0415 - only a plan needs it
    from cdk_distributed_map.runs.foresight.measured import measure  # noqa: PLC0415 - likewise

    facts: dict[str, Any] = {}
    if counted is not None:
        items, facts["item_bytes"] = counted.items, counted.item_bytes
    if items is None or seconds is None:
        try:
            latest = measure(client.run(target.arn, "latest"))
        except RunsError as error:
            message = f"give --item-count and --item-seconds, since no earlier run tells them: {error}"
            raise click.UsageError(message) from error
        items = latest.items if items is None else items
        facts = {"item_bytes": latest.item_bytes, **facts}
        if seconds is None:
            return target.plan(
                items=items,
                item_seconds=latest.times.quantile(0.5),
                item_p99=max(latest.times.quantile(0.5), latest.times.quantile(0.99)),
                **facts,
            )
    return target.plan(items=items, item_seconds=seconds, **facts)
