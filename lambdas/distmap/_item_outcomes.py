"""The outcomes of the items in one record: which succeeded with what, and what became of the others."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from distmap._errors import ResultsError
from distmap._indexes import IndexSet
from distmap._records import Result, Unsuccessful
from distmap.wire import ItemResult

_result: Final = itemgetter("result")


class ItemOutcomes:
    """The outcomes of items in a record, or in a part of one.

    Attributes:
        indexes: The items that succeeded; None for an unidentified item.
        others: The items that did not succeed.
        is_plain: Whether it is an output without a record, which names neither its child nor that child's items.
        why: Why there are no values.
        measures: What the worker measured of its items, as it says it; None where it doesn't.
    """

    __slots__ = ("_answered", "_values", "indexes", "is_plain", "measures", "others", "why")

    def __init__(
        self,
        indexes: Sequence[int | None] = (),
        values: Sequence[Any] | None = (),
        others: Sequence[Unsuccessful] = (),
        *,
        answered: Sequence[ItemResult] | None = None,
        is_plain: bool = False,
        why: str = "",
        measures: Any = None,
    ) -> None:
        """Keep the outcomes; ``answered`` has the values where ``values`` doesn't.

        It is kept as it is: most readers only count, and need no values.
        """
        self.indexes = indexes
        self._answered = answered
        self._values = values
        self.others = others
        self.is_plain = is_plain
        self.why = why
        self.measures = measures

    @property
    def values(self) -> Sequence[Any] | None:
        """What the function returned for each that succeeded; None where the child's output can't be split by item."""
        return self._values if self._answered is None else list(map(_result, self._answered))

    def take_new(self, seen: IndexSet) -> list[Result]:
        """Return the successes whose index is new to ``seen``, and add their indexes to it.

        Raises:
            ResultsError: There are no values, or no item of a map can have such an index.
        """
        try:
            values = self.values
        except KeyError as error:
            message = f"an answer has an item without its {error}"
            raise ResultsError(message) from error
        if values is None:
            raise ResultsError(self.why)
        pairs = zip(self.indexes, values, strict=True)
        if seen.add_range(self.indexes):
            return [Result(index, value) for index, value in pairs]
        return seen.add_new([Result(index, value) for index, value in pairs])
