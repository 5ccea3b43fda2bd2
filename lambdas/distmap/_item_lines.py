"""Items of a run that are to run again, as lines of an item file: for a round, and for the client's retry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from distmap._envelopes import envelopes
from distmap._export import File
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._json import encode
from distmap._outcomes import Reader
from distmap._stream import is_missing, lines, object_chunks
from distmap.wire import ItemFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ChangedError(Exception):
    """The item file isn't what the run read: why not, in words."""


@contextmanager
def _gone(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_missing(error):
            raise
        message = f"its item file {where} is gone"
        raise ChangedError(message) from error


class ItemLines:
    """Makes the lines, each item once, wherever it is found first.

    Attributes:
        written: The numbers of the items that there are lines of.
    """

    def __init__(
        self, s3: S3Client, *, numbers: ItemNumbers, wanted: Callable[[int], bool], written: IndexSet | None = None
    ) -> None:
        """Look at nothing yet.

        Args:
            s3: The client to read with.
            numbers: Those of the items of several files.
            wanted: Tells whether the item of a number is to run again.
            written: Those of which another invocation made lines. By default none.
        """
        self._s3, self._numbers, self._wanted = s3, numbers, wanted
        self.written = IndexSet() if written is None else written

    def of_envelopes(self, bucket: str, key: str) -> Iterator[bytes]:
        """Yield what an item file of envelopes has, as those of rounds and retries.

        Raises:
            ChangedError: It is gone.
        """
        with _gone(f"s3://{bucket}/{key}"):
            for envelope in envelopes(self._s3, bucket, key, None):
                if self._is_new(self._numbers.number(envelope["index"], envelope.get("source"))):
                    yield encode(envelope, what="an item")

    def of_children(self, reader: Reader, file: File, *, well: bool) -> Iterator[bytes]:
        """Yield what children were given, by their records.

        Args:
            reader: Reads the map run.
            file: A file of it.
            well: Whether to look into those too whose items all succeeded.
        """
        for child in reader.children(file, well=well):
            for number, value in child.items():
                if number is not None and self._is_new(number):
                    index, source = self._numbers.identity(number)
                    envelope = {"index": index} if source is None else {"index": index, "source": source}
                    yield encode({**envelope, "value": value}, what="an item")

    def of_file(self, file: ItemFile, captured: int | None) -> Iterator[bytes]:
        """Yield what a captured item file has.

        Args:
            file: The file.
            captured: How many items the run had.

        Raises:
            ChangedError: It is gone, or has changed since; what was yielded may be other items then.
        """
        index, digest, where = -1, hashlib.sha256(), f"s3://{file['bucket']}/{file['key']}"
        sha256: Any = file.get("sha256")

        def chunks() -> Iterable[bytes]:
            for chunk in object_chunks(self._s3, file["bucket"], file["key"]):
                digest.update(chunk)
                yield chunk

        with _gone(where):
            for index, line in enumerate(lines(chunks())):
                if self._is_new(index):
                    yield b'{"index":%d,"value":%s}' % (index, line.strip())
        # Where nobody has the checksum any more, the number of items is left to compare.
        if index + 1 != captured if sha256 is None else digest.hexdigest() != sha256:
            message = (
                f"its item file {where} has changed since the run read it, so the indexes are no longer those of the "
                "same items"
            )
            raise ChangedError(message)

    def _is_new(self, number: int) -> bool:
        return self._wanted(number) and self.written.add(number)
