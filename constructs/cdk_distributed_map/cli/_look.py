# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that look at runs as AWS knows them."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _options, _show
from cdk_distributed_map.runs.text import counted

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, MapRun, Pipeline, RunDescription, RunSummary

_MAP_COLUMNS: Final = (
    "status",
    "total",
    "succeeded",
    "failed",
    "timed out",
    "aborted",
    "running",
    "pending",
    "children",
)
_MAPS_SIDE_BY_SIDE: Final = 3
_TABLE_COLUMNS: Final = 110
"""Width of a terminal that has room for the table of runs."""
_COUNTED_AT_ONCE: Final = 40
"""Runs whose counts are asked for without a pause: under half of what ListMapRuns allows at once."""
_COUNT_SECONDS: Final = 2.0
_STATUSES = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]


@click.command("list")
@click.argument("pipeline")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only runs of this status.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="How many, latest first.")
@click.option("--counts/--no-counts", default=True, show_default=True, help="Count items: two calls for each run.")
@_options.aws_options
def list_(client: Client, pipeline: str, *, status: str | None, limit: int, counts: bool, as_json: bool) -> int:
    """List the runs of a pipeline, latest first.

    The counts are AWS's, to which a batch succeeds or fails as a whole, whatever is in it: `distmap ledger` counts
    every item by itself. What timed out or was aborted counts as failed.

    \b
    distmap list Squares
    distmap list Squares --status FAILED --limit 50
    """
    made = client.pipeline(pipeline)
    rows = [_row(made, each, counts=counts) for each in _paced(made.runs(status=status, limit=limit), counts=counts)]
    if as_json:
        _show.as_json(rows)
        return _exit.SUCCESS
    if not rows:
        which = "" if status is None else f" that are {status}"
        _show.say(f"{made.called} has no runs{which}; AWS keeps them for 90 days after their end", err=True)
        return _exit.SUCCESS
    console = _show.console()
    if console.is_terminal and console.width < _TABLE_COLUMNS:
        for row in rows:
            _show.styled(_in_two_lines(row))
    else:
        _show_runs(rows)
    return _exit.SUCCESS


def _show_runs(rows: list[dict[str, Any]]) -> None:
    columns = ["run", "status", "started", "duration", "items", "succeeded", "failed"]
    text = [
        [
            row["run"],
            row["status"],
            _show.when(row["started"]),
            _show.duration(row["seconds"]),
            *("-" if row["items"] is None else f"{row['items'][key]:,}" for key in ("total", "succeeded", "failed")),
        ]
        for row in rows
    ]
    _show.table(columns, text, numbers=[3, 4, 5, 6])


def _in_two_lines(row: dict[str, Any]) -> str:
    """Return a run as a terminal without room for the table shows it."""
    from rich.markup import escape  # noqa: PLC0415 - only a terminal needs it

    head = f"{escape(row['run'])}  {_show.status(row['status'])}"
    times = f"{_show.when(row['started'])}  {_show.duration(row['seconds'])}"
    items = row["items"]
    if items is None:
        return f"{head}\n  {times}"
    failed = f"{items['failed']:,} failed"
    summary = f"{counted(items['total'], 'item')}: {items['succeeded']:,} succeeded, {failed}"
    return f"{head}\n  {times}  {summary}"


def _paced(summaries: Iterator[RunSummary], *, counts: bool) -> Iterator[RunSummary]:
    """Yield runs no faster than their counts can be asked for without throttling everybody who watches one."""
    for number, summary in enumerate(summaries):
        if counts and number >= _COUNTED_AT_ONCE:
            if number == _COUNTED_AT_ONCE:
                _show.say(
                    f"counting the items of more than {_COUNTED_AT_ONCE} runs, one in {_COUNT_SECONDS:.0f} s, as the "
                    "account's watchers share what AWS allows: --no-counts lists at once",
                    err=True,
                )
            time.sleep(_COUNT_SECONDS)
        yield summary


def _row(pipeline: Pipeline, summary: Any, *, counts: bool) -> dict[str, Any]:
    items = None
    if counts:
        maps = pipeline.run(summary.name).map_runs()
        total = sum(each.items.total for each in maps)
        # Of a run that ended before it read an item nobody knows how many there were: 0 would be a claim.
        if total or summary.status in {"RUNNING", "SUCCEEDED"}:
            items = {
                "total": total,
                "succeeded": sum(each.items.succeeded for each in maps),
                "failed": sum(each.items.unsuccessful for each in maps),
            }
    return {
        "run": summary.name,
        "arn": summary.arn,
        "status": summary.status,
        "started": summary.started,
        "stopped": summary.stopped,
        "seconds": round(summary.seconds, 3),
        "items": items,
    }


