"""What a redrive of a run would do, and whether AWS would refuse it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import AwsError, RunStateError
from distmap._errors import ItemsMissingError, PushFailedError, ToleranceExceededError, name_of

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle

_READ_AGAIN: Final = frozenset({"States.ItemReaderFailed", "States.ResultWriterFailed"})
_UNKNOWABLE: Final = frozenset({"States.DataLimitExceeded", "States.Runtime"})
_FAILED_BY_ACCOUNT: Final = frozenset({name_of(ToleranceExceededError), name_of(ItemsMissingError)})
_EVENTS: Final = 50
"""How many of the last events of a history are looked at for the state that failed."""


def redrive_warning(described: RunDescription) -> str | None:
    """Return what to say before a redrive that doesn't do what people expect of it; None where it does.

    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html
    """
    if described.error in _UNKNOWABLE:
        return (
            f"the run failed with {described.error}: a redrive starts a new Map Run, which runs ALL items again, those "
            "that succeeded too. `distmap retry` runs only the others"
        )
    if described.error in _READ_AGAIN:
        return (
            f"the run failed with {described.error}: a redrive reads the items from S3 again, as they are now, so what "
            "was added or changed since the run began is run too. `distmap retry` keeps to what the run had"
        )
    return None


def check_redrivable(described: RunDescription) -> None:
    """Raise where AWS would refuse a redrive, with what to do instead.

    Raises:
        RunStateError: It would.
    """
    if described.status == "SUCCEEDED":
        raise RunStateError(
            f"{described.name!r} succeeded, and AWS redrives only what has not; items that failed within the tolerance "
            "are run again by `distmap retry`"
        )
    if not described.ended:
        raise RunStateError(f"{described.name!r} is {described.status}: there is nothing to redrive yet")
    if described.redrive_status == "NOT_REDRIVABLE":
        reason = f" ({described.redrive_status_reason})" if described.redrive_status_reason else ""
        raise RunStateError(f"AWS can't redrive {described.name!r}{reason}: `distmap retry` runs again what is left")


def redrive_effect(run: RunHandle, described: RunDescription) -> str:
    """Return what a redrive does for the items of a run, by what the run failed with.

    https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
    """
    if described.error in _FAILED_BY_ACCOUNT:
        around = " but those around items of nested maps" if run.pipeline.definition.item_file.nested_maps else ""
        return (
            "the account runs again: every item that did not succeed, those that failed too, runs again in new rounds "
            f"of this run; items that succeeded don't{around}"
        )
    if described.error == name_of(PushFailedError):
        return "the items that weren't sent yet are sent to the targets of on_items_failed; no item runs again"
    if described.error in _UNKNOWABLE or described.error in _READ_AGAIN:
        return "the map runs again: see the warning"
    state = _last_state(run)
    if state is None:
        return "AWS goes on with the state that failed"
    kind, name = state
    if kind == "Map":
        then = ", and then the account is made anew" if run.pipeline.definition.accounts else ""
        return f"AWS goes on with the map {name!r}: with unsuccessful children, and items that never started{then}"
    return f"AWS runs the state {name!r} again, and what comes after it; no item runs again before that"


def _last_state(run: RunHandle) -> tuple[str, str] | None:
    """Return type and name of the state that a run entered last; None where its history doesn't tell."""
    try:
        with errors(f"reading the history of {run.name!r}"):
            answer = run.aws.sfn().get_execution_history(
                executionArn=run.arn, reverseOrder=True, maxResults=_EVENTS, includeExecutionData=False
            )
    except AwsError:
        return None  # it may not be for this user to see
    for event in answer["events"]:
        if event["type"].endswith("StateEntered"):
            return event["type"].removesuffix("StateEntered"), event["stateEnteredEventDetails"]["name"]
    return None
