"""What people see: tables, numbers and durations; colours and boxes on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.amounts import seconds_text
from cdk_distributed_map.runs.text import NO_ITEMS, counted, one_line, visible
from distmap import pages

if TYPE_CHECKING:
    from rich.console import Console

    from cdk_distributed_map.runs import Counts, Ledger, NestedAccount
    from distmap.wire import BatchMeasures

STYLES: Final = {
    "SUCCEEDED": "green",
    "RUNNING": "cyan",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "ABORTED": "yellow",
    "PENDING_REDRIVE": "yellow",
}


_OUTCOMES: Final = ("succeeded", "failed", "unprocessed", "pending", "missing")


@cache
def console() -> Console:
    """Return the console, which respects ``NO_COLOR`` and recognises terminals."""
    from rich.console import Console  # noqa: PLC0415 - it takes longer to import than the rest of a --help

    return Console(highlight=False, soft_wrap=True)


def counts_json(counts: Counts) -> dict[str, int]:
    """Return item counts under the names that AWS has for them."""
    return {camel(name): number for name, number in vars(counts).items()}


def items_json(account: Ledger | NestedAccount) -> dict[str, int]:
    """Return the numbers of an account under the names it has for them."""
    return {"captured": account.captured, **{name: getattr(account, name) for name in _OUTCOMES}}


def items_text(account: Ledger | NestedAccount) -> str:
    """Return the numbers of an account in one line: what there is none of is left out, but for successes."""
    numbers = [(name, getattr(account, name)) for name in _OUTCOMES]
    return "items: " + ", ".join(f"{number:,} {name}" for name, number in numbers if number or name == "succeeded")


def camel(name: str) -> str:
    """Return a name as it is in JSON: ``timedOut``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def say(text: str, *, err: bool = False) -> None:
    """Write lines that no terminal takes for control sequences, whatever data is in them.

    Args:
        text: The lines.
        err: Whether they go to standard error.
    """
    click.echo(visible(text), err=err)


def as_json(value: Any) -> None:
    """Write a value as one JSON text."""
    say(json.dumps(value, indent=2, ensure_ascii=False, default=_jsonable))


