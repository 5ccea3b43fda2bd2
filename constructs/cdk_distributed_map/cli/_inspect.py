# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that inspect what is deployed and its runs: pipelines, list, describe, open."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _options, _show
from cdk_distributed_map.runs import RunsError
from cdk_distributed_map.runs.aws.descriptions import start_of
from cdk_distributed_map.runs.text import counted, one_line
from distmap import pages

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Ledger, MapRun, Pipeline, Run, RunDescription, RunSummary

_MAP_COLUMNS: Final = (
    "status",
    "items",
    "ended",
    "children",
    *(f"children {what}" for what in ("succeeded", "failed", "timed out", "aborted", "running", "pending")),
)
"""The items of a map and how many of them have ended, then its children and how many of them have done what: for AWS a
child succeeds with whatever failed in its batch."""
_MAPS_SIDE_BY_SIDE: Final = 3
_TABLE_COLUMNS: Final = 110
"""Width of a terminal that has room for the table of runs."""
_COUNTED_AT_ONCE: Final = 40
"""Runs whose counts are asked for without a pause: under half of what ListMapRuns allows at once."""
_COUNT_SECONDS: Final = 2.0
_STATUSES = ["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]


@click.command(short_help="List the pipelines there are.")
@_options.aws_options
def pipelines(client: Client, *, as_json: bool) -> int:
    """List the pipelines of the account and Region, each with its latest run.

    \b
    distmap pipelines
    distmap pipelines --json | jq -r '.[].pipeline'
    """
    _show.say("reading the definitions of the state machines", err=True)
    listed = [(pipeline, next(pipeline.runs(limit=1), None)) for pipeline in client.pipelines()]
    if as_json:
        _show.as_json([_pipeline_json(pipeline, latest) for pipeline, latest in listed])
    elif not listed:
        _show.say("there are no pipelines in this account and Region: look at --profile and --region", err=True)
    else:
        rows = [[pipeline.called, pipeline.name, *_latest(latest)] for pipeline, latest in listed]
        if _is_narrow():
            for row in rows:
                _show.styled(_pipeline_in_lines(*row))
        else:
            _show.table(["pipeline", "state machine", "latest run", "status", "started"], rows)
    return _exit.SUCCESS


def _is_narrow() -> bool:
    """Tell whether output goes to a terminal that has no room for tables with names in them."""
    console = _show.console()
    return console.is_terminal and console.width < _TABLE_COLUMNS


def _pipeline_in_lines(called: str, machine: str, run: str, status: str, started: str) -> str:
    """Return a pipeline as lines, for a terminal without room for the table."""
    from rich.markup import escape  # noqa: PLC0415 - only a terminal needs it

    latest = "no run yet" if run == "-" else f"latest run {escape(run)}  {_show.status(status)}  {started}"
    return f"[bold]{escape(called)}[/]  {escape(machine)}\n  {latest}"


def _pipeline_json(pipeline: Pipeline, latest: RunSummary | None) -> dict[str, Any]:
    run = None if latest is None else {"run": latest.name, "status": latest.status, "started": latest.started}
    return {"pipeline": pipeline.called, "stateMachine": pipeline.name, "arn": pipeline.arn, "latest": run}


def _latest(latest: RunSummary | None) -> list[str]:
    return ["-"] * 3 if latest is None else [latest.name, latest.status, _show.when(latest.started)]


@click.command("list")
@click.argument("pipeline")
@click.option("--status", type=click.Choice(_STATUSES, case_sensitive=False), help="Only runs with this status.")
@click.option("--limit", type=click.IntRange(min=1), default=10, show_default=True, help="Number of runs to list.")
@click.option("--counts/--no-counts", default=True, show_default=True, help="Count items, with two calls for each run.")
@_options.aws_options
def list_(client: Client, pipeline: str, *, status: str | None, limit: int, counts: bool, as_json: bool) -> int:
    """List the runs of a pipeline, latest first.

    What succeeded and failed are items by the account of a run. Where there is none, as while it runs, they are
    children, which is what AWS counts: those that timed out or were aborted are among the failed ones.

    \b
    distmap list Squares
    distmap list Squares --status FAILED --limit 50
    """
    target = client.pipeline(pipeline)
    summaries = _paced(target.runs(status=status, limit=limit), counts=counts)
    rows = [_row(target, summary, counts=counts) for summary in summaries]
    if as_json:
        _show.as_json(rows)
        return _exit.SUCCESS
    if not rows:
        of_status = "" if status is None else f" that are {status}"
        _show.say(f"{target.called} has no runs{of_status}; AWS keeps them for 90 days after their end", err=True)
        return _exit.SUCCESS
    if _is_narrow():
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
            "-" if row["items"] is None else f"{row['items']['total']:,}",
            _cell(row, "succeeded"),
            _cell(row, "failed") + _of_nested(row),
        ]
        for row in rows
    ]
    if any(row["runError"] is not None for row in rows):
        columns.append("error")
        text = [[*cells, one_line(row["runError"] or "-", 200)] for cells, row in zip(text, rows, strict=True)]
    _show.table(columns, text, numbers=[3, 4, 5, 6])


