"""Which indexes were seen already, a bit for each: 12.5 MB for the 100 million items a map can have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeVar

from distmap._errors import ResultsError
from distmap.limits import MAX_ITEMS

_FIRST_BYTES: Final = 4096


class _Indexed(Protocol):
    @property
    def index(self) -> int | None: ...


T = TypeVar("T", bound=_Indexed)


class IndexSet:
    """A set of indexes that only grows."""

    __slots__ = ("_bits", "_size")

    def __init__(self) -> None:
        """Begin empty."""
        self._bits = bytearray(_FIRST_BYTES)
        self._size = 8 * _FIRST_BYTES

    def __len__(self) -> int:
        """Return how many there are."""
        return int.from_bytes(self._bits, "little").bit_count()

    def __contains__(self, index: int) -> bool:
        """Tell whether an index is among them."""
        return 0 <= index < self._size and bool(self._bits[index >> 3] & 1 << (index & 7))

    def __bytes__(self) -> bytes:
        """Return them as bits, for :meth:`of`."""
        return bytes(self._bits)

    @classmethod
    def of(cls, bits: bytes) -> IndexSet:
        """Return the set of what ``bytes`` returned of one."""
        found = cls()
        found._bits = bytearray(bits)
        found._size = 8 * len(found._bits)
        return found

    def add_new(self, entries: Iterable[T]) -> list[T]:
        """Return those entries whose index is new, or None, and add their indexes.

        Raises:
            ResultsError: No item of a map can have such an index.
        """
        bits, size = self._bits, self._size
        new: list[T] = []
        for entry in entries:
            index = entry.index
            if index is None:
                new.append(entry)
                continue
            if not 0 <= index < size:
                size = self._grow(index)
            place, bit = index >> 3, 1 << (index & 7)
            byte = bits[place]
            if not byte & bit:
                bits[place] = byte | bit
                new.append(entry)
        return new

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

    def add_range(self, indexes: Sequence[int | None]) -> bool:
        """Add indexes that follow each other if all of them are new, and return whether they were.

        Most batches are of such: their bits are looked at together.
        """
        number = len(indexes)
        first = indexes[0] if number else None
        if first is None or not 0 <= first <= MAX_ITEMS - number or indexes != list(range(first, first + number)):
            return False
        if first + number > self._size:
            self._grow(first + number - 1)
        start, end = first >> 3, (first + number + 7) >> 3
        here = int.from_bytes(self._bits[start:end], "little")
        added = ((1 << number) - 1) << (first & 7)
        if here & added:
            return False
        self._bits[start:end] = (here | added).to_bytes(end - start, "little")
        return True

    def _grow(self, index: int) -> int:
        if not 0 <= index < MAX_ITEMS:
            message = f"an item has the index {index:,}; a map has at most {MAX_ITEMS:,} items, from 0"
            raise ResultsError(message)
        size = min(max((index >> 3) + 1, 2 * len(self._bits)), (MAX_ITEMS >> 3) + 1)
        self._bits.extend(bytes(size - len(self._bits)))
        self._size = 8 * size
        return self._size
