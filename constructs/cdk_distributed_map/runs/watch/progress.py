"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cdk_distributed_map.runs.aws.descriptions import ENDED, Counts, MapRun, seconds_between
from cdk_distributed_map.runs.errors import RunFailedError
from cdk_distributed_map.runs.text import visible

if TYPE_CHECKING:
    from distmap.wire import OutputLedger


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    .. versionadded:: 0.1.0
    """

    name: str
    status: str
    started: datetime | None
    stopped: datetime | None
    maps: tuple[MapRun, ...]
    """The outermost Map Runs in the order they started, the last known state of each."""
    rounds: dict[str, int] = field(default_factory=dict)
    """Which of them are rounds of what had not succeeded, by ARN, each with its number."""
    ledger: OutputLedger | None = None
    """The account in the output of the run; None where it has none, or none yet."""
    nested: dict[str, Counts] = field(default_factory=dict)
    """Item counts of the maps inside them, by label, as far as they were seen."""
    nested_children: dict[str, Counts] = field(default_factory=dict)
    """Counts of the children of these, by label."""
    nested_runs: dict[str, int] = field(default_factory=dict)
    """Map Runs seen of each of these labels."""
    nested_left_out: int = 0
    """Children whose own maps aren't in these counts, or not as they are now: at most so many."""
    rate: float | None = None
    """Items that ended in a second, over the last minute."""
    error: str | None = None
    cause: str | None = None
    final: bool = False
    """Whether the run has ended and these counts are its last."""
    complete: bool = True
    """Whether the counts of all maps could be read."""

    @property
    def items(self) -> Counts:
        """Item counts of the outermost maps together: rounds aside, whose items are among these.

        They are AWS's, to which an item has succeeded as soon as its child has, whatever failed in a batch. What became
        of items is in :attr:`ledger`.
        """
        total = Counts()
        for map_run in self.first_maps:
            total += map_run.items
        return total

    @property
    def children(self) -> Counts:
        """Counts of the children of the outermost maps together, rounds aside."""
        return sum((map_run.children for map_run in self.first_maps), Counts())

    @property
    def first_maps(self) -> tuple[MapRun, ...]:
        """The outermost Map Runs that are no rounds."""
        return tuple(map_run for map_run in self.maps if map_run.arn not in self.rounds)

    @property
    def latest_round(self) -> MapRun | None:
        """The latest round; None where there was none."""
        return max(
            (map_run for map_run in self.maps if map_run.arn in self.rounds),
            key=lambda map_run: self.rounds[map_run.arn],
            default=None,
        )

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to go at this rate; None where it isn't known."""
        items = self.items if self.latest_round is None else self.latest_round.items
        unfinished = items.pending + items.running
        return None if self.ended or not self.rate or items.total == 0 else unfinished / self.rate

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return 0.0 if self.started is None else seconds_between(self.started, self.stopped)

    @property
    def ended(self) -> bool:
        """Whether the run has ended; the last counts may still be asked for."""
        return self.status in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether the run succeeded, items that failed within the tolerance or not."""
        return self.status == "SUCCEEDED"

    def check(self) -> Progress:
        """Return this, unless the run has failed, timed out or was stopped.

        Items that failed within the tolerance of a run don't fail it: :attr:`items_failed` and the ledger tell of them.

        Raises:
            RunFailedError: It did, with the run's own error and cause.

        .. versionadded:: 0.1.0
        """
        if self.ended and not self.succeeded:
            why = ": ".join(part for part in (self.error, self.cause) if part)
            raise RunFailedError(visible(f"{self.name}: {self.status}" + (f": {why}" if why else "")))
        return self

    @property
    def items_failed(self) -> bool:
        """Whether items did not succeed, where the run says so; else whether AWS counts any, or children, as such."""
        if self.ledger is not None:
            return self.ledger["succeeded"] < self.ledger["captured"]
        return any(map_run.items.unsuccessful or map_run.children.unsuccessful for map_run in self.maps)
