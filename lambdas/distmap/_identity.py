"""What tells the items of a run apart: an index, and where a map reads several files the file as well.

It isn't documented whether Step Functions numbers the items of a map through, or file by file, where
``LOAD_AND_FLATTEN``, an inventory or an Athena manifest names several files. So their envelopes hold
``Map.Item.Source`` too, and both together identify an item. Readers of results give such items
numbers of their own, which are used like indexes.
"""

from __future__ import annotations

from array import array
from typing import Any, Final

from distmap._errors import ResultsError

_CHUNK_BITS: Final = 6
_CHUNK: Final = array("i", [-1]) * (1 << _CHUNK_BITS)


def identifier_of(index: int, source: str | None) -> str:
    """Return what names an item in a worker's answer and in its key: its index, after its file where it has one."""
    return str(index) if source is None else f"{source}#{index}"


def parse_identifier(text: object) -> tuple[int, str | None]:
    """Return index and file of what :func:`identifier_of` returned.

    Raises:
        ValueError: It is no such text.
    """
    if type(text) is int and text >= 0:
        return text, None
    if isinstance(text, str):
        source, mark, index = text.rpartition("#")
        if index.isascii() and index.isdecimal() and (source or not mark):
            return int(index), source or None
    message = f"an answer has the itemIdentifier {text!r:.40}, which is the index of no item"
    raise ValueError(message)


def identity_of(envelope: dict[str, Any]) -> tuple[int, str | None]:
    """Return index and file of an envelope.

    Raises:
        ResultsError: It has none.
    """
    index, source = envelope["index"], envelope.get("source")
    if type(index) is not int or index < 0:
        message = f"an item has the index {index!r:.40}, which is no position in a source"
        raise ResultsError(message)
    if source is not None and not isinstance(source, str):
        message = f"an item has the source {source!r:.40}, which is no address of a file"
        raise ResultsError(message)
    return index, source


class ItemNumbers:
    """Gives the items of several files numbers from 0 in the order they are met; an item without a file has its index.

    A table for all runs of a chain. It takes about 20 bytes for an item, and some hundred for a file.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._files: dict[str, dict[int, array[int]]] = {}
        self._names: list[str] = []
        self._indexes = array("q")
        self._file_of = array("i")
        self._places: dict[str, int] = {}

    def number(self, index: int, source: str | None) -> int:
        """Return an item's number."""
        if source is None:
            return index
        if source not in self._files:
            self._files[source] = {}
            self._places[source] = len(self._names)
            self._names.append(source)
        chunks = self._files[source]
        chunk = chunks.get(index >> _CHUNK_BITS)
        if chunk is None:
            chunk = chunks[index >> _CHUNK_BITS] = array("i", _CHUNK)
        at = index & (len(_CHUNK) - 1)
        if chunk[at] < 0:
            chunk[at] = len(self._indexes)
            self._indexes.append(index)
            self._file_of.append(self._places[source])
        return chunk[at]

    def identity(self, number: int) -> tuple[int, str | None]:
        """Return index and file of an item."""
        if number < len(self._indexes):
            return self._indexes[number], self._names[self._file_of[number]]
        return number, None

    def suspend(self) -> dict[str, Any]:
        """Return everything, for :meth:`resume` in another invocation: the bytes of it are Latin-1 text."""
        return {
            "names": self._names,
            "indexes": self._indexes.tobytes().decode("latin-1"),
            "fileOf": self._file_of.tobytes().decode("latin-1"),
        }

    def resume(self, left: dict[str, Any]) -> None:
        """Take up what :meth:`suspend` returned: numbers follow from the order in which items are met."""
        indexes, file_of = array("q"), array("i")
        indexes.frombytes(left["indexes"].encode("latin-1"))
        file_of.frombytes(left["fileOf"].encode("latin-1"))
        for index, file in zip(indexes, file_of, strict=True):
            self.number(index, left["names"][file])

    def __bool__(self) -> bool:
        """Whether there are items with a file."""
        return bool(self._names)
