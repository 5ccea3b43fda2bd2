"""Options of ``distmap plan``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from cdk_distributed_map.cli import _plan_measure

_SHARE: Final = click.FloatRange(0, 1)
POSITIVE: Final = click.FloatRange(min=0, min_open=True)
_WHOLE: Final = click.IntRange(min=1)


def seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of ``90s``, ``30m``, ``2h`` or ``1.5d``; a number alone is seconds."""
    del context, parameter
    if value is None:
        return None
    match = re.fullmatch(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)", value)
    if match is None or float(match["number"]) == 0:
        message = f"a time is a number with s, m, h or d, as 30m, got {value!r}"
        raise click.BadParameter(message)
    return float(match["number"]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}[match["unit"]]


FACTS: Final = {
    "item_bytes": ("--item-bytes", POSITIVE, "Bytes of an item."),
    "nested_items": ("--nested-items", _WHOLE, "Items of each nested map."),
    "batch": ("--batch", _WHOLE, "Items of a batch at most."),
    "concurrency": ("--concurrency", _WHOLE, "Children at once at most."),
    "memory_mb": ("--memory", _WHOLE, "Memory of the worker's function in MB."),
    "cpu_share": ("--cpu-share", _SHARE, "Share of an item's time that computes, which memory changes. Default: 0."),
    "reserved": ("--reserved", _WHOLE, "Reserved concurrency of the worker."),
    "retried": ("--retries", _SHARE, "Share of children that are tried twice. Default: 0."),
    "run_again": ("--failures", _SHARE, "Share of items that fail and run again in a round. Default: 0."),
    "item_gets": ("--item-gets", click.FloatRange(min=0), "GET requests to S3 that the worker makes for an item."),
    "item_puts": ("--item-puts", click.FloatRange(min=0), "PUT requests to S3 that the worker makes for an item."),
}
"""Options that go before what the template says, by the names that the plan has for them."""


def assembly_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--assembly``."""
    return click.option(
        "--assembly", type=click.Path(path_type=Path), default=Path("cdk.out"), show_default=True,
        help="Folder that cdk synth wrote, where the pipeline is looked for first.",
    )(command)  # fmt: skip


def fact_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of what a template can't tell, or what is to be tried instead of it."""
    for name, (option, kind, words) in reversed(FACTS.items()):
        command = click.option(option, name, type=kind, metavar="N", help=words)(command)
    command = click.option(
        "--express/--standard", "express", default=None, help="Kind of the children. Default: as declared."
    )(command)
    command = click.option("--item-p99", type=POSITIVE, metavar="S", help="Seconds that 99 of 100 items take at most. "
        "Default: all take the same.")(command)  # fmt: skip
    command = click.option("--item-seconds", type=POSITIVE, metavar="S", help="Seconds that an item takes, in the "
        "median.")(command)  # fmt: skip
    command = click.option(
        "--input",
        "execution_input",
        metavar="JSON|@FILE|-",
        help="Input of the run, where that says what its items are.",
    )(command)
    return click.option(
        "--items", metavar="N|FILE|s3://...", help="Number of items, or where to count them: a file, an object, a "
        "prefix that ends in a slash, the manifest of an inventory. Default: the pipeline's own source.",
    )(command)  # fmt: skip


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--quotas`` and ``--prices``."""
    kind = click.Path(path_type=Path, dir_okay=False)
    command = click.option(
        "--prices", "prices_file", type=kind, metavar="FILE", help="JSON with other prices than the Region's."
    )(command)
    return click.option(
        "--quotas", "quotas_file", type=kind, metavar="FILE|account", help="JSON with other quotas than the Region's; "
        "'account' asks AWS, as is done anyway for a pipeline that was found there.",
    )(command)  # fmt: skip


def measure_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--measure`` and what goes with it."""
    command = click.option(
        "--measure-memory", callback=_plan_measure.memories, metavar="MB,MB,...", help="With --measure: run them at "
        "each of these sizes of the function's memory, which is then set back.",
    )(command)  # fmt: skip
    return click.option(
        "--measure", type=_WHOLE, metavar="N", help="Run the first N items of the source, on the deployed "
        "pipeline, and take how long an item took.",
    )(command)  # fmt: skip
