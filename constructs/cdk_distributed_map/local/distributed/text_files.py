"""Files of text: UTF-8 alone, and lines of a bounded length."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO, Final

from cdk_distributed_map.local.distributed.reader_errors import ReaderError, failed
from distmap import limits

BLOCK_BYTES: Final = 512 * 1024
_LOOK: Final = 4
_OTHER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def text_blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what is in a file of text, without the mark that it may begin with.

    Raises:
        ReaderError: It is UTF-16 or UTF-32. Of all that Step Functions reads, its pages know UTF-8 alone.
    """
    block = stream.read(BLOCK_BYTES)
    while 0 < len(block) < _LOOK and (more := stream.read(_LOOK)):
        block += more
    start = block[:_LOOK]
    if start.startswith(_OTHER_MARKS) or b"\0" in start:
        raise failed("it is UTF-16 or UTF-32, and items are read as UTF-8: save it as that")
    block = block.removeprefix(codecs.BOM_UTF8)
    while block:
        yield block
        block = stream.read(BLOCK_BYTES)


def lines(stream: IO[bytes], *, ends: bytes = b"\n") -> Iterator[tuple[int, list[bytes]]]:
    """Yield blocks of lines with their ends, each with the number of its first line.

    Args:
        stream: The file.
        ends: What ends lines: a line feed, or with a carriage return in it that too.

    Raises:
        ReaderError: A line is longer than an item may be, or it is no text.
    """
    number, rest = 1, b""
    for block in text_blocks(stream):
        whole, rest = _split(rest + block, ends)
        too_long = next((at for at, line in enumerate(whole) if len(line) > limits.MAX_ITEM_BYTES), None)
        if too_long is None and len(rest) > limits.MAX_ITEM_BYTES:
            too_long = len(whole)
        if too_long is not None:
            raise failed(f"line {number + too_long} has more than the {limits.MAX_ITEM_BYTES} bytes of an item")
        if whole:
            yield number, whole
            number += len(whole)
    if rest:
        yield number, [rest]


def _split(data: bytes, ends: bytes) -> tuple[list[bytes], bytes]:
    found = data.splitlines(keepends=True) if b"\r" in ends else [line + b"\n" for line in data.split(b"\n")]
    if b"\r" not in ends:
        found[-1] = found[-1][:-1]
    # A carriage return at the end may be followed by its line feed.
    rest = found.pop() if found and not found[-1].endswith(b"\n") else b""
    return found, rest


def decoded(line: bytes, number: int) -> str:
    """Return a line as text.

    Raises:
        ReaderError: It isn't UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(line, error, f"line {number}") from error


def not_utf8(data: bytes, error: UnicodeDecodeError, where: str) -> ReaderError:
    """Return the error of bytes that aren't UTF-8."""
    return failed(f"{where} is not UTF-8: it has the byte {data[error.start]:#04x} at {error.start + 1}")
