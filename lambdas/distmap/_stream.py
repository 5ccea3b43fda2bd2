"""Objects in S3 as streams of bytes, and streams of bytes as JSON values, in constant memory.

A result file may be one JSON array of 5 GB, which no memory of a function holds. The libraries that parse JSON as it
comes (ijson and its like) are not in Lambda's runtime, and this package may bring no dependency. What is needed is
little: the elements of one array, or of the arrays of one object, each small enough to hold. The standard library's
own decoder does the parsing (``raw_decode`` stops at the end of a value), and the code here only feeds it.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from json import JSONDecodeError, JSONDecoder
from math import isinf
from typing import TYPE_CHECKING, Any, Final

from distmap._errors import ResultsError
from distmap.limits import MAX_ITEM_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES: Final = 1024**2
LARGEST_VALUE: Final = 64 * 1024**2
"""Characters of one element: a child's input and output are 256 KiB each at most, and escapes multiply them."""

_ATTEMPTS: Final = 5
_FOLLOWS: Final = (",", "]", "}", ":", " ", "\t", "\n", "\r")
_blanks: Final = re.compile(r"[ \t\n\r]*").match


def _end_of_blanks(text: str, start: int) -> int:
    found = _blanks(text, start)
    return start if found is None else found.end()


def _no_constant(name: str) -> Any:
    message = f"{name} is not JSON"
    raise ValueError(message)


decode_raw: Final = JSONDecoder(parse_constant=_no_constant).raw_decode


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        message = "out of range number"
        raise ValueError(message)
    return value


_finite_decode: Final = JSONDecoder(parse_constant=_no_constant, parse_float=_finite).raw_decode


def what_is_wrong(error: ValueError | RecursionError) -> str:
    """Return the decoder's message about a JSON text, without what it says about Python."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} at column {error.colno:,}"
    if isinstance(error, UnicodeEncodeError):
        return "it has half of a surrogate pair, which UTF-8 hasn't"
    return "it has a number of too many digits" if "digits" in str(error) else str(error)


def object_chunks(s3: S3Client, bucket: str, key: str, *, start: int = 0, etag: str = "") -> Iterator[bytes]:
    """Yield an object's bytes. A connection that breaks is taken up again where it broke, in the same version.

    Args:
        s3: The client to read with.
        bucket: The object's bucket.
        key: Its key.
        start: Where to begin, in bytes; before its end.
        etag: Of the version to read. By default whichever is there.

    Yields:
        Chunks of at most a mebibyte.
    """
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError  # noqa: PLC0415

    offset, failures = start, 0
    while True:
        same: Any = {"IfMatch": etag} if etag else {}
        if offset:
            same["Range"] = f"bytes={offset}-"
        answer = s3.get_object(Bucket=bucket, Key=key, **same)
        end, etag = offset + answer["ContentLength"], answer["ETag"]
        # As a context manager the body would give its raw stream: no check of length and checksum, other errors.
        with closing(answer["Body"]) as body:
            try:
                while chunk := body.read(CHUNK_BYTES):
                    offset += len(chunk)
                    failures = 0
                    yield chunk
            except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                failures += 1
                if failures == _ATTEMPTS:
                    raise
        if offset >= end:
            return


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream, without their ends; blank ones are left out."""
    pieces: list[bytes] = []
    for chunk in chunks:
        if b"\n" not in chunk:
            pieces.append(chunk)
            continue
        pieces.append(chunk)
        whole = b"".join(pieces).split(b"\n")
        pieces = [whole.pop()]
        for line in whole:
            if line and not line.isspace():
                yield line
    last = b"".join(pieces)
    if last and not last.isspace():
        yield last


def count_lines(s3: S3Client, bucket: str, key: str) -> int | None:
    """Return how many items an object of S3 has a line for, in constant memory; None where there is no such object.

    Blank lines are none, here as for the map.
    """
    try:
        return sum(1 for _ in lines(object_chunks(s3, bucket, key)))
    except Exception as error:
        if is_missing(error):
            return None
        raise


def is_missing(error: Exception) -> bool:
    """Tell whether S3 says that an object isn't there, or its bucket isn't."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else type(error).__name__
    return code in {"404", "NoSuchKey", "NoSuchBucket"}


def array_elements(chunks: Iterable[bytes]) -> Iterator[Any]:
    """Yield the elements of a JSON array as they come.

    Raises:
        ResultsError: It is no JSON array.
    """
    text = JsonText(chunks)
    text.expect("[")
    yield from text.elements()
    text.expect_end()


def member_elements(chunks: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the elements of the arrays in a JSON object as they come, each with its key; other members whole.

    Raises:
        ResultsError: It is no JSON object.
    """
    text = JsonText(chunks)
    text.expect("{")
    if text.accept("}"):
        text.expect_end()
        return
    while True:
        key = text.value()
        text.expect(":")
        if text.accept("["):
            for element in text.elements():
                yield key, element
        else:
            yield key, text.value()
        if text.accept("}"):
            text.expect_end()
            return
        text.expect(",")