def json_text(value: Any) -> str:
    """Return a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, default=_jsonable)


def json_line(value: Any) -> None:
    """Write a value as one line of JSON."""
    say(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_jsonable))


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def styled(text: str) -> None:
    """Write text with the marks of ``rich`` in it."""
    console().print(visible(text))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """Write a table: drawn on a terminal, with tabs between the columns elsewhere.

    Args:
        headers: Names of the columns; all empty for none.
        rows: The cells.
        numbers: Columns that are aligned to the right.
    """
    from rich.markup import escape  # noqa: PLC0415 - see console

    if not console().is_terminal:
        for row in [*([headers] if any(headers) else []), *rows]:
            say("\t".join(one_line(cell) for cell in row))
        return
    from rich import box  # noqa: PLC0415 - see console
    from rich.table import Table  # noqa: PLC0415 - likewise

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(headers))
    for column, header in enumerate(headers):
        grid.add_column(header, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(status(cell) if cell in STYLES else escape(one_line(cell)) for cell in row))
    console().print(grid)


def status(text: str) -> str:
    """Return a status with its colour."""
    return f"[{STYLES[text]}]{text}[/]" if text in STYLES else text


def duration(seconds: float | None) -> str:
    """Return how long something took, in whole seconds."""
    return seconds_text(None if seconds is None else round(seconds))


def when(time: datetime | None) -> str:
    """Return a time in the local time zone."""
    return "-" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def ledger(account: Ledger) -> None:
    """Write a ledger for people."""
    rows = [("captured", account.captured), ("succeeded", account.succeeded), ("failed", account.failed)]
    rows += [("  of them timed out", account.timed_out)] if account.timed_out else []
    rows += [("unprocessed", account.unprocessed), ("pending", account.pending), ("missing", account.missing)]
    rows += [("duplicates dropped", account.duplicates)] if account.duplicates else []
    rows += [("recovered in rounds", account.recovered)] if account.rounds else []
    rows += [("pushed to every target", account.pushed)] if account.pushed is not None else []
    rounds = f", {counted(account.rounds, 'round')}" if account.rounds else ""
    say(f"{account.run}: {account.status}{rounds}")
    if (account.error or "").startswith("Distmap."):
        say(f"{account.error}: {one_line(account.cause or '', 1_000)} ({pages.address(str(account.error))})")
    if len(account.chain) > 1:
        for link in account.chain:
            items = "" if link.items is None else f", {counted(link.items, 'item')}"
            say(f"  {link.name}: {link.status}{items}")
    table(["items", "number"], [(name, f"{number:,}") for name, number in rows], numbers=[1])
    for error in account.errors:
        timed_out_note = " (timed out)" if error.timed_out else ""
        say(f"{error.count:,}  {kind_of_failure(error.error, error.place, error.message)}{timed_out_note}")
        for example in error.examples:
            item_name = "an item" if example.index is None else f"item {example.index:,}"
            item_name += "" if example.source is None else f" of {one_line(example.source, 200)}"
            say(f"    {item_name}: {one_line(example.cause, 200)}" if example.cause else f"    {item_name}")
            if example.input is not None:
                say(f"      input  {one_line(example.input, 200)}")
    if account.measures is not None:
        say(measured(account.measures))
    nested(account)
    for note in account.notes:
        say(note)
    verdict(account)


def measured(measures: BatchMeasures) -> str:
    """Return in one line what workers measured of their items."""
    times = ", ".join(f"{name} {seconds_text(measures[name])}" for name in ("median", "p99", "most"))
    memory = f"; memory {measures['memoryMB']:,} MB" if "memoryMB" in measures else ""
    return f"time of an item: {times} (item {one_line(measures['slowest'], 200)}){memory}"


def kind_of_failure(error: str, place: str | None, message: str) -> str:
    """Return a kind of failures in one line: the error, where it came from, and what the messages have in common."""
    where = "" if place is None else f" at {one_line(place, 200)}"
    return f"{one_line(error, 300)}{where}{f': {one_line(message, 200)}' if message else ''}"


def nested(account: Ledger) -> None:
    """Write the account of the nested maps of a run, where it has any."""
    if not account.nested:
        return
    names = ("map_runs", "captured", "succeeded", "failed", "unprocessed", "pending", "missing")
    rows = [[nested_map.label, *(f"{getattr(nested_map, name):,}" for name in names)] for nested_map in account.nested]
    headers = ["nested map", *(name.replace("_", " ") for name in names)]
    table(headers, rows, numbers=range(1, len(headers)))


def without_success(account: Ledger) -> str:
    """Return how many items did not succeed, those of nested maps too."""
    inner = account.nested_unsuccessful
    nested_items = f", and {counted(inner, 'item')} of nested maps," if inner else ""
    return f"{account.unsuccessful:,} of {counted(account.captured, 'item')}{nested_items} did not succeed"


def nothing_captured(account: Ledger) -> str:
    """Return what to say of a ledger without items: that there were none, or that it isn't known."""
    if account.captured_from != "unknown":
        return NO_ITEMS
    return (
        "how many items there are isn't known yet" if account.run_error is None else "how many items it had isn't known"
    )


def verdict(account: Ledger) -> None:
    """Write whether a ledger adds up."""
    from rich.markup import escape  # noqa: PLC0415 - see console

    parts = [
        f"{account.succeeded:,}",
        f"{account.failed:,}",
        f"{account.unprocessed:,}",
        f"{account.pending:,}",
        f"{account.missing:,}",
    ]
    text = f"{' + '.join(parts)} = {account.accounted:,}"
    if account.run_error is not None:
        console().print(f"[red]the run's own error:[/] {escape(visible(account.run_error))}")
    if account.captured_from == "unknown":
        say(nothing_captured(account))
        return
    if account.run_error is not None:
        say(f"{text} of {account.captured:,} captured")
        return
    if account.is_complete:
        console().print(f"[green]it adds up:[/] {text} of {account.captured:,} captured")
        return
    console().print(f"[red]not everything is accounted for:[/] {text} of {account.captured:,} captured")
    for problem in account.problems:
        say(f"  {problem}")
    for nested_map in account.nested:
        for problem in nested_map.problems:
            say(f"  {nested_map.label}: {problem}")
    if account.missing:
        examples = ", ".join(f"{index:,}" for index in account.missing_examples)
        say(f"  {counted(account.missing, 'item')} in no result file, the first: {examples}")
