"""What result files say of each item, put into the states of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdk_distributed_map.runs.files import item_states, scan
from cdk_distributed_map.runs.files.item_states import ItemStates
from distmap._export import Report
from distmap._records import Unsuccessful
from distmap._told import Reader, Told

LEFT: Final = "the function's deadline came near"
"""Why an item was left unprocessed."""

_BATCHES: Final = (
    "outputs of whole batches don't tell which items they are of: export results with Transformation.NONE, or decorate "
    "the worker with @process_items"
)


def note(readers: Sequence[Reader], states: ItemStates, *, batched: bool, report: Report, ended: bool = True) -> bool:
    """Note what the results of one run say.

    Args:
        readers: Those of its map runs, the latest first.
        states: Where to note what became of each item.
        batched: Whether its children get batches.
        report: Called with what can't be told, in words.
        ended: Whether nothing more is being exported.

    Returns:
        Whether there were any result files.

    Raises:
        NotReadyError: A manifest isn't there yet.
        ResultFilesError: One is none of its map run.
    """
    # Where another map run tried items again, a failure before it is no second result of theirs.
    states.once = len(readers) == 1
    some = told_of_batches = False
    for reader in readers:
        for file in scan.files(reader, ended=ended):
            some = True
            for told in reader.read(file):
                if told.is_plain and batched:
                    if not told_of_batches:
                        report(_BATCHES)
                    told_of_batches = True
                elif file.earlier:
                    states.make_good(told.indexes)
                else:
                    _note(told, states)
        reader.sum_up()
    return some


def _note(told: Told, states: ItemStates) -> None:
    if told.indexes:
        states.succeed_all(told.indexes)
    for other in told.others:
        _note_other(other, states)


def _note_other(other: Unsuccessful, states: ItemStates) -> None:
    if other.outcome == "PENDING":
        states.mark_untried(other.index, item_states.PENDING)
    elif other.outcome == "UNPROCESSED":
        states.mark_untried(other.index, item_states.UNPROCESSED)
    else:
        timed_out = other.outcome == "TIMED_OUT"
        states.fail(other.index, other.error or "", other.cause or "", timed_out=timed_out, child=other.child)