def _cell(row: dict[str, Any], key: str) -> str:
    items = row["items"]
    if items is None:
        return "-"
    if "children" not in items:
        return f"{items[key]:,}"
    number = items["children"][key]
    return "1 child" if number == 1 else f"{number:,} children"


def _of_nested(row: dict[str, Any]) -> str:
    """Return how many items of nested maps did not succeed, where any did not."""
    number = (row["items"] or {}).get("nestedFailed", 0)
    return f", {number:,} of nested maps" if number else ""


def _in_two_lines(row: dict[str, Any]) -> str:
    """Return a run as two lines, for a terminal without room for the table."""
    from rich.markup import escape  # noqa: PLC0415 - only a terminal needs it

    head = f"{escape(row['run'])}  {_show.status(row['status'])}"
    times = f"{_show.when(row['started'])}  {_show.duration(row['seconds'])}"
    items = row["items"]
    if items is None:
        why = "" if row["runError"] is None else f"\n  {escape(one_line(row['runError'], 200))}"
        return f"{head}\n  {times}{why}"
    found, of = (items, ":") if "children" not in items else (items["children"], "; children:")
    failed = f"{found['failed']:,} failed{_of_nested(row)}"
    summary = f"{counted(items['total'], 'item')}{of} {found['succeeded']:,} succeeded, {failed}"
    return f"{head}\n  {times}  {summary}"


def _paced(summaries: Iterator[RunSummary], *, counts: bool) -> Iterator[RunSummary]:
    """Yield runs no faster than their counts can be asked for without throttling everybody who watches one."""
    for number, summary in enumerate(summaries):
        if counts and number >= _COUNTED_AT_ONCE:
            if number == _COUNTED_AT_ONCE:
                _show.say(
                    f"counting the items of more than {_COUNTED_AT_ONCE} runs takes {_COUNT_SECONDS:.0f} s for each "
                    "run, to stay within the account's API limits: --no-counts lists them at once",
                    err=True,
                )
            time.sleep(_COUNT_SECONDS)
        yield summary


def _row(pipeline: Pipeline, summary: Any, *, counts: bool) -> dict[str, Any]:
    items: dict[str, Any] | None = None
    why: str | None = None
    if counts:
        run = pipeline.run(summary.name)
        items = _items_of_account(run, summary)
        if items is not None:
            return _row_of(summary, items, None)
        map_runs = run.map_runs()
        rounds = run.round_numbers(map_runs)  # their items are among those of the map before them
        maps = [map_run for map_run in map_runs if map_run.arn not in rounds]
        total = sum(map_run.items.total for map_run in maps)
        # How many items a run had that ended before it read one isn't known: 0 would be a claim.
        if total or summary.status in {"RUNNING", "SUCCEEDED"}:
            items = {
                "total": total,
                "children": {
                    "succeeded": sum(map_run.children.succeeded for map_run in maps),
                    "failed": sum(map_run.children.unsuccessful for map_run in maps),
                },
            }
        else:
            why = run.why_unread()
    return _row_of(summary, items, why)


def _items_of_account(run: Run, summary: RunSummary) -> dict[str, int] | None:
    """Return the counts that a run says it has, which know of batches and of rounds; None where it says none."""
    own = _own_account(run, summary)
    if own is None or own.captured_from == "unknown":
        return None
    nested = {"nestedFailed": own.nested_unsuccessful} if own.nested else {}
    return {"total": own.captured, "succeeded": own.succeeded, "failed": own.unsuccessful, **nested}


def _own_account(run: Run, summary: RunSummary) -> Ledger | None:
    """Return what a run says of itself; None where it says nothing."""
    try:
        return run.own_ledger(summary) if run.pipeline.definition.accounts and summary.status != "RUNNING" else None
    except RunsError:
        return None  # its files may not be for this user to see


