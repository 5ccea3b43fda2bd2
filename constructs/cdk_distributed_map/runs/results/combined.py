"""The combined answer of a run and its retries, made anew by the pipeline's own combine function."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import InputError, NotReadyError, RunFailedError, RunStateError
from cdk_distributed_map.runs.files import chain as chain_module
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.files.unread import unread
from distmap._errors import SpillError
from distmap._spill import check_own, is_spilled, resolve

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle


def combine(run: RunHandle) -> Any:
    """Return what the combine function makes of all results of a run and its retries: see :meth:`Run.combine`."""
    function = run.pipeline.definition.combine
    if function is None:
        raise InputError(
            f"{run.pipeline.called!r} has no combine function: declare one with combine=Combiner.python(...)"
        )
    root = chain_module.root_of(run)
    links = chain_module.links_of(root)
    last = links[-1].run if links else root
    described = last.describe()
    if not described.ended:
        raise RunStateError(f"{last.name!r} is {described.status}: wait for it (`distmap watch`)")
    why = unread(last, described, known=False)
    if why is not None and not why.read:
        raise RunFailedError(f"there is nothing to combine: {why.why}")
    event = _event(last, described)
    if run.aws.notice is not None:
        run.aws.notice(f"combining the results of {root.name}, which takes up to 15 minutes")
    what = f"calling the combine function {function!r}"
    with errors(what):
        answer = run.aws.functions(long=True).invoke(FunctionName=function, Payload=json.dumps(event).encode())
        body = answer["Payload"].read()
    made = json.loads(body)
    if "FunctionError" in answer:
        said = made if isinstance(made, dict) else {}
        raise RunFailedError(f"{what} failed: {said.get('errorType', 'Unknown')}: {said.get('errorMessage', made)}")
    return whole(last, made)


def whole(run: RunHandle, value: Any) -> Any:
    """Return an answer, read from the folder of its run where it was too large for the run's output.

    Raises:
        NotReadyError: It isn't there, or not what was written.
        AwsError: AWS refused a call.
    """
    if not is_spilled(value):
        return value
    bucket = run.pipeline.definition.item_file.bucket
    with errors(f"reading the answer of {run.name!r}"):
        try:
            return resolve(check_own(value, bucket, run.prefix.removesuffix("/")), s3=run.aws.s3())
        except SpillError as error:
            raise NotReadyError(f"the combined answer of {run.name!r} can't be read: {error}") from error


def with_whole_answer(run: RunHandle, described: RunDescription) -> RunDescription:
    """Return what AWS says of a run, with its combined answer itself where the output only says where that is.

    Raises:
        NotReadyError: The answer isn't there, or not what was written.
        AwsError: AWS refused a call.
    """
    output = described.output
    if not isinstance(output, dict) or not is_spilled(output.get("combined")):
        return described
    return replace(described, output={**output, "combined": whole(run, output["combined"])})


def _event(run: RunHandle, described: RunDescription) -> dict[str, Any]:
    """Return what the state machine sends to its combine function."""
    output = described.output
    if isinstance(output, dict) and output.keys() >= {"run", "items", "results", "mapRunArn"}:
        return {name: value for name, value in output.items() if name != "combined"}
    places = scan.places(run)
    if not places:
        raise NotReadyError(
            f"the results of {run.name!r} are not there, so there is nothing to combine: `distmap ledger` tells what "
            "became of its items"
        )
    items = None
    for place in (described.output, described.input):
        if items is None and isinstance(place, dict) and isinstance(place.get("items"), dict):
            items = place["items"]
    found = chain_module.item_file_of(run, described)
    if items is None and found is not None:
        items = {"bucket": found.bucket, "key": found.key}
    bucket = run.pipeline.definition.item_file.bucket
    return {
        "run": {
            "id": run.arn,
            "name": run.name,
            "bucket": bucket,
            "prefix": run.prefix.removesuffix("/"),
            "path": "",
        },
        "items": items,
        "results": places[0],
        "mapRunArn": next(iter(run.own_map_run_arns()), None),
        "ledger": {"rounds": len(scan.rounds(run))},
    }
