"""The ledger of a run and its retries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cdk_distributed_map.runs.errors import UnavailableItemsError
from distmap._reconcile import Account
from distmap.wire import BatchMeasures


@dataclass(frozen=True, kw_only=True)
class Ledger(Account):
    """What became of the items of a run, and of its retries where it has any.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever :attr:`adds_up` is true.

    .. versionadded:: 0.1.0
    """

    rounds: int = 0
    """How often the run, and each retry, ran again by itself what had not succeeded."""
    recovered: int = 0
    """Items that succeeded in such a round."""
    error: str | None = None
    """Name of the error by which the account failed the run, or the run failed otherwise; None where it didn't."""
    cause: str | None = None
    """What the error says."""
    pushed: int | None = None
    """Items of which every target of ``on_items_failed`` got a message, as the run says; None where it has no
    targets, or nothing that failed."""
    measures: BatchMeasures | None = None
    """What the workers measured of their items, as the run's own account has it; None where that isn't there, or no
    worker measures."""
    document: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """The run's own account, where this is read from it and not counted from the files of the run."""

    @property
    def around_unsuccessful(self) -> set[int]:
        """Items that succeeded, though items of maps nested in them did not.

        Raises:
            UnavailableItemsError: It is the run's own account, which doesn't have them.
        """
        if self.document is not None and self.nested:
            raise UnavailableItemsError("the run's own account doesn't tell single items: take ledger(recount=True)")
        return super().around_unsuccessful

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; the run's own account as it is."""
        if self.document is not None:
            return self.document
        return {**super().to_json(), "rounds": self.rounds, "recovered": self.recovered}
