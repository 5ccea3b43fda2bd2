# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands about the results of a run: results, ledger, failures, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _columns, _exit, _options, _output, _show
from cdk_distributed_map.runs.text import counted, one_line, visible

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Failure, Run
    from cdk_distributed_map.runs.results.item_failures import Kind

_KINDS: Final = {"": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


@click.command(short_help="Write the result of every item.")
@_options.run_arguments
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="File to write, - for standard output; FOLDER/ for many of Parquet; s3://bucket/key for either in S3. "
    "Default: standard output.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Default: by the extension of the file, else JSON Lines.",
)
@click.option("--ordered", is_flag=True, help="Sort by item.")
@click.option("--all", "everything", is_flag=True, help="Also write items that did not succeed, at the end.")
@click.option("--nested", is_flag=True, help="Write items of nested maps instead, each with its map and path.")
@click.option("--with-input", is_flag=True, help="Columns of the items beside those of their values (Parquet, --sql).")
@click.option("--rows-per-file", type=click.IntRange(min=1), help="Of a folder. Default: a million.")
@click.option("--sql", "query", metavar="QUERY", help="Ask DuckDB about the table `results`, and write the answer.")
@_options.aws_options
def results(client: Client, target: str, name: str | None, *, output: str | None, **options: Any) -> int:
    """Write the result of every item once, including those of retries.

    Results are streamed: memory use doesn't depend on their number. In Parquet each field of the values is a typed
    column.

    \b
    distmap results Squares --ordered > squares.jsonl
    distmap results Squares nightly-2026-11-21 -o squares.parquet
    distmap results Squares --with-input -o s3://my-tables/squares/
    distmap results Squares --sql 'select status, count(*) from results group by all'
    """
    kind = _kind(output, options["kind"])
    _columns.check(kind, output, options, terminal=sys.stdout.isatty())
    run = _options.find_run(client, target, name)
    rows, layout = _rows(run, options)
    if options["query"] is not None:
        shown = output is None and options["kind"] is None and not options["as_json"] and sys.stdout.isatty()
        _columns.answer(run, rows, layout, options["query"], output=output, kind=None if shown else kind)
        return _judged(run)
    if _columns.is_folder(output):
        assert output is not None  # noqa: S101 - narrows the type
        count = _columns.write_folder(run, rows, output, layout, rows_per_file=options["rows_per_file"])
    else:
        with _columns.output_file(run, output) as local:
            count = _write(run, rows, local, kind, layout, placed=options["everything"])
    if output is not None and output != _output.STDOUT:
        _show.say(f"{counted(count, 'result')} of {run.name} in {output}", err=True)
    return _judged(run)


def _judged(run: Run) -> int:
    """Return the exit code of a run whose results are written, and say of what there is none."""
    account = run.ledger()
    code = _exit.of_ledger(account)
    sys.stdout.flush()
    if not account.captured and account.run_error is None:
        _show.say(_show.nothing_captured(account), err=True)
    elif account.has_failures:
        _show.say(f"{_show.without_success(account)}: {_options.command('failures', run)}", err=True)
    elif code != _exit.SUCCESS:
        _show.say(f"{account.run} is {account.status}: {_options.command('ledger', run)}", err=True)
    return code


def _rows(run: Run, options: dict[str, Any]) -> tuple[Iterable[Any], Any]:
    """Return the results that options ask for, and what is known of their columns."""
    from cdk_distributed_map.runs.results import columns, inputs, kinds  # noqa: PLC0415 - only this command needs them

    with_input = options["with_input"]
    read = run.nested_results if options["nested"] else run.results
    rows = read(ordered=options["ordered"] or with_input, unsuccessful=options["everything"])
    layout = columns.Layout(nested=options["nested"], item=kinds.NULL if with_input else None)
    return inputs.with_items(run, rows) if with_input else rows, layout


def _write(run: Run, rows: Iterable[Any], output: str | None, kind: str, layout: Any, *, placed: bool) -> int:
    """Write results to a file, and return how many there are."""
    from cdk_distributed_map.runs.results import tables  # noqa: PLC0415 - see _rows

    if kind == "parquet":
        with _output.binary(output) as binary:
            return _columns.write_file(run, rows, binary, layout)
    names = (*(tables.NESTED if layout.nested else ()), *(tables.PLACED_COLUMNS if placed else tables.COLUMNS))
    with _output.text(output) as text:
        return tables.write_csv(rows, text, names) if kind == "csv" else tables.write_json_lines(rows, text)


def _kind(output: str | None, chosen: str | None) -> str:
    """Return the format of results."""
    suffix = Path(output or "").suffix.lower()
    if chosen is not None:
        return chosen
    if _columns.is_folder(output):
        return "parquet"
    if suffix not in _KINDS:
        raise click.UsageError(
            f"the name {output!r} doesn't show the format: use .jsonl, .csv or .parquet, or give --format"
        )
    return _KINDS[suffix]


