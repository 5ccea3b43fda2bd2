# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that read what a run left: results, ledger, failures, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _options, _output, _show
from cdk_distributed_map.runs.text import counted, one_line

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Run

_KINDS: Final = {"": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@click.command(short_help="Write the result of every item, once.")
@_options.run_arguments
@click.option("-o", "--output", metavar="FILE", help="File to write, - for standard output. Default: standard output.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Default: by the file's name, else JSON Lines.",
)
@click.option("--ordered", is_flag=True, help="In the order of the items.")
@click.option("--all", "everything", is_flag=True, help="Items that did not succeed too, at the end.")
@click.option("--nested", is_flag=True, help="Items of the maps inside the children instead, each with map and path.")
@_options.aws_options
def results(client: Client, target: str, name: str | None, *, output: str | None, **options: Any) -> int:
    """Write the result of every item, those of retries included, each item once.

    Results are streamed: memory doesn't depend on their number.

    \b
    distmap results Squares --ordered > squares.jsonl
    distmap results Squares nightly-2026-11-21 -o squares.parquet
    """
    from cdk_distributed_map.runs.results import tables  # noqa: PLC0415 - only this command needs it

    kind = _kind(output, options["kind"])
    if kind == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for a terminal: give --output")
    if options["as_json"] and kind != "jsonl":
        raise click.UsageError(f"--json writes JSON Lines, not {kind}: leave one of them out")
    run = _options.find_run(client, target, name)
    nested = options["nested"]
    chosen = run.nested_results if nested else run.results
    found = chosen(ordered=options["ordered"], unsuccessful=options["everything"])
    columns = tables.NESTED_COLUMNS if nested else tables.COLUMNS
    if kind == "parquet":
        with _output.binary(output) as binary:
            count = tables.write_parquet(found, binary, columns)
    else:
        with _output.text(output) as text:
            count = tables.write_csv(found, text, columns) if kind == "csv" else tables.write_json_lines(found, text)
    if output is not None and output != _output.STDOUT:
        _show.say(f"{counted(count, 'result')} of {run.name} in {output}", err=True)
    return _exit.SUCCESS


def _kind(output: str | None, given: str | None) -> str:
    """Return the format of results."""
    suffix = Path(output or "").suffix.lower()
    if given is not None:
        return given
    if suffix not in _KINDS:
        raise click.UsageError(
            f"the name {output!r} doesn't tell the format: end it in .jsonl, .csv or .parquet, or give --format"
        )
    return _KINDS[suffix]


@click.command()
@_options.run_arguments
@click.option("--wait", "seconds", type=float, default=60.0, show_default=True, help="Seconds to wait for results.")
@_options.aws_options
def ledger(client: Client, target: str, name: str | None, *, seconds: float, as_json: bool) -> int:
    """Account for every item of a run and its retries.

    succeeded + failed + unprocessed + pending + missing = captured: it says so, or names what doesn't add up.
    Exits with 5 where anything is unaccounted for.

    \b
    distmap ledger Squares
    distmap ledger Squares nightly-2026-11-21 --json | jq .missing
    """
    made = _options.find_run(client, target, name).ledger(wait_seconds=seconds)
    if as_json:
        _show.as_json(made.to_json())
    else:
        _show.ledger(made)
    return _exit.of_ledger(made)


@click.command(short_help="Show the items that did not succeed.")
@_options.run_arguments
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True, help="How many of each error.")
@_options.aws_options
def failures(client: Client, target: str, name: str | None, *, limit: int, as_json: bool) -> int:
    """Show the items that failed and did not succeed in a retry, by error.

    Those of nested maps too. With --json every one of them, a line each: index, item, error, cause, child and where
    the console shows it.

    \b
    distmap failures Squares
    distmap failures Squares --json | jq -r .index
    """
    run = _options.find_run(client, target, name)
    made = run.ledger()
    found = run.failures(made)
    if as_json:
        for failure in found:
            _show.json_line(
                {slot: getattr(failure, slot) for slot in failure.__dataclass_fields__ if slot != "has_item"}
            )
    else:
        _show_failures(run, found, limit)
    others = [counted(made.pending, "item") + " pending"] if made.pending else []
    others += [counted(made.missing, "item") + " missing"] if made.missing else []
    others += [] if not made.problems else ["what doesn't add up"]
    if others:
        # These are no failures, but nobody should think that there is nothing else.
        command = f"distmap ledger {run.pipeline.called} {run.name}"
        _show.say(f"besides, there are {' and '.join(others)}: {command}", err=True)
    if made.run_error is not None:
        _show.say(made.run_error, err=True)
        return _exit.RUN_FAILED
    if not made.captured:
        _show.say(_show.nothing_captured(made), err=True)
    return _exit.SUCCESS


def _show_failures(run: Run, found: Iterable[Any], limit: int) -> None:
    counts: dict[str, int] = {}
    examples: dict[str, list[Any]] = {}
    for failure in found:
        counts[failure.error] = counts.get(failure.error, 0) + 1
        if counts[failure.error] <= limit:
            examples.setdefault(failure.error, []).append(failure)
    if not counts:
        _show.say("nothing failed")
    for error, count in sorted(counts.items(), key=lambda entry: -entry[1]):
        _show.say(f"{count:,}  {one_line(error, 300)}")
        for each in examples[error]:
            which = "an item" if each.index is None else f"item {each.index:,}"
            if each.source is not None:
                which += f" of {one_line(each.source, 300)}"
            if each.map is not None:
                which += f" of {each.map} in {each.path}"
            _show.say(f"  {which}: {one_line(each.cause, 300)}" if each.cause else f"  {which}")
            if each.has_item:
                _show.say(f"    input  {one_line(_show.json_text(each.item), 300)}")
            if each.link:
                _show.say(f"    child  {each.link}")
                command = shlex.join(["distmap", "logs", run.pipeline.called, each.run, "--child", each.child])
                _show.say(f"    logs   {command}")
        if count > len(examples[error]):
            _show.say(f"  and {count - len(examples[error]):,} more (--limit, or --json for all)")


@click.command(short_help="Write one HTML page about a run.")
@_options.run_arguments
@click.option("-o", "--output", metavar="FILE", help="HTML file to write. Default: <run>.html.")
@_options.aws_options
def report(client: Client, target: str, name: str | None, *, output: str | None, as_json: bool) -> int:
    """Write one HTML page about a run, which opens without a network.

    \b
    distmap report Squares -o squares.html
    """
    from cdk_distributed_map.runs.report import page  # noqa: PLC0415 - only this command needs it

    run = _options.find_run(client, target, name)
    gathered = page.gather(run)
    if as_json:
        _show.as_json(gathered.to_json())
        return _exit.SUCCESS
    path = f"{run.name}.html" if output is None else output
    with _output.text(path) as file:
        file.write(page.render(gathered))
    if path != _output.STDOUT:
        _show.say(path)
    return _exit.SUCCESS
