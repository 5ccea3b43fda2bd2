# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""The command that shows the log lines of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cdk_distributed_map.cli import _exit, _options, _show

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Run
    from cdk_distributed_map.runs.report.logs import LogLine


@click.command(short_help="Show the log lines of a run, of a child or of an item.")
@_options.run_arguments
@click.option("--child", metavar="ARN", help="Only this child (distmap failures lists them).")
@click.option("--item", metavar="INDEX", type=click.IntRange(min=0), help="Only the child that had this item.")
@click.option("--errors", "bad_only", is_flag=True, help="Only lines that tell of errors.")
@click.option("--since", metavar="TIME", help="Only lines from then on: 90s, 10m, 2h, 1d, or an ISO 8601 time.")
@click.option("-f", "--follow", "following", is_flag=True, help="Show lines as they come, until the run has ended.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Maximum number of lines. Default: 200; with --follow there is none."
)
@_options.aws_options
def logs(client: Client, target: str, name: str | None, *, as_json: bool, **options: Any) -> int:
    """Show the log lines of a run, from its state machine and from the invocations that its functions had for it.

    Lines of other runs that use the same functions are left out. What Lambda reports of an invocation (time, memory,
    cold start) stands at the end of the line that the runtime writes of it; with --json each line of the invocation
    has it.

    \b
    distmap logs Squares
    distmap logs Squares --errors --since 10m
    distmap logs Squares --item 90
    distmap logs Squares --follow
    distmap logs Squares latest --child arn:aws:states:...:execution:Squares/Squares:5f2d...
    """
    chosen = [name for name in ("child", "item", "following") if options[name] not in {None, False}]
    if len(chosen) > 1:
        given = " and ".join("--" + name.replace("following", "follow") for name in chosen)
        raise click.UsageError(f"{given} don't go together: give one of them")
    for entry in _lines(_options.find_run(client, target, name), options):
        if as_json:
            _show.json_line(
                {
                    "time": entry.time,
                    "group": entry.group,
                    "text": entry.text,
                    "request": entry.request,
                    "report": None if entry.report is None else entry.report.to_json(),
                }
            )
        else:
            _show.say(f"{_show.when(entry.time)} {entry.group.rpartition('/')[2]}: {entry.text}{_report(entry)}")
    return _exit.SUCCESS


def _lines(run: Run, options: dict[str, Any]) -> Iterator[LogLine]:
    from cdk_distributed_map.runs.report import logs as found  # noqa: PLC0415 - only this command needs it

    since = None if options["since"] is None else found.parse_since(options["since"])
    child, item, bad_only = options["child"], options["item"], options["bad_only"]
    if options["following"]:
        if options["limit"] is not None:
            raise click.UsageError("--follow shows all lines: leave --limit out")
        return found.follow(run, since=since, bad_only=bad_only)
    limit = 200 if options["limit"] is None else options["limit"]
    if item is not None:
        return found.of_item(run, item, limit=limit, bad_only=bad_only)
    if child is not None and found.is_express(child):
        _show.say(
            "Express children have no history: these are all lines of the run from the time of the child", err=True
        )
    return found.lines(run, child=child, limit=limit, since=since, bad_only=bad_only)


def _report(entry: LogLine) -> str:
    """Return what Lambda reports of an invocation, for the line that the runtime writes of it."""
    report = entry.report
    if report is None or '"runId"' not in entry.text:
        return ""
    parts = [] if report.duration_ms is None else [f"{report.duration_ms:,.0f} ms"]
    if report.max_memory_mb is not None:
        parts.append(f"{report.max_memory_mb:,.0f} of {report.memory_mb or 0:,.0f} MB")
    parts += [] if report.init_ms is None else [f"cold start {report.init_ms:,.0f} ms"]
    parts += [] if report.succeeded else [report.status]
    return f"  [{', '.join(parts)}]" if parts else ""
