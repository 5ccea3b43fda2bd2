"""What people see: tables, numbers and durations; colours and boxes on a terminal, plain text elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.runs.text import NO_ITEMS, counted, one_line, visible

if TYPE_CHECKING:
    from rich.console import Console

    from cdk_distributed_map.runs import Counts, Ledger

STYLES: Final = {
    "SUCCEEDED": "green",
    "RUNNING": "cyan",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "ABORTED": "yellow",
    "PENDING_REDRIVE": "yellow",
}


@cache
def console() -> Console:
    """Return the console, which knows of ``NO_COLOR`` and of terminals."""
    from rich.console import Console  # noqa: PLC0415 - it takes longer to import than the rest of a --help

    return Console(highlight=False, soft_wrap=True)


def counts_json(counts: Counts) -> dict[str, int]:
    """Return item counts under the names that AWS has for them."""
    return {camel(name): number for name, number in vars(counts).items()}


def camel(name: str) -> str:
    """Return a name as it is in JSON: ``timedOut``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def say(text: str, *, err: bool = False) -> None:
    """Write lines, in which no data can be taken for a command of the terminal.

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

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(headers))
    for column, header in enumerate(headers):
        made.add_column(header, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(status(cell) if cell in STYLES else escape(one_line(cell)) for cell in row))
    console().print(made)


def status(text: str) -> str:
    """Return a status with its colour."""
    return f"[{STYLES[text]}]{text}[/]" if text in STYLES else text


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: ``1h05m``, ``3m20s``, ``12s``."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole >= 86_400:
        return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def when(time: datetime | None) -> str:
    """Return a time in the local time zone."""
    return "-" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def ledger(made: Ledger) -> None:
    """Write a ledger for people."""
    rows = [("captured", made.captured), ("succeeded", made.succeeded), ("failed", made.failed)]
    rows += [("  of them timed out", made.timed_out)] if made.timed_out else []
    rows += [("unprocessed", made.unprocessed), ("pending", made.pending), ("missing", made.missing)]
    rows += [("duplicates dropped", made.duplicates)] if made.duplicates else []
    say(f"{made.run}: {made.status}")
    if len(made.chain) > 1:
        for link in made.chain:
            items = "" if link.items is None else f", {counted(link.items, 'item')}"
            say(f"  {link.name}: {link.status}{items}")
    table(["items", "number"], [(name, f"{number:,}") for name, number in rows], numbers=[1])
    for error in made.errors:
        late = " (timed out)" if error.timed_out else ""
        say(f"{error.count:,}  {one_line(error.error, 300)}{late}")
        for example in error.examples:
            which = "an item" if example.index is None else f"item {example.index:,}"
            which += "" if example.source is None else f" of {one_line(example.source, 200)}"
            say(f"    {which}: {one_line(example.cause, 200)}" if example.cause else f"    {which}")
    nested(made)
    for note in made.notes:
        say(note)
    verdict(made)


def nested(made: Ledger) -> None:
    """Write the account of the nested maps of a run, where it has any."""
    if not made.nested:
        return
    names = ("map_runs", "captured", "succeeded", "failed", "unprocessed", "pending", "missing")
    rows = [[each.label, *(f"{getattr(each, name):,}" for name in names)] for each in made.nested]
    headers = ["nested map", *(name.replace("_", " ") for name in names)]
    table(headers, rows, numbers=range(1, len(headers)))


def nothing_captured(made: Ledger) -> str:
    """Say of a ledger without items whether there were none, or nobody knows."""
    if made.captured_from != "unknown":
        return NO_ITEMS
    return "how many items there are isn't known yet" if made.run_error is None else "how many items it had isn't known"


def verdict(made: Ledger) -> None:
    """Say whether a ledger adds up."""
    from rich.markup import escape  # noqa: PLC0415 - see console

    parts = [
        f"{made.succeeded:,}",
        f"{made.failed:,}",
        f"{made.unprocessed:,}",
        f"{made.pending:,}",
        f"{made.missing:,}",
    ]
    text = f"{' + '.join(parts)} = {made.accounted:,}"
    if made.run_error is not None:
        console().print(f"[red]the run's own error:[/] {escape(visible(made.run_error))}")
    if made.captured_from == "unknown":
        say(nothing_captured(made))
        return
    if made.run_error is not None:
        say(f"{text} of {made.captured:,} captured")
        return
    if made.is_complete:
        console().print(f"[green]it adds up:[/] {text} of {made.captured:,} captured")
        return
    console().print(f"[red]not everything is accounted for:[/] {text} of {made.captured:,} captured")
    for problem in made.problems:
        say(f"  {problem}")
    for each in made.nested:
        for problem in each.problems:
            say(f"  {each.label}: {problem}")
    if made.missing:
        examples = ", ".join(f"{index:,}" for index in made.missing_examples)
        say(f"  {counted(made.missing, 'item')} in no result file, the first: {examples}")
