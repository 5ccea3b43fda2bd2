# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""``distmap plan``: time, cost and what binds, before a run starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _options, _show
from cdk_distributed_map.cli._plan_choices import choices
from cdk_distributed_map.runs.errors import InputError

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Described, Fact, Forecast, Inputs
    from cdk_distributed_map.runs import Client
    from cdk_distributed_map.runs.foresight.measured import Measured

_SHARE: Final = click.FloatRange(0, 1)
_POSITIVE: Final = click.FloatRange(min=0, min_open=True)
_WHOLE: Final = click.IntRange(min=1)


def _seconds(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of ``90s``, ``30m``, ``2h`` or ``1.5d``; a number alone is seconds."""
    del context, parameter
    if value is None:
        return None
    found = re.fullmatch(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)", value)
    if found is None or float(found["number"]) == 0:
        message = f"a time is a number with s, m, h or d, as 30m, got {value!r}"
        raise click.BadParameter(message)
    return float(found["number"]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}[found["unit"]]


FACTS: Final = {
    "item_bytes": ("--item-bytes", _POSITIVE, "Bytes of an item."),
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
    command = click.option("--item-p99", type=_POSITIVE, metavar="S", help="Seconds that 99 of 100 items take at most. "
        "Default: all take the same.")(command)  # fmt: skip
    command = click.option("--item-seconds", type=_POSITIVE, metavar="S", help="Seconds that an item takes, in the "
        "median.")(command)  # fmt: skip
    return click.option("--items", type=click.IntRange(min=0), metavar="N", help="Number of items.")(command)


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--quotas`` and ``--prices``."""
    for name in ("prices", "quotas"):
        command = click.option(
            f"--{name}", f"{name}_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help=f"JSON with other {name} than the Region's.",
        )(command)  # fmt: skip
    return command


@click.command(short_help="Say what a run would take and cost.")
@click.argument("pipeline")
@fact_options
@assembly_option
@file_options
@click.option("--from-run", metavar="RUN", help="Take items, times and sizes from a run that has ended, or 'latest'.")
@click.option("--against", metavar="RUN", help="Show the plan of such a run beside what was measured, term by term.")
@click.option("--tune", is_flag=True, help="Search settings of any size, not only some around today's.")
@click.option(
    "--objective", type=click.Choice(["cost", "time", "balanced"]), default="balanced", show_default=True,
    help="What the best setting is best by.",
)  # fmt: skip
@click.option("--max-cost", type=_POSITIVE, metavar="USD", help="Only settings that cost at most so much.")
@click.option(
    "--max-time", callback=_seconds, metavar="TIME", help="Only those that take at most so long: 90s, 30m, 2h."
)
@click.option("--html", metavar="FILE", help="Write the plan as one HTML page as well.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulation.")
@_options.aws_options
def plan(client: Client, *, pipeline: str, as_json: bool, **options: Any) -> int:
    """Say what a run of PIPELINE would take and cost, and what bounds it, before it starts.

    PIPELINE is looked for in what cdk synth wrote, and then on AWS. The run is simulated many times over what isn't
    known exactly: of ten runs, one is faster than p10, five than p50 and nine than p90. Other settings follow, of which
    none is both cheaper and faster; with --max-cost or --max-time the exit code is 6 where none keeps them.

    \b
    distmap plan Squares --items 50_000_000 --item-seconds 0.05
    distmap plan Squares --items 50_000_000 --item-seconds 0.05 --item-p99 0.4 --batch 500
    distmap plan Squares --from-run latest --items 50_000_000
    distmap plan Squares --against nightly-2026-11-21
    """
    from cdk_distributed_map.cli import _plan_screen  # noqa: PLC0415 - a --help doesn't need it

    inputs, run = inputs_and_run(client, pipeline, options)
    found, problem = forecast_of(inputs, seed=options["seed"])
    if options["against"] is not None and found is not None and run is not None:
        return _against(inputs, found, run, as_json=as_json)
    others = choices(inputs, options)
    if found is None and not options["tune"]:
        raise InputError(problem)
    if options["html"] is not None and found is not None:
        from cdk_distributed_map.cli import _output, _plan_page  # noqa: PLC0415 - only a page needs them

        with _output.text(options["html"]) as file:
            file.write(_plan_page.render(inputs, found, others))
    if as_json:
        numbers = {"error": problem} if found is None else found.to_json()
        _show.as_json({"pipeline": inputs.name, **numbers, "inputs": inputs_json(inputs), **others.to_json()})
    else:
        if found is None:
            _show.say(f"today's settings fail: {problem}", err=True)
        else:
            for line in _plan_screen.lines(inputs.name, found, inputs.listed):
                _show.say(line)
        for line in _plan_screen.alternatives(others):
            _show.say(line)
    if others.shown or not others.is_limited:
        return _exit.SUCCESS
    _show.say(f"no setting {others.limits_text}: search more of them with --tune, or raise the limit", err=True)
    return _exit.OVER_LIMIT


def inputs_and_run(client: Client, pipeline: str, options: dict[str, Any]) -> tuple[Inputs, Measured | None]:
    """Return the inputs of a plan, and what a run measured of them where one is named."""
    from cdk_distributed_map.runs.foresight.measured import measure  # noqa: PLC0415 - see plan

    if options["against"] is not None and options["from_run"] is not None:
        raise click.UsageError("--against is a plan from that run: leave --from-run out")
    name = options["against"] or options["from_run"]
    given = facts_of(options)
    if name is None:
        return planned(client, pipeline, given, options), None
    run = measure(client.run(pipeline, name))
    return planned(client, pipeline, {**run.facts(), **given}, options), run


def _against(inputs: Inputs, found: Forecast, run: Measured, *, as_json: bool) -> int:
    from cdk_distributed_map.runs.foresight.measured import compare  # noqa: PLC0415 - see plan

    terms = compare(found, run)
    if as_json:
        numbers = {"pipeline": inputs.name, **found.to_json(), "inputs": inputs_json(inputs)}
        _show.as_json({**numbers, "against": [each.to_json() for each in terms]})
        return _exit.SUCCESS
    rows = [
        (
            f"{each.name}{f', {each.unit}' if each.unit else ''}",
            f"{each.predicted:,.4g}",
            f"{each.measured:,.4g}",
            "-" if each.ratio is None else f"{each.ratio:.2f}",
        )
        for each in terms
    ]
    _show.table(["", "predicted", "measured", "ratio"], rows, numbers=[1, 2, 3])
    return _exit.SUCCESS


def forecast_of(inputs: Inputs, *, seed: int = 0) -> tuple[Forecast | None, str]:
    """Return the forecast of a plan; or None, and why AWS would refuse the run or end it."""
    from cdk_distributed_map.plan import forecast  # noqa: PLC0415 - see plan

    try:
        return forecast(inputs.work, inputs.setting, platform=inputs.platform, prices=inputs.prices, seed=seed), ""
    except ValueError as error:
        return None, str(error)


def facts_of(options: dict[str, Any]) -> dict[str, Fact]:
    """Return what a command line says of a run."""
    from cdk_distributed_map.plan import Fact, Times  # noqa: PLC0415 - see plan

    facts = {name: Fact(options[name], "given") for name in ("items", "express", *FACTS) if options[name] is not None}
    if options["item_seconds"] is not None:
        with plan_errors():
            facts["times"] = Fact(Times.of(options["item_seconds"], options["item_p99"]), "given")
    elif options["item_p99"] is not None:
        raise click.UsageError("--item-p99 needs --item-seconds, the median")
    return facts


def planned(client: Client, pipeline: str, facts: dict[str, Fact], options: dict[str, Any]) -> Inputs:
    """Return the inputs of a plan of a pipeline."""
    from cdk_distributed_map.plan import inputs_of  # noqa: PLC0415 - see plan
    from cdk_distributed_map.runs.foresight.find import find  # noqa: PLC0415 - likewise

    described = find(client.aws, pipeline, folder=options["assembly"])
    if "items" not in facts:
        raise click.UsageError("say how many items there are: --items 50_000_000, or --from-run latest")
    if "times" not in facts:
        raise click.UsageError("say how long an item takes: --item-seconds 0.05, or --from-run latest")
    with plan_errors():
        platform, prices = _of_region(client, described, facts, options)
        return inputs_of(described, facts, platform=platform, prices=prices)


def _of_region(client: Client, described: Described, facts: dict[str, Fact], options: dict[str, Any]) -> Any:
    from cdk_distributed_map.plan import Fact, Platform  # noqa: PLC0415 - see plan
    from cdk_distributed_map.prices import Prices  # noqa: PLC0415 - likewise

    told = client.aws.region or described.region
    if client.aws.region is not None:
        facts["region"] = Fact(client.aws.region, "given")
    region = told or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    platform = Platform.of(region).changed(_json_file(options["quotas_file"]))
    given = _json_file(options["prices_file"])
    return platform, (Prices(region=region) if given and region.startswith("cn-") else Prices.of(region)).changed(given)


def _json_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must be an object of numbers by name, got {json.dumps(found)[:100]}")
    return found


def inputs_json(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the inputs of a plan as JSON."""
    return [{"name": each.name, "value": each.value, "origin": each.origin} for each in inputs.listed]


@contextmanager
def plan_errors() -> Iterator[None]:
    """Turn what a plan refuses into an error of the command."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