def _row_of(summary: RunSummary, items: dict[str, Any] | None, why: str | None) -> dict[str, Any]:
    return {
        "run": summary.name,
        "arn": summary.arn,
        "status": summary.status,
        "started": summary.started,
        "stopped": summary.stopped,
        "seconds": round(summary.seconds, 3),
        "items": items,
        "runError": why,
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
    from cdk_distributed_map.runs.results.combined import with_whole_answer  # noqa: PLC0415 - no --help needs it

    run = _options.find_run(client, target, name)
    described, maps = run.describe(), sorted(run.map_runs(), key=start_of)
    rounds = run.round_numbers(maps)
    described = with_whole_answer(run, described)
    account = _own_account(run, described)
    failed_in = run.failed_state() if described.ended and described.status != "SUCCEEDED" else None
    if as_json:
        _show.as_json({**_description_json(described, maps, rounds, account), "failedState": failed_in})
        return _exit.SUCCESS
    _show_description(described, account, failed_in)
    if maps:
        _show_maps(maps, rounds)
    return _exit.SUCCESS


def _description_json(
    described: RunDescription, maps: list[MapRun], rounds: dict[str, int], account: Ledger | None
) -> dict[str, Any]:
    run_fields = {_show.camel(name): value for name, value in vars(described).items() if name != "name"}
    map_fields = [
        {
            **{_show.camel(name): value for name, value in vars(map_run).items()},
            **({"round": rounds[map_run.arn]} if map_run.arn in rounds else {}),
            "items": _show.counts_json(map_run.items),
            "children": _show.counts_json(map_run.children),
        }
        for map_run in maps
    ]
    return {
        "run": described.name,
        **run_fields,
        "seconds": round(described.seconds, 3),
        "items": None if account is None or account.captured_from == "unknown" else _show.items_json(account),
        "nested": {each.label: _show.items_json(each) for each in (() if account is None else account.nested)},
        "maps": map_fields,
    }


def _show_description(described: RunDescription, account: Ledger | None, failed_in: str | None) -> None:
    rows = [
        ("run", described.name),
        ("status", described.status),
        ("started", _show.when(described.started)),
        ("ended", _show.when(described.stopped)),
        ("duration", _show.duration(described.seconds)),
        ("arn", described.arn),
    ]
    if account is not None and account.captured_from != "unknown":
        rows.append(("items", _show.items_text(account).removeprefix("items: ")))
        rows += [(f"items of {each.label}", _show.items_text(each).removeprefix("items: ")) for each in account.nested]
    rows.append(("input", _show.json_text(described.input)))
    if described.output is not None:
        rows.append(("output", _show.json_text(described.output)))
    if described.error is not None:
        rows.append(("error", f"{described.error}: {described.cause or ''}"))
        if (page := pages.address_of_run_error(described.error)) is not None:
            rows.append(("described in", page))
    if failed_in is not None:
        rows.append(("failed in", failed_in))
    if described.redrive_status is not None:
        rows.append(("redrive", f"{described.redrive_status} {described.redrive_status_reason or ''}".strip()))
    _show.table(["", ""], rows)


def _show_maps(maps: list[MapRun], rounds: dict[str, int]) -> None:
    columns = ["map", *_MAP_COLUMNS]
    text = []
    for map_run in maps:
        items, children = map_run.items, map_run.children
        numbers = (items.total, items.done, children.total, children.succeeded, children.failed, children.timed_out)
        text.append(
            [
                f"round {rounds[map_run.arn]}" if map_run.arn in rounds else map_run.label,
                map_run.status,
                *(f"{number:,}" for number in (*numbers, children.aborted, children.running, children.pending)),
            ]
        )
    if _show.console().is_terminal and len(maps) <= _MAPS_SIDE_BY_SIDE:
        # Ten columns don't fit into a line of 80: a row for each number, and a column for each map.
        columns, *text = (list(row) for row in zip(columns, *text, strict=True))
        _show.table(columns, text, numbers=range(1, len(columns)))
    else:
        _show.table(columns, text, numbers=range(2, 11))


@click.command("open")
@_options.run_arguments
@click.option("--print", "print_only", is_flag=True, help="Print the link instead of opening it.")
@_options.aws_options
def open_(client: Client, target: str, name: str | None, *, print_only: bool, as_json: bool) -> int:
    """Open a run in the AWS console.

    \b
    distmap open Squares
    distmap open Squares nightly-2026-11-21 --print
    """
    from cdk_distributed_map.runs.aws.arns import console_url  # noqa: PLC0415 - only this command needs it

    run = _options.find_run(client, target, name)
    url = console_url(run.arn)
    if not run.aws.is_amazon:
        _show.say("the run is at a custom endpoint, which the AWS console doesn't show", err=True)
    if as_json:
        _show.json_line({"url": url})
    elif print_only or not webbrowser.open(url):
        _show.say(url)
    return _exit.SUCCESS