@click.command()
@_options.run_arguments
@click.option("--wait", "seconds", type=float, default=60.0, show_default=True, help="Seconds to wait for results.")
@click.option("--recount", is_flag=True, help="Count from the result files, and compare with the run's own ledger.")
@_options.aws_options
def ledger(client: Client, target: str, name: str | None, *, seconds: float, recount: bool, as_json: bool) -> int:
    """Account for every item of a run and its retries.

    A run writes its own ledger (ledger.json), which is shown at once. Where there is none of its latest attempt, and
    with retries, the items are counted from the result files.

    succeeded + failed + unprocessed + pending + missing = captured: the command confirms it, or says what doesn't add
    up.

    \b
    distmap ledger Squares
    distmap ledger Squares nightly-2026-11-21 --json | jq .missing
    distmap ledger Squares --recount
    """
    account = _options.find_run(client, target, name).ledger(wait_seconds=seconds, recount=recount)
    if as_json:
        _show.as_json(account.to_json())
    else:
        _show.ledger(account)
    return _exit.of_ledger(account)


@click.command(short_help="Show the items that did not succeed.")
@_options.run_arguments
@click.option("--limit", type=click.IntRange(min=1), default=5, show_default=True, help="Examples of each kind.")
@click.option("--wait", "seconds", type=float, default=60.0, show_default=True, help="Seconds to wait for results.")
@_options.aws_options
def failures(client: Client, target: str, name: str | None, *, limit: int, seconds: float, as_json: bool) -> int:
    """Show the items that failed and did not succeed in a retry, grouped by error, place and message.

    Includes items of nested maps. --json writes all of them, one per line: index, item, error, cause, place in the
    worker's code, traceback (of the first of each kind), child and a link to the console.

    \b
    distmap failures Squares
    distmap failures Squares --json | jq -r .index
    """
    run = _options.find_run(client, target, name)
    account = run.ledger(wait_seconds=seconds)
    failures_found = run.failures(account)
    if as_json:
        for failure in failures_found:
            _show.json_line(
                {slot: getattr(failure, slot) for slot in failure.__dataclass_fields__ if slot != "has_item"}
            )
    else:
        _show_failures(run, failures_found, limit)
    remarks = [counted(account.pending, "item") + " pending"] if account.pending else []
    remarks += [counted(account.missing, "item") + " missing"] if account.missing else []
    remarks += [] if not account.problems else ["problems in the ledger"]
    if remarks:
        # These are no failures, but the list of failures must not look complete without them.
        _show.say(f"there are also {' and '.join(remarks)}: {_options.command('ledger', run)}", err=True)
    if account.run_error is not None:
        _show.say(account.run_error, err=True)
    elif not account.captured:
        _show.say(_show.nothing_captured(account), err=True)
    return _exit.of_ledger(account)


def _show_failures(run: Run, failures_found: Iterable[Failure], limit: int) -> None:
    from cdk_distributed_map.runs.results.item_failures import Kinds  # noqa: PLC0415 - not needed by the others

    kinds = Kinds()
    counts: dict[Kind, int] = {}
    examples: dict[Kind, list[Failure]] = {}
    tracebacks: dict[Kind, str] = {}
    for failure in failures_found:
        kind = kinds.kind(failure.error, failure.place, failure.cause)
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= limit:
            examples.setdefault(kind, []).append(failure)
        if failure.traceback is not None:
            tracebacks.setdefault(kind, failure.traceback)
    if not counts:
        _show.say("nothing failed")
    for kind, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0][0])):
        _show.say(f"{count:,}  {_show.kind_of_failure(*kind)}")
        for line in tracebacks.get(kind, "").splitlines():
            _show.say(f"  | {visible(line)}")
        for failure in examples[kind]:
            _show_failure(run, failure)
        if count > len(examples[kind]):
            _show.say(f"  and {count - len(examples[kind]):,} more (--limit, or --json for all)")


def _show_failure(run: Run, failure: Failure) -> None:
    which = "an item" if failure.index is None else f"item {failure.index:,}"
    if failure.source is not None:
        which += f" of {one_line(failure.source, 300)}"
    if failure.map is not None:
        which += f" of {failure.map} in {failure.path}"
    _show.say(f"  {which}: {one_line(failure.cause, 300)}" if failure.cause else f"  {which}")
    if failure.has_item:
        _show.say(f"    input  {one_line(_show.json_text(failure.item), 300)}")
    for line in (failure.output or "").splitlines():
        _show.say(f"    output {visible(line)}")
    if failure.link and failure.child:
        _show.say(f"    child  {failure.link}")
        command = shlex.join(["distmap", "logs", run.pipeline.called, failure.run, "--child", failure.child])
        _show.say(f"    logs   {command}")


@click.command(short_help="Write one HTML page about a run.")
@_options.run_arguments
@click.option("-o", "--output", metavar="FILE", help="HTML file to write. Default: <run>.html.")
@_options.aws_options
def report(client: Client, target: str, name: str | None, *, output: str | None, as_json: bool) -> int:
    """Write one HTML page about a run, which needs no network.

    \b
    distmap report Squares -o squares.html
    """
    from cdk_distributed_map.runs.report import page  # noqa: PLC0415 - only this command needs it

    run = _options.find_run(client, target, name)
    run_report = page.gather(run)
    if as_json:
        _show.as_json(run_report.to_json())
        return _exit.of_ledger(run_report.ledger)
    path = f"{run.name}.html" if output is None else output
    with _output.text(path) as file:
        file.write(page.render(run_report))
    if path != _output.STDOUT:
        _show.say(path)
    return _exit.of_ledger(run_report.ledger)
