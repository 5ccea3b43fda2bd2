"""What became of each item, as the runtime keeps it: see :mod:`distmap._item_states`."""

from __future__ import annotations

from distmap._item_states import MISSING, PENDING, SUCCEEDED, UNPROCESSED, ErrorCount, Example, ItemStates

__all__ = [
    "MISSING",
    "PENDING",
    "SUCCEEDED",
    "UNPROCESSED",
    "ErrorCount",
    "Example",
    "ItemStates",
]
