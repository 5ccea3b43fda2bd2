# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""``distmap plan``: time, cost and what binds, before a run starts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cdk_distributed_map.cli import _exit, _options, _plan_options, _plan_source, _show
from cdk_distributed_map.cli._plan_choices import choices
from cdk_distributed_map.runs.errors import AwsError, InputError

if TYPE_CHECKING:
    from cdk_distributed_map.plan import Described, Fact, Forecast, Inputs
    from cdk_distributed_map.runs import Client
    from cdk_distributed_map.runs.foresight.measured import Measured

_ACCOUNT: Final = "account"


@click.command(short_help="Say what a run would take and cost.")
@click.argument("pipeline")
@_plan_options.fact_options
@_plan_options.assembly_option
@_plan_options.file_options
@_plan_options.measure_options
@click.option("--from-run", metavar="RUN", help="Take items, times and sizes from a run that has ended, or 'latest'.")
@click.option("--against", metavar="RUN", help="Show the plan of such a run beside what was measured, term by term.")
@click.option("--tune", is_flag=True, help="Search settings of any size, not only some around today's.")
@click.option(
    "--objective", type=click.Choice(["cost", "time", "balanced"]), default="balanced", show_default=True,
    help="What the best setting is best by.",
)  # fmt: skip
@click.option("--max-cost", type=_plan_options.POSITIVE, metavar="USD", help="Only settings that cost at most so much.")
@click.option(
    "--max-time",
    callback=_plan_options.seconds,
    metavar="TIME",
    help="Only those that take at most so long: 90s, 30m, 2h.",
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
    distmap plan Squares --items s3://bucket/images/ --measure 200
    distmap plan Squares --against nightly-2026-11-21
    """
    from cdk_distributed_map.cli import _plan_screen  # noqa: PLC0415 - a --help doesn't need it

    inputs, run = inputs_and_run(client, pipeline, options)
    plan_found, problem = forecast_of(inputs, seed=options["seed"], refuses=options["against"] is None)
    if options["against"] is not None and plan_found is not None and run is not None:
        return _against(inputs, plan_found, run, as_json=as_json)
    others = choices(inputs, options)
    if plan_found is None and not options["tune"]:
        raise InputError(problem)
    if options["html"] is not None and plan_found is not None:
        from cdk_distributed_map.cli import _output, _plan_page  # noqa: PLC0415 - only a page needs them

        with _output.text(options["html"]) as file:
            file.write(_plan_page.render(inputs, plan_found, others))
    if as_json:
        numbers = {"error": problem} if plan_found is None else plan_found.to_json()
        _show.as_json({"pipeline": inputs.name, **numbers, "inputs": inputs_json(inputs), **others.to_json()})
    else:
        if plan_found is None:
            _show.say(f"today's settings fail: {problem}", err=True)
        else:
            for line in _plan_screen.lines(inputs.name, plan_found, inputs.listed):
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
    facts = facts_of(options)
    if name is None:
        return planned(client, pipeline, facts, options), None
    run = measure(client.run(pipeline, name))
    return planned(client, pipeline, {**run.facts(), **facts}, options), run


def _against(inputs: Inputs, forecast: Forecast, run: Measured, *, as_json: bool) -> int:
    from cdk_distributed_map.runs.foresight.measured import compare  # noqa: PLC0415 - see plan

    terms = compare(forecast, run)
    if as_json:
        numbers = {"pipeline": inputs.name, **forecast.to_json(), "inputs": inputs_json(inputs)}
        _show.as_json({**numbers, "against": [term.to_json() for term in terms]})
        return _exit.SUCCESS
    rows = [
        (
            f"{term.name}{f', {term.unit}' if term.unit else ''}",
            f"{term.predicted:,.4g}",
            f"{term.measured:,.4g}",
            "-" if term.ratio is None else f"{term.ratio:.2f}",
        )
        for term in terms
    ]
    _show.table(["", "predicted", "measured", "ratio"], rows, numbers=[1, 2, 3])
    return _exit.SUCCESS


def forecast_of(inputs: Inputs, *, seed: int = 0, refuses: bool = True) -> tuple[Forecast | None, str]:
    """Return the forecast of a plan; or None, and why AWS would refuse the run or end it."""
    from cdk_distributed_map.plan import forecast  # noqa: PLC0415 - see plan

    try:
        plan_found = forecast(
            inputs.work,
            inputs.setting,
            platform=inputs.platform,
            prices=inputs.prices,
            seed=seed,
            refuses=refuses,
        )
    except ValueError as error:
        return None, str(error)
    return plan_found, ""


def facts_of(options: dict[str, Any]) -> dict[str, Fact]:
    """Return what a command line says of a run."""
    from cdk_distributed_map.plan import Fact, Times  # noqa: PLC0415 - see plan

    values = {**options, "items": _plan_source.number_of(options["items"])}
    facts = {
        name: Fact(values[name], "given")
        for name in ("items", "express", *_plan_options.FACTS)
        if values[name] is not None
    }
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
    with plan_errors():
        facts = {**_plan_source.facts(client, pipeline, described, facts, options), **facts}
        platform, prices = _of_region(client, described, facts, options)
        return inputs_of(described, facts, platform=platform, prices=prices)


def _of_region(client: Client, described: Described, facts: dict[str, Fact], options: dict[str, Any]) -> Any:
    from cdk_distributed_map.plan import Fact, Platform  # noqa: PLC0415 - see plan
    from cdk_distributed_map.prices import Prices  # noqa: PLC0415 - likewise

    own_region = client.aws.region or described.region
    if client.aws.region is not None:
        facts["region"] = Fact(client.aws.region, "given")
    region = own_region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    platform = Platform.of(region).changed(_quotas(client, described, facts, options["quotas_file"]))
    own_prices = _json_file(options["prices_file"])
    return platform, (Prices(region=region) if own_prices and region.startswith("cn-") else Prices.of(region)).changed(
        own_prices
    )


def _quotas(client: Client, described: Described, facts: dict[str, Fact], file: Path | None) -> dict[str, Any]:
    from cdk_distributed_map.plan import Fact  # noqa: PLC0415 - see plan
    from cdk_distributed_map.runs.foresight.quotas import account_quotas  # noqa: PLC0415 - likewise

    asks = str(file) == _ACCOUNT
    if file is not None and not asks:
        quotas = _json_file(file)
        if "account_concurrency" in quotas:
            facts["quotas_origin"] = Fact(str(file), "given")
        return quotas
    if not asks and (described.origin != "deployed" or not client.aws.is_amazon):
        return {}
    try:
        quotas = account_quotas(client.aws)
    except AwsError as error:
        if asks:
            raise
        _show.say(f"the Region's usual quotas are taken: {error}", err=True)
        return {}
    facts["quotas_origin"] = Fact(_ACCOUNT, "quota")
    return quotas


def _json_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(numbers, dict):
        raise InputError(f"{path} must be an object of numbers by name, got {json.dumps(numbers)[:100]}")
    return numbers


def inputs_json(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the inputs of a plan as JSON."""
    return [{"name": entry.name, "value": entry.value, "origin": entry.origin} for entry in inputs.listed]


@contextmanager
def plan_errors() -> Iterator[None]:
    """Turn what a plan refuses into an error of the command."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
