"""Which indexes were seen already, a bit for each: 12.5 MB for the 100 million items a map can have."""

from __future__ import annotations

from typing import Final

from distmap._errors import ResultsError
from distmap.limits import MAX_ITEMS

_FIRST_BYTES: Final = 4096


class IndexSet:
    """A set of indexes that only grows."""

    __slots__ = ("_bits", "_size")

    def __init__(self) -> None:
        """Begin empty."""
        self._bits = bytearray(_FIRST_BYTES)
        self._size = 8 * _FIRST_BYTES

    def add(self, index: int) -> bool:
        """Add an index and return whether it is new.

        Raises:
            ResultsError: No item of a map can have it.
        """
        if not 0 <= index < self._size:
            self._grow(index)
        place, bit = index >> 3, 1 << (index & 7)
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        return True

    def _grow(self, index: int) -> None:
        if not 0 <= index < MAX_ITEMS:
            message = f"an item has the index {index:,}; a map has at most {MAX_ITEMS:,} items, from 0"
            raise ResultsError(message)
        size = min(max((index >> 3) + 1, 2 * len(self._bits)), (MAX_ITEMS >> 3) + 1)
        self._bits.extend(bytes(size - len(self._bits)))
        self._size = 8 * size