@click.command()
@_options.run_arguments
@_options.aws_options
def describe(client: Client, target: str, name: str | None, *, as_json: bool) -> int:
    """Show one run: status, times, counts, input and output.

    \b
    distmap describe Squares                   the latest run
    distmap describe nightly-2026-11-21 --json
    """
    run = _options.find_run(client, target, name)
    described, maps = run.describe(), run.map_runs()
    if as_json:
        _show.as_json(_description_json(described, maps))
        return _exit.SUCCESS
    _show_description(described, maps)
    return _exit.SUCCESS


def _description_json(described: RunDescription, maps: list[MapRun]) -> dict[str, Any]:
    of_run = {_show.camel(name): value for name, value in vars(described).items() if name != "name"}
    of_maps = [
        {
            **{_show.camel(name): value for name, value in vars(each).items()},
            "items": _show.counts_json(each.items),
            "children": _show.counts_json(each.children),
        }
        for each in maps
    ]
    return {"run": described.name, **of_run, "seconds": round(described.seconds, 3), "maps": of_maps}


def _show_description(described: RunDescription, maps: list[MapRun]) -> None:
    rows = [
        ("run", described.name),
        ("status", described.status),
        ("started", _show.when(described.started)),
        ("ended", _show.when(described.stopped)),
        ("duration", _show.duration(described.seconds)),
        ("arn", described.arn),
        ("input", _show.json_text(described.input)[:500]),
    ]
    if described.output is not None:
        rows.append(("output", _show.json_text(described.output)[:500]))
    if described.error is not None:
        rows.append(("error", f"{described.error}: {described.cause or ''}"[:500]))
    if described.redrive_status is not None:
        rows.append(("redrive", f"{described.redrive_status} {described.redrive_status_reason or ''}".strip()))
    _show.table(["", ""], rows)
    if maps:
        _show_maps(maps)


def _show_maps(maps: list[MapRun]) -> None:
    columns = ["map", *_MAP_COLUMNS]
    text = []
    for each in maps:
        items = each.items
        numbers = (items.total, items.succeeded, items.failed, items.timed_out, items.aborted, items.running)
        text.append(
            [each.label, each.status, *(f"{number:,}" for number in (*numbers, items.pending, each.children.total))]
        )
    if _show.console().is_terminal and len(maps) <= _MAPS_SIDE_BY_SIDE:
        # Ten columns don't fit into a line of 80: a row for each number, and a column for each map.
        columns, *text = (list(row) for row in zip(columns, *text, strict=True))
        _show.table(columns, text, numbers=range(1, len(columns)))
    else:
        _show.table(columns, text, numbers=range(2, 10))


@click.command(short_help="Show the log lines of a run, or of a child.")
@_options.run_arguments
@click.option("--child", metavar="ARN", help="Only this child of a map (see distmap failures).")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="How many lines at most.")
@_options.aws_options
def logs(client: Client, target: str, name: str | None, *, child: str | None, limit: int, as_json: bool) -> int:
    """Show the log lines of a run, or of one of its children: of the state machine and of its functions.

    \b
    distmap logs Squares
    distmap logs Squares latest --child arn:aws:states:...:execution:Squares/Squares:5f2d...
    """
    from cdk_distributed_map.runs.report import logs as logs_module  # noqa: PLC0415 - only this command needs it

    run = _options.find_run(client, target, name)
    if child is not None and ":express:" in child:
        _show.say("Express children have no history: these are all lines of the run while the child ran", err=True)
    for entry in logs_module.lines(run, child=child, limit=limit):
        if as_json:
            _show.json_line({"time": entry.time, "group": entry.group, "text": entry.text})
        else:
            _show.say(f"{_show.when(entry.time)} {entry.group.rpartition('/')[2]}: {entry.text}")
    return _exit.SUCCESS


@click.command("open")
@_options.run_arguments
@click.option("--print", "printing", is_flag=True, help="Write the link instead of opening it.")
@_options.aws_options
def open_(client: Client, target: str, name: str | None, *, printing: bool, as_json: bool) -> int:
    """Open a run in the AWS console.

    \b
    distmap open Squares
    distmap open Squares nightly-2026-11-21 --print
    """
    from cdk_distributed_map.runs.aws.arns import console_url  # noqa: PLC0415 - only this command needs it

    run = _options.find_run(client, target, name)
    url = console_url(run.arn)
    if not run.aws.is_amazon:
        _show.say("the run is at an endpoint of your own, which the AWS console doesn't show", err=True)
    if as_json:
        _show.json_line({"url": url})
    elif printing or not webbrowser.open(url):
        _show.say(url)
    return _exit.SUCCESS
