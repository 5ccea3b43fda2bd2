"""The answer of a worker built on this package, member by member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from distmap._records import Child

ANSWER_LISTS: Final = ("batchItemResults", "batchItemFailures", "batchItemsUnprocessed")


class ExpectedItems:
    """The items of a child's input, by the identifiers that its answer may have.

    Attributes:
        unidentified: Whether the items had no index: identifiers are then positions in the batch.
        items: The items; None where the child's input wasn't exported.
    """

    def __init__(self, child: Child, *, unidentified: bool) -> None:
        """Read the child's input."""
        self.unidentified = unidentified
        self.items: dict[int | None, Any] | None = None
        if child.has_input:
            inputs = child.items()
            self.items = {position if unidentified else index: item for position, (index, item) in enumerate(inputs)}

    def has(self, identifier: int) -> bool:
        """Return whether the child got the item, as far as that is known."""
        return self.items is None or identifier in self.items

    def item(self, identifier: int) -> tuple[Any, ...]:
        """Return the item as a tuple of one; an empty tuple where it isn't known."""
        return () if self.items is None else (self.items[identifier],)


def members_of(answer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of an answer one by one.

    Raises:
        TypeError: One of its lists isn't a list, or has something else in it than it should.
    """
    for name in ANSWER_LISTS:
        members = answer[name]
        if not isinstance(members, list):
            message = f"{name} of an answer is {members!r:.40}, which is no list"
            raise TypeError(message)
        for member in members:
            if name != "batchItemsUnprocessed" and not isinstance(member, dict):
                message = f"{name} of an answer has {member!r:.40} in it, which is no object"
                raise TypeError(message)
            yield name, member
