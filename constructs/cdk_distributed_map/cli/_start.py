# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that start and follow runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cdk_distributed_map.cli import _exit, _options, _progress, _show
from cdk_distributed_map.runs import InputError

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Pipeline, Run


def _parse_input(text: str | None) -> Any:
    from cdk_distributed_map.runs.files.item_files import parse_json  # noqa: PLC0415 - only where there is an input

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
        raise InputError("the input's file has no name: give it after the @, as in @input.json")
    try:
        data = Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"the input can't be read from {source}: {error.strerror}") from error
    return parse_json(data, what=source)


def _start_run(pipeline: Pipeline, *, given: Any, items: str | None, items_format: str | None, name: str | None) -> Run:
    if items is None:
        if items_format is not None:
            raise InputError(f"--items-format {items_format} is of --items, which isn't given")
        return pipeline.start(given, name=name)
    from cdk_distributed_map.runs.files.item_files import format_of  # noqa: PLC0415 - only where there is a file

    if items.startswith("s3://"):
        bucket, _, key = items.removeprefix("s3://").partition("/")
        if not key:
            raise InputError(f"an item file in S3 is s3://bucket/key, got {items!r}")
        chosen = None if items_format is None else format_of(key, items_format)
        return pipeline.start(given, items_from=(bucket, key), items_format=chosen, name=name)
    file_format = format_of("items.jsonl" if items == "-" else items, items_format)
    if items == "-" and sys.stdin.isatty():
        _show.say("reading items from the terminal, to the end of the input (Ctrl-D)", err=True)
    with ExitStack() as stack:
        try:
            file: BinaryIO = sys.stdin.buffer if items == "-" else stack.enter_context(Path(items).open("rb"))
        except OSError as error:
            raise InputError(f"the items can't be read from {items}: {error.strerror}") from error
        return pipeline.start(given, items=file, items_format=file_format, name=name)


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    options = [
        click.argument("pipeline"),
        click.option("--input", "given", metavar="JSON|@FILE|-", help="Input of the execution. Default: {}."),
        click.option("--items", metavar="FILE|s3://BUCKET/KEY|-", help="Run on these items instead."),
        click.option(
            "--items-format",
            metavar="FORMAT",
            help="jsonl, json, or csv (RFC 4180, with a header). Default: by the name.",
        ),
        click.option("--name", metavar="NAME", help="Name of the run. Default: a unique one."),
        click.option("--watch", "watching", is_flag=True, help="Follow the run to its end."),
    ]

    def decorate(function: Callable[..., Any]) -> click.Command:
        for option in reversed(options):
            function = option(function)
        return click.command(name)(function)

    return decorate


def _start(client: Client, **options: Any) -> int:
    if options["given"] == options["items"] == "-":
        raise click.UsageError("standard input can't be both the input and the items: give one of them as a file")
    made = client.pipeline(options["pipeline"])
    run = _start_run(
        made,
        given=_parse_input(options["given"]),
        items=options["items"],
        items_format=options["items_format"],
        name=options["name"],
    )
    if options["as_json"]:
        _show.json_line({"run": run.name, "arn": run.arn, "pipeline": made.name})
    else:
        _show.say(f"{run.name}\n{run.arn}")
    return _progress.follow(run, as_json=options["as_json"]) if options["watching"] else _exit.SUCCESS


_HELP = """Start a run of PIPELINE.

    The run gets a unique, readable name. With --name, starting twice with the same input starts one run.

    \b
    distmap run Squares --input '{"number": 100000, "chunk": 5}' --watch
    distmap run Squares --items numbers.csv --name nightly-2026-11-21
    generate | distmap run Squares --items - --items-format jsonl
    distmap run Stack/Squares --items s3://bucket/list.jsonl

    CSV is read as RFC 4180 has it, not by Step Functions' grammar for the CSV files that a map reads itself: a
    backslash is a character like any other.
    """


@_command("run")
@_options.aws_options
def run(client: Client, **options: Any) -> int:
    """Start a run."""
    return _start(client, **options)


@_command("start")
@_options.aws_options
def start(client: Client, **options: Any) -> int:
    """The same as run."""
    return _start(client, **options)


run.help = start.help = _HELP
run.short_help, start.short_help = "Start a run.", "The same as run."


@click.command()
@_options.run_arguments
@click.option("--ledger/--no-ledger", "check", default=True, show_default=True, help="Ask the ledger at the end.")
@_options.aws_options
def watch(client: Client, target: str, name: str | None, *, check: bool, as_json: bool) -> int:
    """Follow a run to its end.

    It asks AWS no more than once in 5 seconds in the long run, so that five watchers stay within what an account may
    ask. Throttling, a lost network and expired credentials only make it wait. Ctrl-C leaves the run going.

    A run can succeed with items that failed inside batches that succeeded, which AWS doesn't count: the ledger tells,
    and the exit code is 4 then, or 5 where that can't be told.

    \b
    distmap watch Squares                 the latest run
    distmap watch Squares nightly-2026-11-21
    """
    return _progress.follow(_options.find_run(client, target, name), as_json=as_json, check=check)
