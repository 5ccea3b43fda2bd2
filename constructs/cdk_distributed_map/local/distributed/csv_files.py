"""CSV by Step Functions' own grammar.

A field may be enclosed in double quotes, and holds delimiters and line ends then. Doubled, a quote stands for itself,
outside of quotes too. A backslash takes its meaning from another backslash, a quote or the delimiter, and vanishes
before anything else. Short rows are filled up, fields beyond the header are dropped.
https://docs.aws.amazon.com/step-functions/latest/dg/example-csv-parse-dist-map.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import IO, Final

from cdk_distributed_map.local.distributed.reader_errors import failed
from cdk_distributed_map.local.distributed.text_files import decoded, lines
from distmap import limits

_ENDS: Final = "\r\n"
_IN_QUOTES: Final = re.compile(r'["\\]')


def csv_rows(stream: IO[bytes], *, headers: Sequence[str] | None, delimiter: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file: every value a text.

    Args:
        stream: The file.
        headers: Names of the columns, None where its first row has them.
        delimiter: What separates fields.

    Raises:
        ReaderError: It isn't CSV.
    """
    rows = _records(stream, delimiter)
    names = list(headers) if headers is not None else next(rows, [])
    if len(set(names)) != len(names):
        raise failed("CSV headers cannot contain duplicates.", recorded=True)
    if len(delimiter.join(names).encode()) > limits.MAX_CSV_HEADER_BYTES:
        raise failed(f"CSV headers cannot exceed {limits.MAX_CSV_HEADER_BYTES} bytes.", recorded=True)
    width = len(names)
    blank = [""] * width
    for row in rows:
        yield dict(zip(names, row + blank[len(row) :], strict=False))


def _records(stream: IO[bytes], delimiter: str) -> Iterator[list[str]]:
    """Yield the fields of each record; blank lines are none."""
    parser = _Parser(delimiter)
    numbered = ((first + at, line) for first, block in lines(stream, ends=b"\r\n") for at, line in enumerate(block))
    number = 0
    for number, line in numbered:
        text = decoded(line, number)
        if not parser.is_open and '"' not in text and "\\" not in text:
            row = text.rstrip(_ENDS)
            if row:
                yield row.split(delimiter)
            continue
        record = parser.line(text, number)
        if record is not None:
            yield record
    if parser.is_open:
        raise failed(f"the quote of line {parser.opened} is never closed")


class _Parser:
    """Takes the lines of records apart.

    Args:
        delimiter: What separates fields.
    """

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._escapable = frozenset({"\\", '"', delimiter})
        self._special = re.compile(f'["\\\\{re.escape(delimiter)}]')
        self._fields: list[str] = []
        self._pieces: list[str] = []
        self._at_field_start = True
        """Whether nothing of a field has been read."""
        self._length = 0
        self.is_open = False
        """Whether the last line ended inside of quotes."""
        self.opened = 0
        """The line that they began in."""

    def line(self, text: str, number: int) -> list[str] | None:
        """Take one line; return the record that it ends, None where it goes on in the next.

        Raises:
            ReaderError: The line isn't CSV, or the record is larger than an item may be.
        """
        end = len(text.rstrip(_ENDS))
        at: int | None = 0
        while at is not None:
            at = self._quoted(text, at, end, number) if self.is_open else self._plain(text, at, end, number)
        if self.is_open:
            self._length += len(text)
            if self._length > limits.MAX_ITEM_BYTES:
                raise failed(f"the row whose quote opens in line {self.opened} is larger than an item may be")
            return None
        self._end_field()
        record, self._fields, self._length = self._fields, [], 0
        return record

    def _quoted(self, text: str, at: int, end: int, number: int) -> int | None:
        """Read on inside of quotes; return where to go on, None at the end of the line."""
        found = _IN_QUOTES.search(text, at)
        if found is None:
            self._pieces.append(text[at:])
            return None
        here = found.start()
        self._pieces.append(text[at:here])
        if text[here] == "\\":
            return self._escaped(text, here, len(text))
        if text.startswith('"', here + 1):
            self._pieces.append('"')
            return here + 2
        self.is_open = False
        if here + 1 < end and text[here + 1] != self._delimiter:
            raise failed(f"line {number} goes on at column {here + 2} after the quote that ends a field")
        return here + 1

    def _plain(self, text: str, at: int, end: int, number: int) -> int | None:
        """Read on outside of quotes; return where to go on, None at the end of the record."""
        if self._at_field_start and self._opens(text, at, end):
            self.is_open, self._at_field_start, self.opened = True, False, number
            return at + 1
        found = self._special.search(text, at, end)
        if found is None:
            self._pieces.append(text[at:end])
            return None
        here, self._at_field_start = found.start(), False
        self._pieces.append(text[at:here])
        if text[here] == self._delimiter:
            self._end_field()
            return here + 1
        if text[here] == "\\":
            return self._escaped(text, here, end)
        self._pieces.append('"')
        return here + (2 if text.startswith('"', here + 1) else 1)

    def _opens(self, text: str, at: int, end: int) -> bool:
        """Tell whether a field is enclosed in quotes: two that more text follows are one that stands for itself."""
        if not text.startswith('"', at):
            return False
        return not text.startswith('""', at) or at + 2 >= end or text[at + 2] in {'"', self._delimiter}

    def _escaped(self, text: str, at: int, end: int) -> int:
        """Read a backslash with what it gives a meaning to; return where to go on."""
        if at + 1 < end and text[at + 1] in self._escapable:
            self._pieces.append(text[at + 1])
            return at + 2
        return at + 1

    def _end_field(self) -> None:
        self._fields.append("".join(self._pieces))
        self._pieces = []
        self._at_field_start = True
