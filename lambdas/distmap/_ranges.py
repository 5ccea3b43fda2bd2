"""The built-in capture of ranges: ``{number, chunk}`` pages into ``{"from", "to"}``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from distmap._errors import CaptureLimitError, EventError
from distmap.limits import MAX_EXACT_INTEGER, MAX_ITEMS

_BLOCK_ITEMS: Final = 10_000
_LINE: Final = b'{"from":%d,"to":%d}\n'
_BLOCK: Final = _LINE * _BLOCK_ITEMS


class RangesSource:
    """Ranges over ``number`` numbers from ``start``, ``chunk`` numbers in each; the last one may be shorter."""

    def __init__(self, settings: dict[str, Any], *, most: int = MAX_ITEMS + 1) -> None:
        """Check the settings.

        Args:
            settings: Of the shape :class:`distmap.wire.RangesCapture`.
            most: How many items the capture takes of them. By default one more than a map reads: none is left out.

        Raises:
            EventError: A value is no whole number, or out of its range.
            CaptureLimitError: There would be more items than a map can read.
        """
        self.number = _whole_number(settings, "number", least=0)
        self.chunk = _whole_number(settings, "chunk", least=1)
        self.start = _whole_number({"start": 0, **settings}, "start", least=0)
        if self.start + self.number > MAX_EXACT_INTEGER:
            message = (
                f"start {self.start:,} and number {self.number:,} make ranges that end after {MAX_EXACT_INTEGER:,}, "
                "where Step Functions' numbers are exact no more; begin lower, or capture fewer numbers"
            )
            raise EventError(message)
        inclusive = settings.get("inclusive", False)
        if not isinstance(inclusive, bool):
            message = f"inclusive must be true or false, got {inclusive!r:.100}"
            raise EventError(message)
        self._end = self.start - inclusive
        """What is added to where the numbers of a range stop, counted from 0, to make its ``to``."""
        self.items = -(-self.number // self.chunk)
        if min(self.items, most) > MAX_ITEMS:
            message = (
                f"number {self.number:,} in chunks of {self.chunk:,} makes {self.items:,} items, over the "
                f"{MAX_ITEMS:,} that a map can read; raise chunk to {-(-self.number // MAX_ITEMS):,} or more"
            )
            raise CaptureLimitError(message)

    def blocks(self, position: Any) -> Iterator[tuple[bytes, int, Any]]:
        """Yield the items in blocks of text.

        One bytes-formatting operation fills a block: several times quicker than one per item.

        Args:
            position: Where to begin: the position that came with a block. None begins at the start.

        Yields:
            The text of a block, its number of items, and the position after it.
        """
        chunk, full = self.chunk, self.number // self.chunk
        for first in range(0 if position is None else position, full, _BLOCK_ITEMS):
            items = min(_BLOCK_ITEMS, full - first)
            low, high = self.start + first * chunk, self._end + (first + 1) * chunk
            numbers = [0] * (2 * items)
            numbers[::2] = range(low, low + items * chunk, chunk)
            numbers[1::2] = range(high, high + items * chunk, chunk)
            lines = _BLOCK if items == _BLOCK_ITEMS else _LINE * items
            yield lines % tuple(numbers), items, first + items
        if full < self.items and (position is None or position < self.items):
            yield _LINE % (self.start + full * chunk, self._end + self.number), 1, self.items

    def state(self) -> dict[str, Any]:
        """Return what another invocation needs beside the position: nothing."""
        return {}


def _whole_number(settings: dict[str, Any], name: str, *, least: int) -> int:
    value = settings.get(name)
    # 1e5 is a whole number to JSON and a float to Python.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= MAX_EXACT_INTEGER:
        message = f"{name} must be a whole number from {least} to {MAX_EXACT_INTEGER:,}, got {value!r:.100}"
        raise EventError(message)
    return value
