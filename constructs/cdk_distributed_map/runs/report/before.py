"""The run before: what has changed since."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.runs.aws.descriptions import ENDED
from cdk_distributed_map.runs.errors import RunsError
from cdk_distributed_map.runs.find.handles import RunHandle
from cdk_distributed_map.runs.find.names import retry_number
from cdk_distributed_map.runs.ledger.own_account import own_account

if TYPE_CHECKING:
    from cdk_distributed_map.runs.report.costs import Cost
    from cdk_distributed_map.runs.report.figures import Figures

LOOKED_AT: Final = 1_000
"""Runs of the list that are looked at for the one before: AWS lists the latest first."""
MOST_BYTES: Final = 64 * 1024**2
"""Result files of the run before are read up to this size all together."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A figure of both runs."""

    name: str
    unit: str
    now: float | None
    before: float | None
    more_is: str = ""
    """``better`` or ``worse``; empty where it is neither."""

    @property
    def change(self) -> float | None:
        """By how many percent it has changed; None where that can't be said."""
        if self.now is None or not self.before:
            return None
        return (self.now - self.before) / self.before * 100

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where it has changed by more than a percent; otherwise empty."""
        change = self.change
        if change is None or abs(change) < 1 or not self.more_is:
            return ""
        return self.more_is if change > 0 else {"better": "worse", "worse": "better"}[self.more_is]


def run_before(root: RunHandle, figures: Figures, chain: Collection[str]) -> RunHandle | None:
    """Return the latest run of the pipeline that began before this one and has ended, retries aside."""
    if figures.described is None:
        return None
    for each in root.pipeline.runs(limit=LOOKED_AT):
        earlier = each.started < figures.described.started and each.status in ENDED
        if earlier and each.name not in chain and retry_number(each.name) is None:
            return RunHandle(root.pipeline, each.name).snapshot()
    return None


def compare(run: RunHandle, other: RunHandle, both: tuple[Figures, Figures], costs: tuple[Cost, Cost]) -> list[Row]:
    """Return what two runs have in common, this one's retries aside; what neither tells is left out."""
    now, before = both
    accounts = _items(run, now), _items(other, before)
    rates = [
        None if items is None or not each.wall else items / each.wall
        for (items, _), each in zip(accounts, both, strict=True)
    ]
    rows = [
        Row(name="duration", unit="s", now=now.wall, before=before.wall, more_is="worse"),
        Row(name="items", unit="", now=accounts[0][0], before=accounts[1][0]),
        Row(name="did not succeed", unit="", now=accounts[0][1], before=accounts[1][1], more_is="worse"),
        Row(name="items a second", unit="", now=rates[0], before=rates[1], more_is="better"),
    ]
    for name, share in (("p50 of an item", 0.5), ("p95", 0.95), ("p99", 0.99), ("slowest item", 1.0)):
        quantiles = [each.times.quantile(share) for each in both]
        rows.append(Row(name=name, unit="s", now=quantiles[0], before=quantiles[1], more_is="worse"))
    # As the worker measures itself: the log of the run before isn't read.
    rows.append(Row(name="most memory", unit="MB", now=now.memory_mb, before=before.memory_mb, more_is="worse"))
    if before.children:
        dollars = costs[0].total, costs[1].total
        rows.append(Row(name="cost", unit="$", now=dollars[0], before=dollars[1], more_is="worse"))
    return [row for row in rows if row.now is not None or row.before is not None]


def _items(run: RunHandle, figures: Figures) -> tuple[int | None, int | None]:
    """Return how many items a run had, and how many did not succeed, its retries aside."""
    try:
        own = own_account(run, figures.described)
    except RunsError:
        own = None
    if own is not None and own.captured_from != "unknown":
        return own.captured, own.unsuccessful
    return (figures.maps[0].items.total if figures.maps else None), None
