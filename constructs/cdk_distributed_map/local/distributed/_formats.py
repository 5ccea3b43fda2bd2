"""Items of one file: JSON, JSON Lines, CSV and Parquet, streamed in chunks."""

from __future__ import annotations

import base64
import csv
import datetime
import decimal
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Final, cast

import ijson  # type: ignore[import-untyped]  # it has no types

from cdk_distributed_map.local._errors import UnsupportedError
from cdk_distributed_map.local._json import Json, dumps, loads, size
from cdk_distributed_map.local.distributed._streams import downloaded, failed, unmarked
from distmap import limits

CHUNK: Final = 500
_LINES_BYTES: Final = 512 * 1024
# How far the JSON parser may have read ahead of what it has given.
_AHEAD: Final = 64 * 1024
_MAX_ROW_GROUP: Final = 256 * 1024**2
_MAX_FOOTER: Final = 5 * 1024**2
_DELIMITERS: Final = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


class Entries(list[Json]):
    """A chunk of the entries of an object, each as ``{"Key", "Value"}``."""


Chunks = Iterator[list[Json]]
Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How files are read.

    Args:
        kind: ``JSON``, ``JSONL``, ``CSV`` or ``PARQUET``.
        pointer: JSON Pointer to the items in a JSON file, empty for the whole.
        headers: Headers of a CSV file, None where its first row has them.
        delimiter: Delimiter of a CSV file, in AWS's words.
        folder: Folder of temporary files.
    """

    kind: str
    pointer: str = ""
    headers: Sequence[str] | None = None
    delimiter: str = "COMMA"
    folder: str | None = field(default=None)

    def chunks(self, opener: Opener) -> Chunks:
        """Return the items of a file in chunks.

        Raises:
            StateError: ``States.ItemReaderFailed``: it isn't of this format.
        """
        if self.kind == "JSON":
            return json_items(opener, self.pointer)
        if self.kind == "JSONL":
            return json_lines(opener)
        if self.kind == "CSV":
            return csv_rows(opener, headers=self.headers, delimiter=_DELIMITERS[self.delimiter])
        return parquet_rows(opener, self.folder)


def chunked(items: Iterator[Json]) -> Chunks:
    """Return items in chunks."""
    while chunk := list(islice(items, CHUNK)):
        yield chunk


def json_lines(opener: Opener) -> Chunks:
    """Return the lines of a JSON Lines file."""
    with opener() as stream:
        number = 0
        while lines := stream.readlines(_LINES_BYTES):
            _check_sizes(map(len, lines))
            filled = [line for line in lines if line.strip()]
            try:
                # One parse of many lines is several times faster than many of one.
                items = loads(b"[" + b",".join(filled) + b"]") if filled else []
                if len(items) != len(filled):
                    raise ValueError
            except (ValueError, RecursionError):
                items = [_line(line, number + at) for at, line in enumerate(lines, 1) if line.strip()]
            number += len(lines)
            yield items


def _check_sizes(sizes: Iterable[int]) -> None:
    largest = max(sizes, default=0)
    if largest > limits.MAX_ITEM_BYTES:
        raise failed(f"An item has {largest} bytes, more than the maximum of {limits.MAX_ITEM_BYTES}.")


class _Counted:
    """A stream that counts what is read of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Read."""
        data = self._stream.read(size)
        self.bytes += len(data)
        return data


def _line(line: bytes, number: int) -> Json:
    try:
        return loads(line)
    except ValueError as error:
        raise failed(f"Line {number} of the JSON Lines file is not valid JSON: {error}") from error


def json_items(opener: Opener, pointer: str) -> Chunks:
    """Return the elements of an array, or the entries of an object, in a JSON file."""
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    try:
        with unmarked(opener()) as stream:
            kind = _kind_at(stream, tokens, pointer)
        with unmarked(opener()) as stream:
            counted = _Counted(stream)
            before = 0
            for chunk in chunked(_items_at(cast("IO[bytes]", counted), tokens, kind)):
                # Only where a chunk could hold an item that is too large, since it takes as long as reading does.
                if counted.bytes - before > limits.MAX_ITEM_BYTES:
                    _check_sizes(size(dumps(item)) for item in chunk)
                before = max(0, counted.bytes - _AHEAD)
                yield Entries(chunk) if kind == "start_map" else chunk
    except ijson.JSONError as error:
        raise failed(f"The file is not valid JSON: {error}") from error


def _events_at(stream: IO[bytes], tokens: list[str]) -> Iterator[tuple[str, Json]] | None:
    """Return the events of the value at a pointer, None where it isn't there."""
    events: Iterator[tuple[str, Json]] = ijson.basic_parse(stream, use_float=True)
    for token in tokens:
        event, _ = next(events)
        if event == "start_map":
            found = _into_map(events, token)
        elif event == "start_array" and token.isdigit():
            found = _into_array(events, int(token))
        else:
            return None
        if found is None:
            return None
        events = found
    return iter(events)


def _into_map(events: Iterator[tuple[str, Json]], key: str) -> Iterator[tuple[str, Json]] | None:
    for event, value in events:
        if event == "end_map":
            return None
        if event == "map_key":
            if value == key:
                return events
            _skip(events, *next(events))
    return None


