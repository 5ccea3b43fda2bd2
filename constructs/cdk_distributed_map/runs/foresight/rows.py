"""The rows of a file of items: how many there are, by what its beginning or its footer tells, and the first of them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, BinaryIO, Final, cast

from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files.item_formats import FileFormat as ReadFormat
from cdk_distributed_map.runs.files.item_formats import read_items
from cdk_distributed_map.runs.foresight.source import FileFormat

_MOST_BYTES: Final = 64 * 1024**2
"""Bytes that are read of a file: what is behind them is taken to be like them."""
_BUFFER: Final = 64 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_FORMATS: Final[dict[str, ReadFormat]] = {"JSON": "json", "JSONL": "jsonl", "CSV": "csv"}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a file has."""

    number: float
    bytes: float
    """Of the items as JSON."""
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A file that can be read: from its beginning, or anywhere in it."""

    name: str
    size: int
    stream: Callable[[], IO[bytes]]
    """Opens it anew, to be read from its beginning."""
    anywhere: Callable[[], IO[bytes]]
    """Opens it so that it can be read anywhere."""


class _Metered(io.RawIOBase):
    """Counts what is read of a stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.taken = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.taken += len(data)
        return len(data)


def count_rows(file: Opened, how: FileFormat, *, most_bytes: int = _MOST_BYTES) -> Rows:
    """Return how many items a file has.

    Raises:
        InputError: It can't be read.
    """
    if not file.size:
        return Rows(number=0, bytes=0, exact=True)
    if how.kind == "PARQUET":
        return _count_parquet(file)
    number = text = 0
    with closing(file.stream()) as stream:
        meter = _Metered(stream)
        for item in _items(meter, how, file.name):
            number += 1
            text += len(item)
            if meter.taken > most_bytes and meter.taken < file.size:
                share = file.size / meter.taken
                return Rows(number=number * share, bytes=text * share, exact=False)
    return Rows(number=number, bytes=text, exact=True)


def first_rows(file: Opened, how: FileFormat, number: int) -> list[bytes]:
    """Return the first items of a file as JSON texts.

    Raises:
        InputError: It can't be read.
    """
    if how.kind == "PARQUET":
        with closing(file.anywhere()) as source:
            batches = _parquet(file, source).iter_batches(batch_size=max(1, number))
            return [_json(row) for row in islice((row for batch in batches for row in batch.to_pylist()), number)]
    with closing(file.stream()) as stream:
        return list(islice(_items(_Metered(stream), how, file.name), number))


def _items(meter: _Metered, how: FileFormat, name: str) -> Iterator[bytes]:
    source = _decompressed(io.BufferedReader(meter, _BUFFER), name)
    return read_items(source, _FORMATS[how.kind], name=name, dialect=how.dialect)


def _decompressed(stream: io.BufferedReader, name: str) -> BinaryIO:
    begin = stream.peek(len(_ZSTD))
    if begin.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if begin.startswith(_ZSTD):
        raise InputError(f"{name} is compressed by zstd, which isn't counted here: give the number of items (--items)")
    return cast("BinaryIO", stream)


def _count_parquet(file: Opened) -> Rows:
    with closing(file.anywhere()) as source:
        parquet = _parquet(file, source)
        number = parquet.metadata.num_rows
        some = [row for batch in islice(parquet.iter_batches(batch_size=100), 1) for row in batch.to_pylist()]
    mean = sum(len(_json(row)) for row in some) / max(1, len(some))
    return Rows(number=number, bytes=number * mean, exact=True)


def _parquet(file: Opened, source: IO[bytes]) -> Any:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, without types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise InputError(
            f"reading {file.name} needs pyarrow: pip install 'cdk-distributed-map[frames]', or give the number of "
            "items (--items)"
        ) from error
    try:
        return pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file.name} is no Parquet file: {error}") from error


def _json(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str).encode()
