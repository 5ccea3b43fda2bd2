"""Formats of item files: JSON, JSON Lines and CSV as people write them, read one item at a time."""

from __future__ import annotations

import codecs
import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, get_args

from cdk_distributed_map.runs.errors import InputError
from distmap._errors import ResultsError
from distmap._stream import ItemText, what_is_wrong
from distmap.limits import MAX_ITEM_BYTES

FileFormat = Literal["jsonl", "json", "csv"]
"""JSON Lines, a JSON array, or CSV as RFC 4180 has it, whose first row is the header: its values are texts, as on AWS.

Step Functions reads CSV by a grammar of its own, in which backslashes escape: it gets what is read here as JSON.
"""

_SUFFIXES: Final[dict[str, FileFormat]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}
_OTHER_DELIMITERS: Final = (";", "\t", "|")
_CHUNK_BYTES: Final = 1 << 20


def _refuse(constant: str) -> None:
    raise ValueError(f"the constant {constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


_DECODE: Final = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def parse_json(data: bytes, *, what: str) -> Any:
    """Return the value of a JSON text in UTF-8, as strict as Step Functions is.

    Args:
        data: The text.
        what: What it is, for messages.

    Raises:
        InputError: It isn't one.
    """
    try:
        # utf-8-sig: some editors put a mark before UTF-8.
        return _DECODE(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        where = f"it has the byte {data[error.start]:#04x} at {error.start + 1:,}"
        raise InputError(f"{what} is not UTF-8: {where}") from error
    except RecursionError as error:
        raise InputError(f"{what} is nested too deeply to be read: make it flatter") from error
    except ValueError as error:
        shown = data[:80].decode("utf-8", "replace")
        wrong = _lowered(error) if isinstance(error, json.JSONDecodeError) else what_is_wrong(error)
        raise InputError(f"{what} is not JSON: {wrong}; got {shown!r}") from error


def format_of(name: str, chosen: str | None = None) -> FileFormat:
    """Return the format of a file of items.

    Args:
        name: Its name.
        chosen: What the user says it is. Default: what the name ends in.

    Raises:
        InputError: The format isn't known, or can't be read.
    """
    formats = get_args(FileFormat)
    if chosen is not None:
        if chosen not in formats:
            raise InputError(f"the format of an item file is one of {', '.join(formats)}, got {chosen!r}")
        return chosen  # type: ignore[return-value] # just checked
    suffix = Path(name).suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"the name {name!r} doesn't show the format of the items: end it in {', '.join(_SUFFIXES)}, or give the "
            f"format ({', '.join(formats)})"
        )
    return _SUFFIXES[suffix]


@dataclass(frozen=True, kw_only=True)
class CsvDialect:
    """How CSV is written."""

    delimiter: str = ","
    columns: tuple[str, ...] | None = None
    """Names of the columns; None where the first row has them."""
    strict: bool = True
    """Whether what RFC 4180 has no rule for is an error."""


_RFC_4180: Final = CsvDialect()


def read_items(
    source: BinaryIO, file_format: FileFormat, *, name: str, dialect: CsvDialect = _RFC_4180
) -> Iterator[bytes]:
    """Yield the items of a file as JSON texts, one at a time.

    Args:
        source: The file.
        file_format: Its format.
        name: Name of the file, for messages.
        dialect: How CSV is written. Default: as RFC 4180 has it.

    Raises:
        InputError: A line or a row can't be read.
    """
    if file_format == "jsonl":
        yield from _json_lines(source, name)
    elif file_format == "csv":
        yield from _csv_rows(source, name, dialect)
    else:
        yield from _json_array(source, name)


def _json_lines(source: BinaryIO, name: str) -> Iterator[bytes]:
    for number, line in _lines(source, name):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            _DECODE(text)
        except json.JSONDecodeError as error:
            where = f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno:,}"
            raise InputError(f"line {number:,} of {name} is not JSON: {where}; got {text[:80]!r}") from error
        except ValueError as error:
            what = what_is_wrong(error)
            raise InputError(f"line {number:,} of {name} is not JSON: {what}; got {text[:80]!r}") from error
        except RecursionError as error:
            raise InputError(f"line {number:,} of {name} is nested too deeply to be read: make it flatter") from error
        yield text.encode()


