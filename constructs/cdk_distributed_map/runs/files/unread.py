"""Runs that ended before they had read their items: what they say of items is nothing, and no success."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cdk_distributed_map.runs.errors import AwsError
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.text import counted, one_line

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import MapRun, RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle

READER_FAILED: Final = "States.ItemReaderFailed"
_ENDED_SO: Final = {"FAILED": "failed", "TIMED_OUT": "timed out", "ABORTED": "was stopped"}


class Unread(NamedTuple):
    """That a run ended before it had read all of its items."""

    why: str
    read: int
    """How many it read."""


def unread(run: RunHandle, described: RunDescription | None, *, known: bool) -> Unread | None:
    """Return why a run never read its items, or not all of them, and in which state; None where it did, or goes on.

    Args:
        run: The run.
        described: What AWS says of it; None where AWS has forgotten it.
        known: Whether it is known all the same how many items it was to process. A run that was stopped has then left
            them pending, which is no error of its own.
    """
    if described is None or not described.ended or (known and described.status == "ABORTED"):
        return None
    try:
        maps = run.own_map_runs()
    except AwsError:
        return None  # the ledger says that the counts can't be had
    items_read = sum(map_run.items.total for map_run in maps)
    if described.status == "SUCCEEDED":
        # A state machine of the user's own can go on after the map's error.
        silent = not items_read and any(map(_failed, maps))
        return Unread(f"the map of {run.name!r} failed before it read an item", 0) if silent else None
    if items_read and (described.error != READER_FAILED or scan.rounds(run)):
        return None  # the items of a round were read already, by the map before it
    before = (
        "it read an item" if not items_read else f"it had read all of its items (it read {counted(items_read, 'item')})"
    )
    state = run.failed_state()
    where = "" if state is None else f", in the state {state!r}"
    ended = _ENDED_SO.get(described.status, described.status)
    why = f"{run.name!r} {ended} before {before}{where}{_because(described)}"
    return Unread(why, items_read)


def _failed(map_run: MapRun) -> bool:
    return map_run.status not in {"RUNNING", "SUCCEEDED"}


def _because(described: RunDescription) -> str:
    cause = one_line(described.cause or "", 500)
    if described.error == READER_FAILED and "s3:ListBucket" in cause:
        cause += " (S3 says so of an object that isn't there, too, where the bucket may not be listed: is it there?)"
    if not described.error:
        return f": {cause}" if cause else ""
    return f": {described.error}: {cause}" if cause else f": {described.error}"
