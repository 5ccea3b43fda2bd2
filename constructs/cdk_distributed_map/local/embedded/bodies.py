"""Contents of objects that are kept in files, and pass for the bytes that they are."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

PIECE: Final = 256 * 1024
_TOKEN: Final = 16


class File:
    """A file that is removed when nothing needs it any more.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._finalizer = weakref.finalize(self, _remove, str(path))

    def read(self, offset: int, length: int) -> bytes:
        """Return some of it."""
        with self.path.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, offset)


class OpenFile:
    """A file that somebody else may replace meanwhile: what was in it when it was opened stays.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY)
        self._finalizer = weakref.finalize(self, os.close, self._handle)

    def read(self, offset: int, length: int) -> bytes:
        """Return some of it."""
        return os.pread(self._handle, length, offset)


class Part(NamedTuple):
    """A part of a file."""

    file: File | OpenFile
    offset: int
    length: int


class Parts:
    """Parts of files, one after the other.

    Args:
        parts: The parts.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.all = parts


class Body(bytes):
    """What is in parts of files: it has their length and slices, though as bytes it is but a token.

    ``b"".join(bodies)`` is therefore a row of tokens; :meth:`joined` finds what they stand for.
    """

    parts: Parts
    length: int
    md5: Any
    crc32: int | None

    def __new__(cls, parts: Sequence[Part], *, md5: Any = None, crc32: int | None = None) -> Body:
        """Return what is in some parts, whose hash and checksum may be known."""
        body = super().__new__(cls, secrets.token_bytes(_TOKEN))
        body.parts, body.md5, body.crc32 = Parts(parts), md5, crc32
        body.length = sum(part.length for part in parts)
        # Of the parts, as there are no weak references to bytes.
        _known[bytes.__getitem__(body, slice(None))] = body.parts
        return body

    @classmethod
    def of_file(cls, path: str) -> Body:
        """Return what is in a file now."""
        file = OpenFile(Path(path))
        return cls([Part(file, 0, file.path.stat().st_size)])

    @classmethod
    def joined(cls, tokens: bytes) -> Body:
        """Return the contents that a row of tokens stands for, one after the other."""
        found = [_known[tokens[at : at + _TOKEN]] for at in range(0, len(tokens), _TOKEN)]
        return cls([part for parts in found for part in parts.all])

    def __len__(self) -> int:
        """Return how many bytes it has."""
        return self.length

    def __bool__(self) -> bool:
        """Tell whether it has any."""
        return self.length > 0

    def __getitem__(self, index: Any) -> Any:
        """Return some of it, in the same way."""
        if not isinstance(index, slice):
            return self[index : index + 1].whole()[0]
        start, stop, step = index.indices(self.length)
        if step != 1:
            return self.whole()[index]
        parts, at = [], 0
        for part in self.parts.all:
            low, high = max(start - at, 0), min(stop - at, part.length)
            if low < high:
                parts.append(Part(part.file, part.offset + low, high - low))
            at += part.length
        return Body(parts)

    def __iter__(self) -> Iterator[int]:
        """Give each byte."""
        for piece in self.pieces():
            yield from piece

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same."""
        return self is other

    def __hash__(self) -> int:
        """Return the hash of the object that it is."""
        return id(self)

    def __deepcopy__(self, memo: object) -> Body:
        """Return itself: nobody changes it."""
        return self

    def pieces(self) -> Iterator[bytes]:
        """Give what it holds, some at a time.

        Raises:
            OSError: A file is shorter than it was.
        """
        for file, offset, length in self.parts.all:
            for at in range(offset, offset + length, PIECE):
                wanted = min(PIECE, offset + length - at)
                piece = file.read(at, wanted)
                if len(piece) < wanted:
                    message = f"{file.path} has been cut off"
                    raise OSError(message)
                yield piece

    def decode(self, *arguments: Any, **named: Any) -> str:
        """Return it as a text."""
        return self.whole().decode(*arguments, **named)

    def whole(self) -> bytes:
        """Return what it holds."""
        return b"".join(self.pieces())

    def hashed(self, name: str) -> Any:
        """Return its hash by some algorithm of :mod:`hashlib`."""
        if name == "md5" and self.md5 is not None:
            return self.md5.copy()
        found = hashlib.new(name, usedforsecurity=False)
        for piece in self.pieces():
            found.update(piece)
        return found

    def write(self, path: Path) -> None:
        """Write it into a file, without writing anything where it is a file already."""
        part = self.parts.all[0] if len(self.parts.all) == 1 else None
        if part is not None and isinstance(part.file, File) and part.length == part.file.path.stat().st_size:
            with contextlib.suppress(OSError):
                os.link(part.file.path, path)
                return
        with path.open("wb") as file:
            for piece in self.pieces():
                file.write(piece)


_known: weakref.WeakValueDictionary[bytes, Parts] = weakref.WeakValueDictionary()


class Spool:
    """Writes a content into a file as it comes.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._file = File(folder / secrets.token_hex(16))
        self._sink = open(self._file.path, "xb", buffering=0, opener=_for_owner)  # noqa: SIM115 - closed below
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32 = 0
        self._length = 0

    def write(self, data: bytes) -> None:
        """Take some more.

        Raises:
            OSError: It can't be kept.
        """
        left = memoryview(data)
        while left:
            left = left[self._sink.write(left) :]
        self._md5.update(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        self._length += len(data)

    def body(self) -> Body:
        """Return all of it."""
        self.close()
        return Body([Part(self._file, 0, self._length)], md5=self._md5, crc32=self._crc32)

    def close(self) -> None:
        """Take no more."""
        self._sink.close()


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)  # noqa: PTH107 - also while the interpreter ends
