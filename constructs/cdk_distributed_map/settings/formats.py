"""File formats that ItemReader reads, as ``ReaderConfig`` says them.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cdk_distributed_map.settings import checks, kinds
from distmap import limits


class CsvDelimiter(enum.Enum):
    """What separates the fields of a CSV file.

    .. versionadded:: 0.1.0
    """

    COMMA = "COMMA"
    PIPE = "PIPE"
    SEMICOLON = "SEMICOLON"
    SPACE = "SPACE"
    TAB = "TAB"

    @property
    def character(self) -> str:
        """The character itself."""
        return {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}[self.value]


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """Format of a file of items: use the factories.

    Files may be compressed with gzip (``.gz``) or Zstandard; Step Functions unpacks them.

    .. versionadded:: 0.1.0
    """

    input_type: str
    config: dict[str, Any] = field(default_factory=dict)
    headers_given: bool = False

    @staticmethod
    @kinds.checked
    def json(*, items_pointer: str | None = None) -> FileFormat:
        """A JSON array (one item per element) or object (one item per key and value).

        Args:
            items_pointer: JSON Pointer (RFC 6901) to the array or object inside the file, such as
                ``/data/rows``. Default: the whole file.

        Raises:
            ValueError: The pointer doesn't begin with ``/``, has a ``~`` that escapes nothing, or 2,000 characters or
                more.
        """
        if items_pointer is None:
            return FileFormat(input_type="JSON")
        checks.text("items_pointer", items_pointer, most=limits.MAX_ITEMS_POINTER_LENGTH - 1)
        if not items_pointer.startswith("/") and not checks.is_token(items_pointer):
            raise ValueError(
                f"items_pointer must be a JSON Pointer, got {items_pointer!r}: begin it with '/', as in '/data/rows'"
            )
        if not checks.is_token(items_pointer) and re.search("~(?![01])", items_pointer):
            raise ValueError(f"items_pointer must write '~' as '~0' and '/' in a name as '~1', got {items_pointer!r}")
        return FileFormat(input_type="JSON", config={"ItemsPointer": items_pointer})

    @staticmethod
    @kinds.checked
    def json_lines() -> FileFormat:
        """One JSON text per line."""
        return FileFormat(input_type="JSONL")

    @staticmethod
    @kinds.checked
    def csv(*, headers: Sequence[str] | None = None, delimiter: CsvDelimiter | None = None) -> FileFormat:
        """Rows of a CSV file. Every item is an object from header to string.

        Args:
            headers: Names of the columns of a file without a header row. Default: the first row has them.
            delimiter: Default: comma.

        Raises:
            ValueError: No header, an empty or a repeated one, or more than 10 KiB of them.
        """
        config: dict[str, Any] = {"CSVHeaderLocation": "FIRST_ROW"}
        if headers is not None:
            _check_headers(headers)
            config = {"CSVHeaderLocation": "GIVEN", "CSVHeaders": list(headers)}
        if delimiter is not None and delimiter is not CsvDelimiter.COMMA:
            config["CSVDelimiter"] = delimiter.value
        return FileFormat(input_type="CSV", config=config, headers_given=headers is not None)

    @staticmethod
    @kinds.checked
    def parquet() -> FileFormat:
        """Rows of a Parquet file (row groups up to 256 MB, footer up to 5 MB)."""
        return FileFormat(input_type="PARQUET")

    def render(self) -> dict[str, Any]:
        """Return the fields of ``ReaderConfig``."""
        return {"InputType": self.input_type, **self.config}


def _check_headers(headers: Sequence[str]) -> None:
    if len(headers) == 0:
        raise ValueError("headers must not be empty: leave it out where the first row has the names")
    for header in headers:
        checks.text("headers", header)
    repeated = sorted({header for header in headers if list(headers).count(header) > 1})
    if repeated:
        raise ValueError(f"headers must be unique, got {repeated[0]!r} more than once: a repeated one hides a column")
    size = len(",".join(headers).encode())
    if size > limits.MAX_CSV_HEADER_BYTES:
        raise ValueError(f"headers must have at most {limits.MAX_CSV_HEADER_BYTES:,} bytes in all, got {size:,}")
