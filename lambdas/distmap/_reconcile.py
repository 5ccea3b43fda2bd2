"""The account of items: what became of each, added up against what was captured.

One implementation for the account function of a run and for the client's ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from distmap import _item_states as item_states
from distmap._export import Report
from distmap._identity import ItemNumbers
from distmap._item_states import ErrorCount, ItemStates
from distmap._nested_account import NestedAccount
from distmap._noting import counted

UNKNOWN: Final = "unknown"
"""Where the number of items is from that nothing tells."""

NO_ITEMS: Final = "the run had no items: look at its input, or at the prefix or key of the source"

_EXAMPLES: Final = 10


@dataclass(frozen=True, kw_only=True)
class ChainLink:
    """One run of a chain: the first one, or a retry."""

    name: str
    status: str
    items: int | None
    """How many items it was to process."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of the items of a run.

    ``succeeded + failed + unprocessed + pending + missing == captured`` holds wherever :attr:`adds_up` is true.
    """

    run: str
    status: str
    """Status of the last run of the chain; ``UNKNOWN`` where AWS has forgotten it."""
    captured: int
    captured_from: str
    """Where that number is from: ``item file``, ``map run`` or ``results`` (the highest index seen). ``unknown`` where
    nothing tells it: the run ended before it had read its items, or hasn't read one yet."""
    succeeded: int
    failed: int
    """Those that timed out included."""
    timed_out: int
    unprocessed: int
    """Left by their worker because its deadline came near."""
    pending: int
    """Not tried: not yet, or not before the run ended; or tried by a run that was stopped before the export."""
    missing: int
    """Captured, and nowhere in the results."""
    duplicates: int
    """Results beyond the first that an item has of one map run."""
    errors: tuple[ErrorCount, ...]
    missing_examples: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    """What doesn't add up, a message each."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing, a message each."""
    run_error: str | None = None
    """Why the run, or its last retry, ended before it had read its items; None where it didn't."""
    chain: tuple[ChainLink, ...] = ()
    unidentified: int = 0
    """Items among these that have no index, so that their duplicates can't be counted."""
    nested: tuple[NestedAccount, ...] = ()
    """The same for each map nested in the children, whose items are in none of the numbers above."""
    states: ItemStates = field(repr=False, compare=False)
    numbers: ItemNumbers = field(default_factory=ItemNumbers, repr=False, compare=False)
    """Where the map reads several files: the numbers of the items in them, by which ``states`` knows them."""

    @property
    def accounted(self) -> int:
        """What the numbers add up to."""
        return self.succeeded + self.failed + self.unprocessed + self.pending + self.missing

    @property
    def adds_up(self) -> bool:
        """Whether every captured item is in one and only one of the numbers, and every file could be read."""
        return self.accounted == self.captured and not self.problems

    @property
    def is_complete(self) -> bool:
        """Whether it adds up and nothing is missing, in nested maps too, of items whose number is known."""
        is_known = self.run_error is None and self.captured_from != UNKNOWN
        return is_known and self.adds_up and self.missing == 0 and all(nested.is_complete for nested in self.nested)

    @property
    def unsuccessful(self) -> int:
        """What a retry would run again."""
        return self.captured - self.succeeded

    @property
    def around_unsuccessful(self) -> set[int]:
        """Items that succeeded, though items of maps nested in them did not."""
        indexes = {index for nested in self.nested for index in nested.outermost}
        return {index for index in indexes if self.states.succeeded(index)}

    @property
    def has_failures(self) -> bool:
        """Whether anything did not succeed, in nested maps too."""
        return bool(self.unsuccessful or self.nested_unsuccessful)

    @property
    def nested_unsuccessful(self) -> int:
        """Items of nested maps that did not succeed."""
        return sum(nested.unsuccessful for nested in self.nested)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        names = ("succeeded", "failed", "timed_out", "unprocessed", "pending", "missing", "duplicates")
        return {
            "run": self.run,
            "status": self.status,
            "captured": self.captured,
            "capturedFrom": self.captured_from,
            **{_camel(name): getattr(self, name) for name in names},
            "unidentified": self.unidentified,
            "addsUp": self.adds_up,
            "complete": self.is_complete,
            "runError": self.run_error,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "nested": [each.to_json() for each in self.nested],
            "missingExamples": list(self.missing_examples),
            "errors": [_error_json(error) for error in self.errors],
            "chain": [{"run": each.name, "status": each.status, "items": each.items} for each in self.chain],
        }


def notes_on(account: Account) -> Iterator[str]:
    """Yield what is worth knowing of an account, as its numbers tell it."""
    if not account.captured and account.status == "SUCCEEDED" and account.captured_from != UNKNOWN:
        yield NO_ITEMS
    for nested in account.nested:
        if nested.counted_by_results:
            yield (
                f"{nested.label}: the items of {nested.counted_by_results:,} of its {nested.map_runs:,} map runs are "
                "counted by their results alone, so items lost at the end of one can't be counted"
            )
        if nested.not_begun:
            yield (
                f"{nested.label}: {counted(nested.not_begun, 'item')} around it did not succeed and left no "
                "files of it, so their inner items are in no number; a retry runs them all"
            )
    if account.nested_unsuccessful:
        yield (
            f"{counted(account.nested_unsuccessful, 'item')} of nested maps did not succeed; a retry runs items of the "
            "outermost map, each with its whole inner map: those that did not succeed, and with --nested those around "
            "these items too"
        )


def _error_json(error: ErrorCount) -> dict[str, Any]:
    return {
        "error": error.error,
        "timedOut": error.timed_out,
        **({"permanent": True} if error.permanent else {}),
        **({} if error.place is None else {"place": error.place}),
        "message": error.message,
        "count": error.count,
        **({} if error.traceback is None else {"traceback": error.traceback}),
        "examples": [
            {
                "index": example.index,
                **({} if example.source is None else {"source": example.source}),
                "cause": example.cause,
                "child": example.child,
                **({} if example.input is None else {"input": example.input}),
            }
            for example in error.examples
        ],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def add_up(states: ItemStates, captured: int | None, numbers: ItemNumbers, report: Report) -> dict[str, Any]:
    """Return the numbers of an :class:`Account`, as its arguments.

    Args:
        states: What became of each item.
        captured: How many items there are; None where it isn't known: then as many as have an outcome.
        numbers: Those of the items of several files.
        report: Called with a message for each thing that doesn't add up.
    """
    unidentified = sum(states.unidentified.values())
    if captured is None:
        captured = len(states.bytes) + unidentified
    if states.surplus:
        examples = ", ".join(map(str, states.surplus_examples))
        report(f"{states.surplus:,} results have an index that no captured item has, such as {examples}")
    failures = states.errors()
    missing = states.bytes.count(item_states.MISSING) - (unidentified if unidentified and len(states.bytes) else 0)
    if missing < 0:
        report(f"there are {-missing:,} more results than captured items")
        missing = 0
    return {
        "captured": captured,
        "succeeded": states.count(item_states.SUCCEEDED),
        "failed": sum(failure.count for failure in failures),
        "timed_out": sum(failure.count for failure in failures if failure.timed_out),
        "unprocessed": states.count(item_states.UNPROCESSED),
        "pending": states.count(item_states.PENDING),
        "missing": missing,
        "duplicates": states.duplicates,
        "errors": tuple(failure.identified(numbers) for failure in failures),
        "missing_examples": ()
        if unidentified or numbers
        else tuple(states.indexes(item_states.MISSING, most=_EXAMPLES)),
        "unidentified": unidentified,
        "states": states,
        "numbers": numbers,
    }
