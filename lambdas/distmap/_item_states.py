"""What became of each item: one byte for each, whatever was read in whatever order.

A hundred million items, the most a map can have, take a hundred megabytes. Everything else is bounded too: at most
:data:`_MOST_ERRORS` kinds of failures are counted apart, and errors that the account asks for by name, with a few
examples of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Final

from distmap._errors import ResultsError
from distmap._identity import ItemNumbers
from distmap._kinds import OTHER_MESSAGES, Kind, Kinds
from distmap.limits import MAX_ITEMS

MISSING: Final = 0
SUCCEEDED: Final = 1
UNPROCESSED: Final = 2
PENDING: Final = 3
ABSENT: Final = 4
"""An index that no item of the run has: one that was started on some items of another."""
AGAIN: Final = 5
"""It succeeded, and a further map run has it all the same: what it meets there is no second result."""
_FIRST_ERROR: Final = 8
_MOST_ERRORS: Final = 160
_CODES: Final = 256
_EXAMPLES: Final = 3
_SPARE_EXAMPLES: Final = 20
_CAUSE_CHARACTERS: Final = 500
_INPUT_CHARACTERS: Final = 500
OTHER_ERRORS: Final = "(other errors)"
_Key = tuple[str, bool, bool, "str | None", str]
"""An error, whether its child timed out, whether it is permanent, the place and the message of the kind."""


@dataclass(frozen=True)
class Example:
    """An item that failed."""

    index: int | None
    cause: str
    child: str | None
    """ARN of the child it failed in."""
    source: str | None = None
    """The file it is in, where the map reads several."""
    input: str | None = None
    """The item as JSON text, cut off where it is long; None where it isn't known."""


@dataclass(frozen=True)
class ErrorCount:
    """How many items failed in one way: with an error, at a place, with messages that have all but values in common."""

    error: str
    timed_out: bool
    count: int
    examples: tuple[Example, ...]
    permanent: bool = False
    """Whether its worker said that trying again is pointless."""
    place: str | None = None
    """Where they failed, such as ``handler.py:14 in enrich``; None where that isn't known."""
    message: str = ""
    """What their messages have in common: see :class:`distmap._kinds.Kind`."""
    traceback: str | None = None
    """Of one of them."""

    def identified(self, numbers: ItemNumbers) -> ErrorCount:
        """Return it with the items' own indexes and files in place of numbers."""
        examples = [
            example if example.index is None else replace(example, index=index, source=source)
            for example in self.examples
            for index, source in [(None, None) if example.index is None else numbers.identity(example.index)]
        ]
        return replace(self, examples=tuple(examples))


