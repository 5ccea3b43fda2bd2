"""The items of a plan: a number, or counted where they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from cdk_distributed_map.cli import _plan_measure, _start

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Described, Fact
    from cdk_distributed_map.runs import Client


def number_of(text: str | None) -> int | None:
    """Return the number that a text is; None where it names a file or a place in S3."""
    if text is None or not re.fullmatch(r"-?[\d_,]+", text):
        return None
    try:
        number = int(text.replace(",", ""))
    except ValueError:
        number = -1
    if number < 0:
        message = f"the number of items must be a whole one of at least 0, or name a file of them, got {text!r}"
        raise click.UsageError(message)
    return number


def facts(
    client: Client, pipeline: str, described: Described, known: dict[str, Fact], options: dict[str, Any]
) -> dict[str, Fact]:
    """Return what is counted and measured at the source, as far as nothing else tells it.

    Raises:
        click.UsageError: Nothing tells how long an item takes, or two options do.
        InputError: The source can't be read, or isn't known before a run.
        AwsError: AWS refused a call.
    """
    from cdk_distributed_map.runs.foresight import count  # noqa: PLC0415 - a --help doesn't need it
    from cdk_distributed_map.runs.foresight.source import source_for  # noqa: PLC0415 - likewise

    number = options["measure"]
    if number is None and options["measure_memory"]:
        raise click.UsageError("--measure-memory needs --measure, the number of items to run at each size")
    if number is not None and "times" in known:
        raise click.UsageError(
            "--measure tells how long an item takes: leave it out, or --item-seconds, --from-run and --against"
        )
    if "times" not in known and number is None:
        raise click.UsageError(
            "say how long an item takes: --item-seconds 0.05, --from-run latest, or --measure 200 to run some"
        )
    if "items" in known and number is None:
        return {}
    parsed = _start.parse_input(options["execution_input"])
    execution_input = {} if parsed is None else parsed
    named = options["items"] if number_of(options["items"]) is None else None
    source = source_for(described.definition, execution_input, named=named)
    counted_facts: dict[str, Fact] = {} if "items" in known else count.count(client.aws, source).facts()
    if number is not None:
        items = count.first_items(client.aws, source, number)
        counted_facts |= _plan_measure.measured(
            client, pipeline, items, input=execution_input, sizes=options["measure_memory"]
        )
    return counted_facts
