"""The account of the maps inside the children of a run: what :mod:`distmap._nested_reading` adds up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from distmap import _item_states as item_states
from distmap._item_states import ItemStates
from distmap._tolerated import is_exceeded
from distmap.wire import Tolerance

_EXAMPLES: Final = 5
_MOST_PROBLEMS: Final = 20


class Exceeding(NamedTuple):
    """A map run in which more items did not succeed than are tolerated."""

    path: str
    """Indexes of the items that it is in, outermost first: ``3/0``."""
    unsuccessful: int
    captured: int
    tolerance: Tolerance


@dataclass(kw_only=True)
class NestedAccount:
    """What became of the items of all Map Runs of one nested map.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever there is no problem.

    .. versionadded:: 0.1.0
    """

    label: str
    map_runs: int = 0
    captured: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    """Of those that failed."""
    unprocessed: int = 0
    pending: int = 0
    missing: int = 0
    duplicates: int = 0
    counted_by_results: int = 0
    """Map Runs whose number of items is only known from their results: items lost at their end can't be counted."""
    not_begun: int = 0
    """Outer items that did not succeed and left no files here: how many inner items they have isn't known."""
    problems: list[str] = field(default_factory=list)
    """What doesn't add up, a message each."""
    outermost: set[int] = field(default_factory=set)
    """Items of the outermost map in which items of this one did not succeed."""
    healing: set[int] = field(default_factory=set, compare=False)
    """Items of the outermost map that run again by themselves, each for a map run of this one: it is over its
    tolerance, or has missing items, and without what did not succeed for no fault of its own it would not be."""
    untried: int = field(default=0, compare=False)
    """Items of this map that did not succeed there for no fault of their own."""
    exceeding: list[Exceeding] = field(default_factory=list, compare=False)
    """Some of the map runs of which more did not succeed than are tolerated, though the items around them succeeded."""
    exceeding_count: int = field(default=0, compare=False)
    """How many there are of these."""

    @property
    def unsuccessful(self) -> int:
        """Items that did not succeed."""
        return self.captured - self.succeeded

    @property
    def is_complete(self) -> bool:
        """Whether it adds up and nothing is missing."""
        return not self.problems and self.missing == 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "label": self.label,
            "mapRuns": self.map_runs,
            "captured": self.captured,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "timedOut": self.timed_out,
            "unprocessed": self.unprocessed,
            "pending": self.pending,
            "missing": self.missing,
            "duplicates": self.duplicates,
            "countedByResults": self.counted_by_results,
            "notBegun": self.not_begun,
            "complete": self.is_complete,
            "problems": list(self.problems),
        }

    def suspend(self) -> dict[str, Any]:
        """Return all of it as JSON, for :meth:`resume` in another invocation."""
        return {**vars(self), "outermost": sorted(self.outermost), "healing": sorted(self.healing)}

    @classmethod
    def resume(cls, left: dict[str, Any]) -> NestedAccount:
        """Return what :meth:`suspend` was called on."""
        exceeding = [Exceeding(*each) for each in left["exceeding"]]
        sets = {name: set(left[name]) for name in ("outermost", "healing")}
        return cls(**{**left, **sets, "exceeding": exceeding})

    def report(self, problem: str) -> None:
        """Note a problem; no more than can be read."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MOST_PROBLEMS:
            self.problems.append("and more of the kind")

    def hold_to(self, tolerance: Tolerance | None, path: str, *, unsuccessful: int, captured: int) -> None:
        """Note whether one Map Run went over its tolerance."""
        if tolerance is None or not is_exceeded(unsuccessful, captured, tolerance):
            return
        self.exceeding_count += 1
        if len(self.exceeding) < _EXAMPLES:
            self.exceeding.append(Exceeding(path.removeprefix("/"), unsuccessful, captured, tolerance))

    def add(self, states: ItemStates, captured: int | None, *, where: str) -> None:
        """Add the items of one Map Run."""
        unidentified = sum(states.unidentified.values())
        whole = len(states.bytes) + unidentified if captured is None else captured
        missing = states.bytes.count(item_states.MISSING) - (unidentified if captured is not None else 0)
        if missing < 0 or states.surplus:
            self.report(f"{where} has {max(-missing, states.surplus):,} more results than items")
        failures = states.errors()
        self.map_runs += 1
        self.captured += whole
        self.counted_by_results += captured is None
        self.succeeded += states.count(item_states.SUCCEEDED)
        self.failed += sum(failure.count for failure in failures)
        self.timed_out += sum(failure.count for failure in failures if failure.timed_out)
        self.unprocessed += states.count(item_states.UNPROCESSED)
        self.pending += states.count(item_states.PENDING)
        self.missing += max(0, missing)
        self.duplicates += states.duplicates
        if missing > 0:
            examples = (
                "" if unidentified else f", such as {', '.join(map(str, states.indexes(item_states.MISSING, most=5)))}"
            )
            self.report(f"{where}: {missing:,} of {whole:,} items are in no result file{examples}")
