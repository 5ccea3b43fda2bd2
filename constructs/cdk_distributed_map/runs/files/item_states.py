"""What became of each item: one byte for each, whatever was read in whatever order.

A hundred million items, the most a map can have, take a hundred megabytes. Everything else is bounded too: at most
:data:`_MOST_ERRORS` kinds of errors are told apart, with a few examples of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cdk_distributed_map.runs.errors import ResultFilesError
from distmap._identity import ItemNumbers
from distmap.limits import MAX_ITEMS

MISSING: Final = 0
SUCCEEDED: Final = 1
UNPROCESSED: Final = 2
PENDING: Final = 3
_FIRST_ERROR: Final = 8
_MOST_ERRORS: Final = 240
_EXAMPLES: Final = 3
_SPARE_EXAMPLES: Final = 20
_CAUSE_CHARACTERS: Final = 500
OTHER_ERRORS: Final = "(other errors)"


@dataclass(frozen=True)
class Example:
    """An item that failed."""

    index: int | None
    cause: str
    child: str | None
    """ARN of the child it failed in."""
    source: str | None = None
    """The file it is in, where the map reads several."""


@dataclass(frozen=True)
class ErrorCount:
    """How many items failed with an error."""

    error: str
    timed_out: bool
    count: int
    examples: tuple[Example, ...]

    def revealed(self, numbers: ItemNumbers) -> ErrorCount:
        """Return it with the items' own indexes and files, where they have numbers instead."""
        found = [
            each if each.index is None else replace(each, index=index, source=source)
            for each in self.examples
            for index, source in [(None, None) if each.index is None else numbers.identity(each.index)]
        ]
        return replace(self, examples=tuple(found))