class ItemStates:
    """The state of every item.

    A success counts, whatever other results the item has. Otherwise the first result counts, so the latest attempt
    must be read first.

    Attributes:
        bytes: A state for each index.
        duplicates: Results of items that had one already.
        once: Whether what is read now has one result for each item: a failure too is then a duplicate beside another
            result. Where a redrive tried items again, their earlier failures are none.
        surplus: Indexes that no captured item has.
        unidentified: How many unidentified items there are, by state.
    """

    def __init__(self, captured: int | None, *, named: Iterable[str] = ()) -> None:
        """Begin with every item missing.

        Args:
            captured: How many items there are; None where it isn't known, so that every index is taken.
            named: Errors that are counted apart however many others there are.
        """
        self.bytes = bytearray(captured or 0)
        self.duplicates = 0
        self.once = False
        self.surplus = 0
        self.surplus_examples: list[int] = []
        self.unidentified: dict[int, int] = {}
        self._fixed = captured is not None
        self._named = frozenset(named)
        self._errors: dict[_Key, int] = {}
        self._kinds = Kinds()
        self._examples: dict[int, list[Example]] = {}
        self._tracebacks: dict[int, str] = {}
        self._codes: dict[int, tuple[str, bool, bool]] = {}

    def expect(self, indexes: Iterable[int]) -> int:
        """Note that these and no others are the run's items, before anything else, and return how many they are."""
        count = 0
        for index in indexes:
            if index >= len(self.bytes):
                check_index(index)
                grown = max(index + 1, min(2 * len(self.bytes), MAX_ITEMS))
                self.bytes.extend(bytes((ABSENT,)) * (grown - len(self.bytes)))
            count += self.bytes[index] == ABSENT
            self.bytes[index] = MISSING
        self._fixed = True
        return count

    def limit(self, captured: int) -> None:
        """Note how many items there are, where that is known only now: results of others are surplus."""
        for index in range(captured, len(self.bytes)):
            if self.bytes[index] != MISSING:
                self._note_surplus(index)
        del self.bytes[captured:]
        self.bytes.extend(bytes(captured - len(self.bytes)))
        self._fixed = True

    def succeed(self, index: int | None) -> None:
        """Note a success."""
        if index is None:
            self._add_unidentified(SUCCEEDED)
        elif not self._has(index):
            return
        else:
            state = self.bytes[index]
            if state == SUCCEEDED or (self.once and state not in _OPEN):
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

    def mark_recovered(self, indexes: Iterable[int | None]) -> None:
        """Note successes of an attempt that a redrive has tried again: no duplicates, whatever else is known."""
        for index in indexes:
            if index is not None and self._has(index):
                self.bytes[index] = SUCCEEDED

    def fail(
        self,
        index: int | None,
        error: str,
        cause: str,
        *,
        timed_out: bool = False,
        permanent: bool = False,
        child: str | None,
        place: str | None = None,
        traceback: str | None = None,
        item: tuple[Any, ...] = (),
    ) -> None:
        """Note a failure; ``item`` has the item itself in it where that is known."""
        code = self._code(error, cause, place, timed_out=timed_out, permanent=permanent)
        if index is None:
            self._add_unidentified(code)
        elif not self._is_new(index):
            return
        else:
            self.bytes[index] = code
        if traceback is not None:
            self._tracebacks.setdefault(code, traceback)
        examples = self._examples.setdefault(code, [])
        if len(examples) < _SPARE_EXAMPLES:
            text = _input_text(item[0]) if item else None
            examples.append(Example(index, cause[:_CAUSE_CHARACTERS], child, input=text))

    def mark_untried(self, index: int | None, state: int) -> None:
        """Note that an item was not tried: ``UNPROCESSED`` or ``PENDING``."""
        if index is None:
            self._add_unidentified(state)
        elif self._is_new(index):
            self.bytes[index] = state

    def reset(self, indexes: Iterable[int]) -> None:
        """Begin again for items that are tried again; those that succeeded have done so, whatever becomes of them now.

        :meth:`settle` ends it.
        """
        for index in indexes:
            if self._has(index):
                self.bytes[index] = AGAIN if self.bytes[index] == SUCCEEDED else MISSING

    def begin_again(self) -> None:
        """Read what another map run says of the same items, which ran all of them; :meth:`settle` ends it."""
        self.bytes[:] = self.bytes.translate(_SUCCEEDED_TO_AGAIN)

    def settle(self) -> None:
        """End what :meth:`reset` or :meth:`begin_again` began."""
        if AGAIN in self.bytes:
            self.bytes[:] = self.bytes.translate(_AGAIN_TO_SUCCEEDED)

    def fill_pending(self) -> None:
        """Note that every item of which nothing is known is still to come."""
        if self.unidentified:
            # Unidentified items are in none of the bytes.
            known = sum(self.unidentified.values())
            self.unidentified[PENDING] = self.unidentified.get(PENDING, 0) + max(0, len(self.bytes) - known)
            return
        self.bytes[:] = self.bytes.translate(_MISSING_TO_PENDING)

    def count(self, state: int) -> int:
        """Return how many items are in a state."""
        return self.bytes.count(state) + self.unidentified.get(state, 0)

    def errors(self) -> list[ErrorCount]:
        """Return the failures by kind, most frequent first."""
        counts = []
        for (error, timed_out, permanent, place, message), code in self._errors.items():
            count = self.count(code)
            if count:
                every = self._examples.get(code, [])
                # An item that failed again in a retry is an example once, as it failed last.
                last = {at if each.index is None else (each.index,): each for at, each in enumerate(every)}
                examples = [each for each in last.values() if each.index is None or self.bytes[each.index] == code]
                of_kind = (place, message, self._tracebacks.get(code))
                counts.append(ErrorCount(error, timed_out, count, tuple(examples[:_EXAMPLES]), permanent, *of_kind))
        return sorted(counts, key=lambda each: -each.count)

    def indexes(self, state: int, *, most: int) -> list[int]:
        """Return the first indexes of a state."""
        indexes: list[int] = []
        at = self.bytes.find(state)
        while at >= 0 and len(indexes) < most:
            indexes.append(at)
            at = self.bytes.find(state, at + 1)
        return indexes

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
                if state not in (SUCCEEDED, ABSENT):
                    yield start + offset

    def succeeded(self, index: int) -> bool:
        """Tell whether an item succeeded."""
        return 0 <= index < len(self.bytes) and self.bytes[index] == SUCCEEDED

    def state(self, index: int) -> int:
        """Return the state of an item; :data:`ABSENT` where there is none of the index."""
        return self.bytes[index] if 0 <= index < len(self.bytes) else ABSENT

    def is_counted_as(self, index: int, error: str, *, timed_out: bool, permanent: bool) -> bool:
        """Tell whether the state of an item is that it failed with an error."""
        known = self.codes().get(self.state(index))
        return known in {(error, timed_out, permanent), (OTHER_ERRORS, timed_out, permanent)}

    def codes(self) -> dict[int, tuple[str, bool, bool]]:
        """Return what the states of failures are: the error, whether its child timed out, whether it is permanent."""
        if len(self._codes) < len(self._errors):
            self._codes = {code: key[:3] for key, code in self._errors.items()}
        return self._codes

    def suspend(self) -> dict[str, Any]:
        """Return everything but :attr:`bytes` as JSON, for :meth:`resume` in another invocation."""
        return {
            "duplicates": self.duplicates,
            "surplus": self.surplus,
            "surplusExamples": self.surplus_examples,
            "unidentified": list(self.unidentified.items()),
            "fixed": self._fixed,
            "errors": [[*key, code] for key, code in self._errors.items()],
            "examples": [
                [code, [list(astuple(example)) for example in examples]] for code, examples in self._examples.items()
            ],
            "tracebacks": list(self._tracebacks.items()),
        }

    def resume(self, left: dict[str, Any], states: bytes) -> None:
        """Take up what :meth:`suspend` returned."""
        self.bytes = bytearray(states)
        self.duplicates, self.surplus, self._fixed = left["duplicates"], left["surplus"], left["fixed"]
        self.surplus_examples = left["surplusExamples"]
        self.unidentified = dict(left["unidentified"])
        self._errors, self._codes, self._kinds = {}, {}, Kinds()
        for error, timed_out, permanent, place, message, code in left["errors"]:
            self._errors[error, timed_out, permanent, place, message] = code
            self._kinds.add(Kind(error, place, message), apart=(timed_out, permanent))
        self._tracebacks = dict(left["tracebacks"])
        self._examples = {code: [Example(*example) for example in examples] for code, examples in left["examples"]}

    def _is_new(self, index: int) -> bool:
        """Tell whether nothing is known of an item yet."""
        if not self._has(index):
            return False
        state = self.bytes[index]
        self.duplicates += self.once and state not in _OPEN
        if state == AGAIN and self.once:
            self.bytes[index] = SUCCEEDED  # whatever comes now is a second result
        return state == MISSING

    def _add_unidentified(self, state: int) -> None:
        self.unidentified[state] = self.unidentified.get(state, 0) + 1

    def _has(self, index: int) -> bool:
        if 0 <= index < len(self.bytes) and self.bytes[index] != ABSENT:
            return True
        if self._fixed or not 0 <= index < MAX_ITEMS:
            self._note_surplus(index)
            return False
        self.bytes.extend(bytes(index + 1 - len(self.bytes)))
        return True

    def _note_surplus(self, index: int) -> None:
        self.surplus += 1
        if len(self.surplus_examples) < _EXAMPLES:
            self.surplus_examples.append(index)

    def _code(self, error: str, cause: str, place: str | None, *, timed_out: bool, permanent: bool) -> int:
        kind = self._kinds.kind(error, place, cause, apart=(timed_out, permanent))
        # A few are left for the sums of all others, one for each of the four ways to fail.
        most = _CODES - _FIRST_ERROR - 4 if error in self._named else _MOST_ERRORS
        keys: tuple[_Key, _Key] = (
            (error, timed_out, permanent, kind.place, kind.message),
            (error, timed_out, permanent, None, OTHER_MESSAGES),
        )
        for key in keys:
            if key in self._errors or len(self._errors) < most:
                return self._errors.setdefault(key, _FIRST_ERROR + len(self._errors))
        key = (OTHER_ERRORS, timed_out, permanent, None, OTHER_MESSAGES)
        return self._errors.setdefault(key, _FIRST_ERROR + len(self._errors))


def _input_text(item: Any) -> str:
    text = json.dumps(item, ensure_ascii=False)
    return text if len(text) <= _INPUT_CHARACTERS else f"{text[: _INPUT_CHARACTERS - 3]}..."


def check_index(index: int) -> None:
    """Raise where no item of a map can have an index.

    Raises:
        ResultsError: None can.
    """
    if not 0 <= index < MAX_ITEMS:
        message = f"an item has the index {index:,}; a map has at most {MAX_ITEMS:,} items, from 0"
        raise ResultsError(message)


_OPEN: Final = (MISSING, AGAIN)
"""States of items that what is read now tells nothing of yet."""
_MISSING_TO_PENDING: Final = bytes([PENDING, *range(1, 256)])
_SUCCEEDED_TO_AGAIN: Final = bytes(AGAIN if state == SUCCEEDED else state for state in range(256))
_AGAIN_TO_SUCCEEDED: Final = bytes(SUCCEEDED if state == AGAIN else state for state in range(256))