def _lines(source: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, without the mark that some editors put before UTF-8."""
    for number, line in enumerate(iter(lambda: source.readline(ItemText.largest + 1), b""), start=1):
        if len(line) > ItemText.largest:
            raise InputError(
                f"line {number:,} of {name} has more than {ItemText.largest:,} bytes, and an item has at most "
                f"{MAX_ITEM_BYTES:,}: put what is large into S3 and make the item say where"
            )
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            where = f"it has the byte {line[error.start]:#04x} at {error.start + 1:,}"
            raise InputError(f"line {number:,} of {name} is not UTF-8: {where}; save it in UTF-8") from error


def _csv_rows(source: BinaryIO, name: str, dialect: CsvDialect) -> Iterator[bytes]:
    # The limit is the process's, and below what an item may have.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ITEM_BYTES))
    held = 0

    def counted_lines() -> Iterator[str]:
        """Yield the lines, and end in a row that goes on for longer than any item may."""
        nonlocal held
        for number, line in _lines(source, name):
            held += 0 if line.isspace() else len(line)
            if held > ItemText.largest:
                raise InputError(
                    f"the row of {name} that goes on at line {number:,} has more than {ItemText.largest:,} characters, "
                    f"and an item has at most {MAX_ITEM_BYTES:,} bytes: look for a quote that is never closed"
                )
            yield line

    reader = csv.DictReader(
        counted_lines(),
        dialect.columns,
        restval="",
        restkey=None,
        strict=dialect.strict,
        delimiter=dialect.delimiter,
    )
    try:
        columns = reader.fieldnames
        if columns is None:
            raise InputError(f"{name} is empty: CSV begins with a row of column names")
        twice = sorted(column for column, number in Counter(columns).items() if number > 1)
        is_usual = dialect == _RFC_4180 and len(columns) == 1
        if is_usual and (other := next((each for each in _OTHER_DELIMITERS if each in columns[0]), None)):
            raise InputError(
                f"{name} has one column, called {columns[0]!r}: columns are separated by commas here, not by "
                f"{other!r}. Save it with commas, or as JSON Lines where the column is really called that"
            )
        if twice:
            raise InputError(
                f"{name} has several columns called {', '.join(map(repr, twice))}, and an item has one value for each "
                "name: rename them"
            )
        for row in reader:
            held = 0
            # As AWS does: short rows are filled with empty texts, fields without a header are dropped.
            yield _encode({key: value for key, value in row.items() if key is not None})
    except csv.Error as error:
        what = _lowered(error).partition(" - ")[0]  # the rest is about Python
        raise InputError(f"{name} is not CSV at line {reader.line_num + 1:,} or after: {what}") from error


def _json_array(source: BinaryIO, name: str) -> Iterator[bytes]:
    chunks = iter(lambda: source.read(_CHUNK_BYTES), b"")
    first = next(chunks, b"").removeprefix(codecs.BOM_UTF8).lstrip()
    while not first:
        chunk = next(chunks, None)
        if chunk is None:
            raise InputError(f"{name} is empty: it must hold a JSON array of items")
        first = chunk.lstrip()
    if not first.startswith(b"["):
        raise InputError(
            f"{name} begins with {first[:1].decode('utf-8', 'replace')!r}: it must hold a JSON array of items"
        )
    count = 0
    text = ItemText(chain([first], chunks))
    try:
        text.expect("[")
        for item in text.elements():
            yield _encode(item)
            count += 1
        text.expect_end()
    except (ResultsError, ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, ResultsError) else what_is_wrong(error)
        raise InputError(f"{name} is not a JSON array: {what}, after {count:,} items") from error


def _encode(item: Any) -> bytes:
    return json.dumps(item, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _lowered(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].lower() + text[1:]
