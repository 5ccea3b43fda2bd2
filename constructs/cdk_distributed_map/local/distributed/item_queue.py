"""The children of a map run that wait to be started."""

from __future__ import annotations

from collections.abc import Set

from cdk_distributed_map.local.execution import records as records_module
from cdk_distributed_map.local.execution.records import Records


class Queue:
    """The children that wait, in order: those known at the start, then those that are read.

    Args:
        records: What is known of the children.
        again: Those that a redrive runs again.
    """

    def __init__(self, records: Records, again: Set[int]) -> None:
        self._records = records
        self._again = again
        self._at = 0

    def take(self) -> int | None:
        """Return the next child that waits."""
        status = self._records.status
        while self._at < len(status):
            at = self._at
            self._at += 1
            if status[at] == records_module.PENDING or at in self._again:
                return at
        return None

    def empty(self) -> bool:
        """Tell whether none waits any more."""
        return self._at >= len(self._records)
