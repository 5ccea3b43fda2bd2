# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that start and follow runs."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cdk_distributed_map.cli import _exit, _options, _plan_start, _progress, _show
from cdk_distributed_map.runs import InputError

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Pipeline, Run


def parse_input(text: str | None) -> Any:
    """Return the input of a run: JSON, or that of a file or of standard input; None where there is none."""
    from cdk_distributed_map.runs.files.item_formats import parse_json  # noqa: PLC0415 - only where there is an input

    if text is None:
        return None
    if text == "-":
        if sys.stdin.isatty():
            _show.say("reading the input from the terminal, to its end (Ctrl-D)", err=True)
        return parse_json(sys.stdin.buffer.read(), what="stdin")
    if not text.startswith("@"):
        return parse_json(text.encode("utf-8", "surrogateescape"), what="the input")
    source = text[1:]
    if not source:
        raise InputError("the input's file name is missing: write it after the @, as in @input.json")
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"the input can't be read from {source}: {error.strerror}") from error
    return parse_json(data, what=source)


def _start_run(
    pipeline: Pipeline, *, execution_input: Any, items: str | None, items_format: str | None, name: str | None
) -> Run:
    if items is None:
        if items_format is not None:
            raise InputError(f"--items-format {items_format} needs --items")
        return pipeline.start(execution_input, name=name)
    from cdk_distributed_map.runs.files.item_formats import format_of  # noqa: PLC0415 - only where there is a file

    if items.startswith("s3://"):
        bucket, _, key = items.removeprefix("s3://").partition("/")
        if not key:
            raise InputError(f"an item file in S3 is s3://bucket/key, got {items!r}")
        chosen = None if items_format is None else format_of(key, items_format)
        return pipeline.start(execution_input, items_from=(bucket, key), items_format=chosen, name=name)
    file_format = format_of("items.jsonl" if items == "-" else items, items_format)
    if items == "-" and sys.stdin.isatty():
        _show.say("reading items from the terminal, to the end of the input (Ctrl-D)", err=True)
    with ExitStack() as stack:
        try:
            file: BinaryIO = sys.stdin.buffer if items == "-" else stack.enter_context(Path(items).open("rb"))
        except OSError as error:
            raise InputError(f"the items can't be read from {items}: {error.strerror}") from error
        return pipeline.start(execution_input, items=file, items_format=file_format, name=name)


@click.command("run", short_help="Start a run.")
@click.argument("pipeline")
@click.option("--input", "execution_input", metavar="JSON|@FILE|-", help="Input of the execution. Default: {}.")
@click.option("--items", metavar="FILE|s3://BUCKET/KEY|-", help="Run on these items instead of the source's.")
@click.option(
    "--items-format", metavar="FORMAT", help="jsonl, json, or csv (RFC 4180, with a header). Default: by the extension."
)
@click.option("--name", metavar="NAME", help="Name of the run. Default: a unique one.")
@click.option("--watch", "watching", is_flag=True, help="Follow the run to its end.")
@_plan_start.options
@_options.aws_options
def run(
    client: Client,
    *,
    pipeline: str,
    execution_input: str | None,
    items: str | None,
    items_format: str | None,
    name: str | None,
    watching: bool,
    as_json: bool,
    **planned: Any,
) -> int:
    """Start a run of PIPELINE.

    The run gets a unique, readable name. With --name, starting twice with the same input starts one run.

    \b
    distmap run Squares --input '{"number": 100000, "chunk": 5}' --watch
    distmap run Squares --items numbers.csv --name nightly-2026-11-21
    generate | distmap run Squares --items - --items-format jsonl
    distmap run Stack/Squares --items s3://bucket/list.jsonl

    CSV is parsed by RFC 4180, not by the rules that Step Functions has for CSV files which a map reads itself: a
    backslash has no special meaning.

    With --plan it says what the run takes and costs, and asks. Where there is no terminal to ask at, it starts unless
    that is over --max-cost or --max-hours: the exit code is 6 then, and nothing was started.
    """
    if execution_input == items == "-":
        raise click.UsageError("standard input can't be both the input and the items: pass one of them as a file")
    target = client.pipeline(pipeline)
    parsed = parse_input(execution_input)
    if not _plan_start.agreed(client, target, items=items, execution_input=parsed, **planned):
        return _exit.OVER_LIMIT
    started = _start_run(target, execution_input=parsed, items=items, items_format=items_format, name=name)
    if not started.is_new:
        there = started.describe()
        when = f"{_show.when(there.started)}, is {there.status}"
        _show.say(f"{started.name} is there already, started with this input on {when}: nothing was started", err=True)
    if as_json:
        _show.json_line({"run": started.name, "arn": started.arn, "pipeline": target.name, "started": started.is_new})
    else:
        _show.say(f"{started.name}\n{started.arn}")
    return _progress.follow(started, as_json=as_json) if watching else _exit.SUCCESS


@click.command()
@_options.run_arguments
@click.option("--ledger/--no-ledger", "check", default=True, show_default=True, help="Check the ledger at the end.")
@_options.aws_options
def watch(client: Client, target: str, name: str | None, *, check: bool, as_json: bool) -> int:
    """Follow a run to its end.

    In the long run it calls AWS at most once in 5 seconds, so that five watchers stay within an account's API limits.
    Throttling, a lost network and expired credentials only make it wait. Ctrl-C doesn't stop the run.

    A run can succeed although items failed inside batches that succeeded, which AWS doesn't count. The ledger counts
    them: the exit code is then 4, or 5 if the ledger isn't available.

    \b
    distmap watch Squares                 the latest run
    distmap watch Squares nightly-2026-11-21
    """
    return _progress.follow(_options.find_run(client, target, name), as_json=as_json, check=check)
