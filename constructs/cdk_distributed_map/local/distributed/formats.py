"""Items of one file: JSON, JSON Lines, CSV and Parquet, streamed in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Final

from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.distributed.csv_files import csv_rows
from cdk_distributed_map.local.distributed.json_files import Entry, json_items, json_lines
from cdk_distributed_map.local.distributed.parquet_files import parquet_rows

CHUNK: Final = 500
_DELIMITERS: Final = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}


class Entries(list[Json]):
    """A chunk of the entries of an object, each as ``{"Key", "Value"}``."""


Chunks = Iterator[list[Json]]


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

    def chunks(self, stream: IO[bytes]) -> Chunks:
        """Return the items of a file in chunks.

        Raises:
            ReaderError: It isn't of this format.
        """
        if self.kind == "JSON":
            return _told_apart(json_items(stream, self.pointer))
        if self.kind == "JSONL":
            return json_lines(stream)
        if self.kind == "CSV":
            return chunked(csv_rows(stream, headers=self.headers, delimiter=_DELIMITERS[self.delimiter]))
        return parquet_rows(stream, self.folder, CHUNK)


def chunked(items: Iterable[Json]) -> Chunks:
    """Return items in chunks."""
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _told_apart(items: Iterator[Json]) -> Chunks:
    """Return the items of a JSON file in chunks, entries of an object as such."""
    for chunk in chunked(items):
        yield Entries(chunk) if isinstance(chunk[0], Entry) else chunk
