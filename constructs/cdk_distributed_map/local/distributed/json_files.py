"""JSON and JSON Lines files, in constant memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any, Final

from cdk_distributed_map.local.asl.json_text import Json, dumps, loads, size
from cdk_distributed_map.local.distributed.reader_errors import ReaderError, failed
from cdk_distributed_map.local.distributed.text_files import decoded, lines, text_blocks
from distmap import limits
from distmap._stream import ItemText

_TOO_DEEP: Final = "it is nested too deeply"
# Below this, no text can have too many bytes, whatever its characters are.
_SURELY_SMALL: Final = limits.MAX_ITEM_BYTES // 4


class Entry(dict[str, Json]):
    """An entry of an object: ``{"Key", "Value"}``."""


def json_lines(stream: IO[bytes]) -> Iterator[list[Json]]:
    """Yield the items of a JSON Lines file, in blocks; blank lines are none.

    Raises:
        ReaderError: A line isn't JSON.
    """
    for number, block in lines(stream):
        yield [_line(line, number + at) for at, line in enumerate(block) if line.strip()]


def _line(line: bytes, number: int) -> Json:
    text = decoded(line, number).rstrip()
    try:
        return loads(text)
    except ValueError as error:
        raise failed(f"line {number} is not JSON: {_what(error)}") from error


def _what(error: ValueError) -> str:
    """Return what is wrong with a JSON text, without what it holds."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}"
    if "int_max_str_digits" in str(error):
        return "it has a number of too many digits"
    return str(error)


class _Text(ItemText):
    """A JSON file that is read as it comes."""

    def wrong(self, expected: str) -> ReaderError:
        """Return the error, without what the file holds."""
        if self.position == 0 and not self._buffer:
            return failed("it is empty, which is not JSON")
        return failed(f"it is not JSON: expected {expected} at character {self.position + 1}")

    def refused(self, what: str) -> ReaderError:
        """Return the error, likewise: what is wrong may hold a part of the file."""
        del what
        return self.wrong("a JSON value")


def json_items(stream: IO[bytes], pointer: str) -> Iterator[Entry | Json]:
    """Yield the elements of an array, or the entries of an object, in a JSON file.

    Args:
        stream: The file.
        pointer: JSON Pointer to the array or object, empty for the whole file.

    Raises:
        ReaderError: It isn't JSON, has nothing to map over, or an item is too large.
    """
    text = _Text(text_blocks(stream))
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    try:
        if not all(_goes_to(text, token) for token in tokens):
            raise failed(f"the ItemsPointer {pointer!r} does not point to anything in it")
        if text.accept("["):
            yield from _elements(text)
        elif text.accept("{"):
            yield from _entries(text)
        else:
            # In 2023 AWS was recorded to refuse an object that is the whole file; by its pages it takes one now.
            text.value()
            raise failed("Attempting to map over non-iterable node.", recorded=True)
        if not tokens:
            text.expect_end()
    except RecursionError as error:
        raise failed(f"{_TOO_DEEP} at character {text.position + 1}") from error


def _goes_to(text: _Text, token: str) -> bool:
    """Go to a member or an element of what comes; return False where there is none."""
    if text.accept("{"):
        return any(key == token or _skip(text) for key in _keys(text))
    if text.accept("[") and token.isdigit():
        return _goes_to_element(text, int(token))
    return False


def _goes_to_element(text: _Text, index: int) -> bool:
    if text.accept("]"):
        return False
    for _ in range(index):
        _skip(text)
        if not text.accept(","):
            return False
    return True


def _keys(text: _Text) -> Iterator[str]:
    """Yield the keys of an object whose brace was read; the value of each must be read before the next."""
    if text.accept("}"):
        return
    while True:
        key: Any = text.value()
        if not isinstance(key, str):
            raise text.wrong("a key")
        text.expect(":")
        yield key
        if text.accept("}"):
            return
        text.expect(",")


def _skip(text: _Text) -> bool:
    """Read a value, of a large one a part at a time; return False."""
    if text.accept("["):
        for _ in text.elements():
            pass
    elif text.accept("{"):
        for _ in _keys(text):
            text.value()
    else:
        text.value()
    return False


def _elements(text: _Text) -> Iterator[Json]:
    start = text.position
    for number, item in enumerate(text.elements(), 1):
        end = text.position
        # Only where it could be too large, since it takes as long as reading does.
        if end - start > _SURELY_SMALL:
            _check_size(item, number)
        start = end
        yield item


def _entries(text: _Text) -> Iterator[Entry]:
    for number, key in enumerate(_keys(text), 1):
        start = text.position
        value = text.value()
        if text.position - start > _SURELY_SMALL:
            _check_size(value, number)
        yield Entry(Key=key, Value=value)


def _check_size(item: Json, number: int) -> None:
    if (found := size(dumps(item))) > limits.MAX_ITEM_BYTES:
        raise failed(f"item {number} has {found} bytes, more than the maximum of {limits.MAX_ITEM_BYTES}")
