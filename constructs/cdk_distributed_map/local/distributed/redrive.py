"""The children of a map run that a redrive runs again: they are what they were until they begin."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cdk_distributed_map.local.execution import records as records_module
from cdk_distributed_map.local.execution.records import Records
from distmap import limits

_UNSUCCESSFUL: Final = frozenset({records_module.FAILED, records_module.TIMED_OUT})


class Redrive:
    """Which children are to be run again, and how they count until then. Outside of a redrive, none are."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        """Children that haven't begun yet."""
        self.forgiven = 0
        """Items of theirs that are still counted as failed."""
        self.untouched = False
        """Whether no child at all has begun: counts are those of before the redrive then."""
        self.stuck = [0, 0]
        """Children, and items, that failed and that can't be run again."""

    def prepare(self, records: Records) -> None:
        """Let all that didn't succeed wait to be run again."""
        self.waiting.update(records.to_redrive(most_events=limits.MAX_HISTORY_EVENTS - 1))
        self.forgiven = sum(records.items[at] for at in self.waiting if records.status[at] in _UNSUCCESSFUL)
        self.untouched = True
        failed = [sum(counts[records_module.FAILED :]) for counts in records.counts]
        self.stuck = [of - again for of, again in zip(failed, _totals(records, self.waiting), strict=True)]

    def begin(self, records: Records, at: int) -> None:
        """Note that a child begins, whether it waited to be run again or not."""
        self.untouched = False
        if at in self.waiting:
            self.waiting.discard(at)
            self.forgiven -= records.items[at] if records.status[at] in _UNSUCCESSFUL else 0

    def pending(self, records: Records) -> list[int]:
        """Return the children, and their items, that are told to wait to be run again."""
        # Recorded: none as long as none has begun, though they are listed as PENDING_REDRIVE.
        return [0, 0] if self.untouched else _totals(records, self.waiting)

    def end(self) -> None:
        """Let none wait any more: they are what they were, until the next redrive."""
        self.waiting.clear()
        self.forgiven, self.untouched = 0, False


def _totals(records: Records, numbers: Collection[int]) -> list[int]:
    return [len(numbers), sum(records.items[at] for at in numbers)]