def _into_array(events: Iterator[tuple[str, Json]], index: int) -> Iterator[tuple[str, Json]] | None:
    for event, value in events:
        if event == "end_array":
            return None
        if index == 0:
            return _prepended((event, value), events)
        _skip(events, event, value)
        index -= 1
    return None


def _prepended(first: tuple[str, Json], rest: Iterator[tuple[str, Json]]) -> Iterator[tuple[str, Json]]:
    yield first
    yield from rest


def _skip(events: Iterator[tuple[str, Json]], event: str, _value: Json) -> None:
    depth = 1 if event.startswith("start_") else 0
    while depth:
        event, _ = next(events)
        depth += event.startswith("start_") - event.startswith("end_")


def _kind_at(stream: IO[bytes], tokens: list[str], pointer: str) -> str:
    events = _events_at(stream, tokens)
    if events is None:
        raise failed(f"The ItemsPointer '{pointer}' does not point to anything in the file.")
    event, _ = next(events)
    # In 2023 AWS was recorded to refuse an object that is the whole file; by its documentation it takes one now.
    if event not in {"start_array", "start_map"}:
        raise failed("Attempting to map over non-iterable node.")
    return event


def _items_at(stream: IO[bytes], tokens: list[str], kind: str) -> Iterator[Json]:
    plain = all(token and "." not in token and not token.isdigit() for token in tokens)
    prefix = ".".join(tokens)
    if plain and kind == "start_array":
        yield from ijson.items(stream, f"{prefix}.item" if prefix else "item", use_float=True)
        return
    if plain:
        for key, value in ijson.kvitems(stream, prefix, use_float=True):
            yield {"Key": key, "Value": value}
        return
    # ijson's prefixes can't tell 'a.b' from 'a' in 'b', nor one element from another: build from events.
    events = _events_at(stream, tokens)
    if events is not None:
        next(events)
        yield from _built(events, kind)


def _built(events: Iterator[tuple[str, Json]], kind: str) -> Iterator[Json]:
    key = None
    for event, value in events:
        if event in {"end_array", "end_map"}:
            return
        if event == "map_key":
            key = value
            continue
        item = _value(events, event, value)
        yield item if kind == "start_array" else {"Key": key, "Value": item}


def _value(events: Iterator[tuple[str, Json]], event: str, value: Json) -> Json:
    builder = ijson.ObjectBuilder()
    builder.event(event, value)
    depth = 1 if event.startswith("start_") else 0
    while depth:
        event, value = next(events)
        depth += event.startswith("start_") - event.startswith("end_")
        builder.event(event, value)
    return builder.value


def csv_rows(opener: Opener, *, headers: Sequence[str] | None, delimiter: str) -> Chunks:
    """Return the rows of a CSV file: every value a string, short rows filled up, extra fields dropped."""
    with opener() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        csv.field_size_limit(limits.MAX_ITEM_BYTES)
        # Strict: a quote that is never closed would swallow the rest of the file.
        rows = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            names = list(headers) if headers is not None else next(rows, [])
            if len(set(names)) != len(names):
                raise failed("CSV headers cannot contain duplicates.")
            if len(delimiter.join(names).encode()) > limits.MAX_CSV_HEADER_BYTES:
                raise failed(f"CSV headers cannot exceed {limits.MAX_CSV_HEADER_BYTES} bytes.")
            width = len(names)
            blank = [""] * width
            filled = (dict(zip(names, row + blank[len(row) :], strict=False)) for row in rows if row)
            yield from chunked(filled)
        except (csv.Error, UnicodeDecodeError) as error:
            raise failed(f"The CSV file can't be read: {error}") from error


def parquet_rows(opener: Opener, folder: str | None) -> Chunks:
    """Return the rows of a Parquet file."""
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, without types
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise UnsupportedError("the item file is Parquet: pip install 'cdk-distributed-map[local]'") from error
    with opener() as stream, downloaded(stream, folder) as file:
        try:
            table = parquet.ParquetFile(file)
            if table.metadata.serialized_size > _MAX_FOOTER:
                raise failed(f"The footer of the Parquet file exceeds {_MAX_FOOTER} bytes.")
            groups = (table.metadata.row_group(at) for at in range(table.metadata.num_row_groups))
            if any(group.total_byte_size > _MAX_ROW_GROUP for group in groups):
                raise failed(f"A row group of the Parquet file exceeds {_MAX_ROW_GROUP} bytes.")
            for batch in table.iter_batches(batch_size=CHUNK):
                yield [_plain(row) for row in batch.to_pylist(maps_as_pydicts="strict")]
        # Arrow's own errors, and Python's for values that it has no type for, such as nanoseconds without pandas.
        except (pyarrow.ArrowException, ValueError, KeyError) as error:
            raise failed(f"The Parquet file can't be read: {error}") from error


def _plain(value: Any) -> Json:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.timedelta):
        raise failed(f"The Parquet file has the duration {value}, which is no type of Parquet: write it as a number.")
    return value