class JsonText:
    """What of a stream of JSON was read and not yet consumed.

    Attributes:
        largest: Characters of the largest value that is read whole. Default: :data:`LARGEST_VALUE`.
        raw_decode: Reads a value from a text at a position, and returns it with its end.
    """

    largest: int | None = None
    raw_decode: Callable[[str, int], tuple[Any, int]] = staticmethod(decode_raw)

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = getincrementaldecoder("utf-8")().decode
        self._buffer = ""
        self._position = 0
        self._consumed = 0
        self._ended = False

    def elements(self) -> Iterator[Any]:
        """Yield the elements of an array whose bracket was read, and read its end."""
        if self.accept("]"):
            return
        while True:
            yield from self._waiting()
            yield self.value()
            if self.accept("]"):
                return
            self.expect(",")

    def _waiting(self) -> Iterator[Any]:
        """Yield the elements that are wholly in what was read and followed by another: those are most of them."""
        text, start = self._buffer, self._position
        while True:
            try:
                value, end = decode_raw(text, _end_of_blanks(text, start))
            except ValueError:
                return
            end = _end_of_blanks(text, end)
            if not text.startswith(",", end):
                return
            self._position = start = end + 1
            yield value

    def value(self) -> Any:
        """Read one value."""
        self._next()
        while True:
            try:
                value, end = self.raw_decode(self._buffer, self._position)
            except ValueError as error:
                if not isinstance(error, JSONDecodeError):
                    # More of the stream would not help.
                    raise self.refused(what_is_wrong(error)) from error
                if not self._read_more():
                    raise self.wrong("a JSON value") from error
                continue
            # A number may go on in what was not read yet ("1" of "1.5", or of "1e3"): see what follows it.
            if self._buffer[end : end + 1] not in _FOLLOWS and self._read_more():
                continue
            self._position = end
            return value

    def accept(self, character: str) -> bool:
        """Read ``character`` if it is next."""
        if self._next() == character:
            self._position += 1
            return True
        return False

    def expect(self, character: str) -> None:
        """Read ``character``, which must be next."""
        if not self.accept(character):
            raise self.wrong(repr(character))

    def expect_end(self) -> None:
        """Check that nothing but blanks is left."""
        if self._next():
            raise self.wrong("the end")

    def _next(self) -> str:
        """Skip blanks and return the next character, or nothing at the end."""
        while True:
            self._position = _end_of_blanks(self._buffer, self._position)
            if self._position < len(self._buffer):
                return self._buffer[self._position]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        """Read about as much again as is waiting, so that a long value is tried a few times only."""
        if self._ended:
            return False
        self._consumed += self._position
        pieces = [self._buffer[self._position :]]
        wanted = len(pieces[0])
        largest = LARGEST_VALUE if self.largest is None else self.largest
        if wanted > largest:
            raise self.wrong(f"a JSON value of at most {largest:,} characters")
        self._position = 0
        read = 0
        while read <= wanted and not self._ended:
            chunk = next(self._chunks, None)
            self._ended = chunk is None
            try:
                pieces.append(self._decode(chunk or b"", final=self._ended))
            except UnicodeDecodeError as error:
                raise self.wrong("UTF-8 text") from error
            read += len(pieces[-1])
        self._buffer = "".join(pieces)
        return read > 0

    def wrong(self, expected: str) -> Exception:
        """Return the error of a stream that has something else than is expected."""
        found = self._buffer[self._position : self._position + 40]
        message = f"expected {expected} at character {self.position:,}, found {found!r}"
        return ResultsError(message)

    def refused(self, what: str) -> Exception:
        """Return the error of a stream that has what is no JSON, or can't be read here."""
        message = f"{what} at character {self.position:,}"
        return ResultsError(message)

    @property
    def position(self) -> int:
        """How many characters were consumed."""
        return self._consumed + self._position


class ItemText(JsonText):
    """A JSON file of items: none is larger than a map takes, and no number is too large to be written again."""

    # Escapes make a text up to three times as long as it is in UTF-8, but for control characters.
    largest: int = 3 * MAX_ITEM_BYTES
    raw_decode = staticmethod(_finite_decode)