class IndexesSeen:
    """Indexes that came before, a bit for each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, index: int) -> bool:
        """Add an index and return whether it is new.

        Raises:
            ResultFilesError: No item of a map can have it.
        """
        place, bit = index >> 3, 1 << (index & 7)
        if not 0 <= place < len(self._bits):
            _check_index(index)
            self._bits.extend(bytes(max(place + 1, 2 * len(self._bits)) - len(self._bits)))
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        return True


def _check_index(index: int) -> None:
    if not 0 <= index < MAX_ITEMS:
        raise ResultFilesError(f"an item has the index {index:,}; a map has at most {MAX_ITEMS:,} items, from 0")


class ItemStates:
    """The state of every item.

    A success counts, whatever else is said of the item. Otherwise the first word counts, so the latest attempt is
    to be read first.

    Attributes:
        bytes: A state for each index.
        duplicates: Results of items that had one already.
        once: Whether what is read now has one result for each item: a failure too is then a duplicate beside another
            result. Where a redrive tried items again, their earlier failures are none.
        surplus: Indexes that no captured item has.
        bare: Items without identity, by state.
    """

    def __init__(self, captured: int | None) -> None:
        """Begin with every item missing.

        Args:
            captured: How many items there are; None where it isn't known, so that every index is taken.
        """
        self.bytes = bytearray(captured or 0)
        self.duplicates = 0
        self.once = False
        self.surplus = 0
        self.surplus_examples: list[int] = []
        self.bare: dict[int, int] = {}
        self._fixed = captured is not None
        self._errors: dict[tuple[str, bool], int] = {}
        self._examples: dict[int, list[Example]] = {}

    def succeed(self, index: int | None) -> None:
        """Note a success."""
        if index is None:
            self._bare(SUCCEEDED)
        elif not self._has(index):
            return
        else:
            state = self.bytes[index]
            if state == SUCCEEDED or (self.once and state != MISSING):
                self.duplicates += 1
            self.bytes[index] = SUCCEEDED

    def succeed_all(self, indexes: Sequence[int | None]) -> None:
        """Note the successes of a worker's answer, none of them negative: what is run for every item."""
        states, first, number = self.bytes, indexes[0], len(indexes)
        # Most batches are of items that follow each other, and of which nothing is known yet.
        if (
            first is not None
            and states[first : first + number] == bytes(number)
            and indexes == list(range(first, first + number))
        ):
            states[first : first + number] = bytes((SUCCEEDED,)) * number
            return
        for index in indexes:
            if index is not None and index < len(states) and states[index] == MISSING:
                states[index] = SUCCEEDED
            else:
                self.succeed(index)

    def make_good(self, indexes: Iterable[int | None]) -> None:
        """Note successes of an attempt that a redrive has tried again: no duplicates, whatever else is known."""
        for index in indexes:
            if index is not None and self._has(index):
                self.bytes[index] = SUCCEEDED

    def fail(self, index: int | None, error: str, cause: str, *, timed_out: bool = False, child: str | None) -> None:
        """Note a failure."""
        code = self._code(error, timed_out=timed_out)
        if index is None:
            self._bare(code)
        elif not self._is_new(index):
            return
        else:
            self.bytes[index] = code
        examples = self._examples.setdefault(code, [])
        if len(examples) < _SPARE_EXAMPLES:
            examples.append(Example(index, cause[:_CAUSE_CHARACTERS], child))

    def mark_untried(self, index: int | None, state: int) -> None:
        """Note that an item was not tried: ``UNPROCESSED`` or ``PENDING``."""
        if index is None:
            self._bare(state)
        elif self._is_new(index):
            self.bytes[index] = state

    def reset(self, indexes: Iterable[int]) -> None:
        """Begin again for items that are tried again, those that succeeded excepted."""
        for index in indexes:
            if self._has(index) and self.bytes[index] != SUCCEEDED:
                self.bytes[index] = MISSING

    def fill_pending(self) -> None:
        """Note that every item of which nothing is known is still to come."""
        if self.bare:
            # Items without identity are in none of the bytes.
            known = sum(self.bare.values())
            self.bare[PENDING] = self.bare.get(PENDING, 0) + max(0, len(self.bytes) - known)
            return
        self.bytes[:] = self.bytes.translate(_MISSING_TO_PENDING)

    def count(self, state: int) -> int:
        """Return how many items are in a state."""
        return self.bytes.count(state) + self.bare.get(state, 0)

    def errors(self) -> list[ErrorCount]:
        """Return the failures by error, most frequent first."""
        found = []
        for (error, timed_out), code in self._errors.items():
            count = self.count(code)
            if count:
                every = self._examples.get(code, [])
                # An item that failed again in a retry is an example once, as it failed last.
                last = {at if each.index is None else (each.index,): each for at, each in enumerate(every)}
                examples = [each for each in last.values() if each.index is None or self.bytes[each.index] == code]
                found.append(ErrorCount(error, timed_out, count, tuple(examples[:_EXAMPLES])))
        return sorted(found, key=lambda each: -each.count)

    def indexes(self, state: int, *, most: int) -> list[int]:
        """Return the first indexes of a state."""
        found: list[int] = []
        at = self.bytes.find(state)
        while at >= 0 and len(found) < most:
            found.append(at)
            at = self.bytes.find(state, at + 1)
        return found

    def unsuccessful(self) -> Iterator[int]:
        """Yield the indexes that didn't succeed, in order."""
        # Runs of successes are skipped a block at a time: they are most of it.
        block = 65_536
        successes = bytes([SUCCEEDED]) * block
        for start in range(0, len(self.bytes), block):
            piece = self.bytes[start : start + block]
            if piece == successes[: len(piece)]:
                continue
            for offset, state in enumerate(piece):
                if state != SUCCEEDED:
                    yield start + offset

    def succeeded(self, index: int) -> bool:
        """Tell whether an item succeeded."""
        return 0 <= index < len(self.bytes) and self.bytes[index] == SUCCEEDED

    def _is_new(self, index: int) -> bool:
        """Tell whether nothing is known of an item yet."""
        if not self._has(index):
            return False
        fresh = self.bytes[index] == MISSING
        self.duplicates += self.once and not fresh
        return fresh

    def _bare(self, state: int) -> None:
        self.bare[state] = self.bare.get(state, 0) + 1

    def _has(self, index: int) -> bool:
        if 0 <= index < len(self.bytes):
            return True
        if self._fixed or not 0 <= index < MAX_ITEMS:
            self.surplus += 1
            if len(self.surplus_examples) < _EXAMPLES:
                self.surplus_examples.append(index)
            return False
        self.bytes.extend(bytes(index + 1 - len(self.bytes)))
        return True

    def _code(self, error: str, *, timed_out: bool) -> int:
        key = (error, timed_out)
        if key not in self._errors:
            if len(self._errors) >= _MOST_ERRORS:
                key = (OTHER_ERRORS, timed_out)
            self._errors.setdefault(key, _FIRST_ERROR + len(self._errors))
        return self._errors[key]


_MISSING_TO_PENDING: Final = bytes([PENDING, *range(1, 256)])
