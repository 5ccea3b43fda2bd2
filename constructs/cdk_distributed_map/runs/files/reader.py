"""The outcomes in result files, put into the states of items: see :func:`distmap._noting.note`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cdk_distributed_map.runs.files import scan
from distmap import _noting
from distmap._export import Report
from distmap._item_states import ItemStates
from distmap._outcomes import Reader

LEFT: Final = "the function's deadline came near"
"""Why an item was left unprocessed."""


def note(readers: Sequence[Reader], states: ItemStates, *, batched: bool, report: Report, ended: bool = True) -> bool:
    """Add the outcomes in the results of one run to the states of its items.

    Args:
        readers: Those of its map runs, the latest first.
        states: Where to note what became of each item.
        batched: Whether its children get batches.
        report: Called with a message for each thing that can't be counted.
        ended: Whether nothing more is being exported.

    Returns:
        Whether there were any result files.

    Raises:
        NotReadyError: A manifest isn't there yet.
        ResultFilesError: One is none of its map run.
    """
    return _noting.note(
        readers, states, batched=batched, report=report, files=lambda reader: scan.files(reader, ended=ended)
    )
