# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that change a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cdk_distributed_map.cli import _exit, _options, _progress, _show
from cdk_distributed_map.runs import RunsError, RunStateError

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Run

_yes = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@click.command(short_help="Run again exactly the items that did not succeed.")
@_options.run_arguments
@click.option("--name", "new_name", metavar="NAME", help="Name of the new run. Default: <first run>-retry-<number>.")
@click.option("--watch", "watching", is_flag=True, help="Follow the new run to its end.")
@click.option(
    "--nested", is_flag=True, help="Items that succeeded, though nested items in them did not, too: each as a whole."
)
@click.option(
    "--include-missing", is_flag=True, help="Where result files are gone or broken: what only those tell of too."
)
@click.option("--anyway", is_flag=True, hidden=True)
@_options.aws_options
def retry(client: Client, target: str, name: str | None, *, new_name: str | None, watching: bool, **given: bool) -> int:
    """Run again exactly the items that did not succeed, each with its identity.

    Failed, tolerated, timed out, unprocessed, pending and missing items, in a new run. Retries can be retried; the
    ledger and the results of any run of the chain follow the whole of it.

    \b
    distmap retry Squares --watch
    """
    run = _options.find_run(client, target, name)
    as_json = given["as_json"]
    if given["anyway"]:
        _show.say("warning: --anyway is named --include-missing now", err=True)
    include_missing = given["include_missing"] or given["anyway"]
    again = run.retry(name=new_name, nested=given["nested"], include_missing=include_missing)
    if again is None:
        if as_json:
            _show.json_line({"run": None})
        else:
            # A retry is of outermost items; inner ones can have failed within their own map's tolerance.
            nests = run.pipeline.definition.item_file.nested_maps
            which = "every item of the outermost map" if nests else "every item"
            of_nested = f"; `distmap failures {run.pipeline.name} {run.name}` tells of nested maps, and --nested runs "
            of_nested += "the items around what failed there again"
            also = of_nested if nests and not given["nested"] else ""
            if _had_no_items(run):
                _show.say(f"{run.name} had no items: nothing to run again")
            else:
                _show.say(f"{which} of {run.name} succeeded: nothing to run again{also}")
        return _exit.SUCCESS
    if as_json:
        _show.json_line({"run": again.name, "arn": again.arn, "pipeline": again.pipeline.name})
    else:
        _show.say(f"{again.name}\n{again.arn}")
    return _progress.follow(again, as_json=as_json) if watching else _exit.SUCCESS


def _had_no_items(run: Run) -> bool:
    """Return whether AWS says so; not where it has forgotten the run."""
    try:
        maps = run.own_map_runs()
    except RunsError:
        return False
    return bool(maps) and not any(each.items.total for each in maps)


@click.command()
@_options.run_arguments
@_yes
@click.option("--watch", "watching", is_flag=True, help="Follow the run to its end.")
@_options.aws_options
def redrive(client: Client, target: str, name: str | None, *, yes: bool, watching: bool, as_json: bool) -> int:
    """Let AWS go on with a run that failed: RedriveExecution.

    Failed children and items that never started are run; what succeeded is kept, but for runs that failed on the
    payload limit or on an expression, where AWS runs everything again: it says so and asks. A run that succeeded
    within its tolerance can't be redriven; `distmap retry` can do more.

    \b
    distmap redrive Squares --watch
    """
    run = _options.find_run(client, target, name)
    warning = run.redrive_warning()
    if warning is not None:
        _show.say(f"warning: {warning}", err=True)
        _options.confirmed("Redrive it all the same?", yes=yes)
    run.redrive()
    if as_json:
        _show.json_line({"run": run.name, "arn": run.arn})
    else:
        _show.say(f"{run.name} goes on")
    return _progress.follow(run, as_json=as_json) if watching else _exit.SUCCESS


@click.command()
@_options.run_arguments
@_yes
@_options.aws_options
def stop(client: Client, target: str, name: str | None, *, yes: bool, as_json: bool) -> int:
    """Stop a run; asks first. Express children run to their end.

    What did not succeed can be run later: `distmap retry`.

    \b
    distmap stop Squares
    distmap stop Squares nightly-2026-11-21 --yes
    """
    run = _options.find_run(client, target, name)
    described = run.describe()
    if described.ended:  # nobody needs to be asked
        raise RunStateError(f"{run.name!r} has ended already: {described.status}")
    _options.confirmed(f"Stop {run.name} of {run.pipeline.called}?", yes=yes)
    run.stop()
    if as_json:
        _show.json_line({"run": run.name, "status": run.describe().status})
    else:
        _show.say(f"{run.name} is stopped")
    return _exit.SUCCESS


@click.command()
@_options.run_arguments
@click.option("--max-concurrency", type=int, help="Most children at once, 1 to 10,000.")
@click.option("--tolerated-failure-percentage", type=float, help="Most items that may fail, 0 to 100 percent.")
@click.option("--tolerated-failure-count", type=int, help="Most items that may fail, as a number.")
@click.option("--map-run", metavar="ARN", help="Only this Map Run, such as a nested one. Default: the outermost.")
@_options.aws_options
def update(
    client: Client,
    target: str,
    name: str | None,
    *,
    max_concurrency: int | None,
    tolerated_failure_percentage: float | None,
    tolerated_failure_count: int | None,
    map_run: str | None,
    as_json: bool,
) -> int:
    """Change the concurrency or the tolerance of a running map.

    \b
    distmap update Squares --max-concurrency 50
    distmap update Squares --tolerated-failure-percentage 10
    """
    changed = _options.find_run(client, target, name).update(
        map_run_arn=map_run,
        max_concurrency=max_concurrency,
        tolerated_failure_percentage=tolerated_failure_percentage,
        tolerated_failure_count=tolerated_failure_count,
    )
    for each in changed:
        settings = {
            "mapRunArn": each.arn,
            "maxConcurrency": each.max_concurrency,
            "toleratedFailurePercentage": each.tolerated_failure_percentage,
            "toleratedFailureCount": each.tolerated_failure_count,
        }
        if as_json:
            _show.json_line(settings)
        else:
            _show.say(", ".join(f"{key} {value}" for key, value in settings.items()))
    return _exit.SUCCESS
