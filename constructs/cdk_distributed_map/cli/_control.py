# ruff: noqa: D301 - click reads the character \b, which a raw string would not have
"""Commands that control a run: retry, combine, redrive, stop, update."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cdk_distributed_map.cli import _exit, _options, _output, _progress, _show
from cdk_distributed_map.runs import RunsError, RunStateError

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Client, Run

_yes = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@click.command(short_help="Run again exactly the items that did not succeed.")
@_options.run_arguments
@click.option("--name", "new_name", metavar="NAME", help="Name of the new run. Default: <first run>-retry-<number>.")
@click.option("--watch", "watching", is_flag=True, help="Follow the new run to its end.")
@click.option(
    "--nested", is_flag=True, help="Also run items that succeeded but have failed nested items, each as a whole."
)
@click.option("--include-missing", is_flag=True, help="Also run items whose result files are gone or broken.")
@click.option("--anyway", is_flag=True, hidden=True)
@_options.aws_options
def retry(
    client: Client, target: str, name: str | None, *, new_name: str | None, watching: bool, **options: bool
) -> int:
    """Run again exactly the items that did not succeed, each under its own identity.

    Starts a new run with the failed, tolerated, timed out, unprocessed, pending and missing items. Retries can be
    retried; the ledger and the results of any run of the chain cover the whole chain.

    \b
    distmap retry Squares --watch
    """
    run = _options.find_run(client, target, name)
    as_json = options["as_json"]
    if options["anyway"]:
        _show.say("warning: --anyway is named --include-missing now", err=True)
    include_missing = options["include_missing"] or options["anyway"]
    retried = run.retry(name=new_name, nested=options["nested"], include_missing=include_missing)
    if retried is None:
        if as_json:
            _show.json_line({"run": None})
        else:
            # A retry is of outermost items; inner ones can have failed within their own map's tolerance.
            nests = run.pipeline.definition.item_file.nested_maps
            which_items = "every item of the outermost map" if nests else "every item"
            hint = (
                f"; `{_options.command('failures', run)}` lists items of nested maps, and --nested runs "
                "the items around those that failed again"
            )
            hint_on_nested = hint if nests and not options["nested"] else ""
            if _had_no_items(run):
                _show.say(f"{run.name} had no items: nothing to run again")
            else:
                _show.say(f"{which_items} of {run.name} succeeded: nothing to run again{hint_on_nested}")
        return _exit.of_ledger(run.ledger())
    if as_json:
        _show.json_line({"run": retried.name, "arn": retried.arn, "pipeline": retried.pipeline.name})
    else:
        _show.say(f"{retried.name}\n{retried.arn}")
    return _progress.follow(retried, as_json=as_json) if watching else _exit.SUCCESS


def _had_no_items(run: Run) -> bool:
    """Return whether AWS counted no items; False where AWS no longer knows the run."""
    try:
        maps = run.own_map_runs()
    except RunsError:
        return False
    return bool(maps) and not any(map_run.items.total for map_run in maps)


@click.command(short_help="Combine the results of a run and its retries again.")
@_options.run_arguments
@click.option("-o", "--output", metavar="FILE", help="File to write the answer to. Default: standard output.")
@_options.aws_options
def combine(client: Client, target: str, name: str | None, *, output: str | None, as_json: bool) -> int:
    """Have the pipeline's combine function make its answer again, over all results of a run and its retries.

    The answer is JSON, and whole: a large one is read from S3. The outputs of the runs stay as they are.

    \b
    distmap combine Squares
    distmap combine Squares nightly-2026-11-21 -o combined.json
    """
    run = _options.find_run(client, target, name)
    answer = run.combine()
    text = json.dumps(answer, ensure_ascii=False, indent=None if as_json else 2)
    if output is None:
        _show.say(text)
    else:
        with _output.text(output) as file:
            file.write(text + "\n")
    return _exit.SUCCESS


@click.command()
@_options.run_arguments
@_yes
@click.option("--watch", "watching", is_flag=True, help="Follow the run to its end.")
@_options.aws_options
def redrive(client: Client, target: str, name: str | None, *, yes: bool, watching: bool, as_json: bool) -> int:
    """Redrive a run that failed (RedriveExecution).

    The command says what AWS will do. A run that its own account failed (Distmap.ToleranceExceeded,
    Distmap.ItemsMissing) runs everything again that did not succeed. Otherwise AWS goes on with the state that failed:
    a map runs failed children and items that never started, and keeps what succeeded. A run that failed on the payload
    limit or on an expression is run again as a whole: the command asks first. A run that succeeded can't be redriven;
    use `distmap retry`.

    \b
    distmap redrive Squares --watch
    """
    run = _options.find_run(client, target, name)
    warning = run.redrive_warning()
    if warning is not None:
        _show.say(f"warning: {warning}", err=True)
        _options.confirmed("Redrive it anyway?", yes=yes)
    effect = run.redrive_effect()
    run.redrive()
    if as_json:
        _show.json_line({"run": run.name, "arn": run.arn})
    else:
        _show.say(f"{run.name} is running again: {effect}")
    return _progress.follow(run, as_json=as_json) if watching else _exit.SUCCESS


@click.command()
@_options.run_arguments
@_yes
@_options.aws_options
def stop(client: Client, target: str, name: str | None, *, yes: bool, as_json: bool) -> int:
    """Stop a run, after asking. Express children run to their end.

    `distmap retry` can run the unfinished items later.

    \b
    distmap stop Squares
    distmap stop Squares nightly-2026-11-21 --yes
    """
    run = _options.find_run(client, target, name)
    described = run.describe()
    if described.ended:  # there is nothing to confirm
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
@click.option("--max-concurrency", type=int, help="Most children at a time, 1 to 10,000.")
@click.option("--tolerated-failure-percentage", type=float, help="Share of items that may fail, 0 to 100 percent.")
@click.option("--tolerated-failure-count", type=int, help="Number of items that may fail.")
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
    map_runs = _options.find_run(client, target, name).update(
        map_run_arn=map_run,
        max_concurrency=max_concurrency,
        tolerated_failure_percentage=tolerated_failure_percentage,
        tolerated_failure_count=tolerated_failure_count,
    )
    for updated in map_runs:
        settings = {
            "mapRunArn": updated.arn,
            "maxConcurrency": updated.max_concurrency,
            "toleratedFailurePercentage": updated.tolerated_failure_percentage,
            "toleratedFailureCount": updated.tolerated_failure_count,
        }
        if as_json:
            _show.json_line(settings)
        else:
            _show.say(", ".join(f"{key} {value}" for key, value in settings.items()))
    return _exit.SUCCESS
