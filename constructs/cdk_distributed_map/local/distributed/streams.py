"""Bytes of S3 objects, streamed and decompressed."""

from __future__ import annotations

import gzip
import io
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local.distributed.reader_errors import failed
from cdk_distributed_map.local.errors import UnsupportedError
from distmap import limits

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BUFFER: Final = 256 * 1024
# Little, since a few bytes of zstd can stand for thousands of times as many.
_ZSTD_BYTES: Final = 16 * 1024


class _Body(io.RawIOBase):
    """boto3's streaming body as a raw stream that can be buffered."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        try:
            data = self._body.read(len(buffer))
        except BotoCoreError as error:
            raise failed("its connection broke off before its end") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._body.close()
        super().close()


def open_object(
    client: Any,
    place: dict[str, str],
    decrypts: Callable[[str | None], str | None],
    translate: Callable[[ClientError], ClientError],
) -> IO[bytes]:
    """Return an object's content, decompressed where it is gzip or zstd.

    Args:
        client: S3 client.
        place: Parameters of GetObject.
        decrypts: Returns None where the KMS key that it is given may be used, else why not.
        translate: Returns an error of S3 as the state machine's role is told it.

    Raises:
        ReaderError: It can't be read.
    """
    try:
        answer = client.get_object(**place)
    except ClientError as error:
        raise failed(_cause(translate(error))) from error
    except BotoCoreError as error:
        raise failed(_cause(error)) from error
    refused = decrypts(answer.get("SSEKMSKeyId"))
    if refused is not None:
        answer["Body"].close()
        raise failed(refused)
    if answer["ContentLength"] > limits.MAX_ITEM_FILE_BYTES:
        raise failed(f"it has {answer['ContentLength']} bytes, more than the maximum of 10 GB")
    buffered = io.BufferedReader(_Body(answer["Body"]), _BUFFER)
    start = buffered.peek(4)[:4]
    if start.startswith(_GZIP):
        return io.BufferedReader(_Gunzipped(buffered), _BUFFER)
    if start == _ZSTD:
        return io.BufferedReader(_Unzstd(buffered), _BUFFER)
    return buffered


class _Gunzipped(io.RawIOBase):
    """A gzip stream, whose errors are the reader's."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._file = gzip.GzipFile(fileobj=source)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        try:
            data = self._file.read1(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            broken = "is cut off" if isinstance(error, EOFError) else "is damaged"
            raise failed(f"its gzip compression {broken}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._source.close()
        super().close()


class _Unzstd(io.RawIOBase):
    """A zstd stream; zstandard's own reader takes one that breaks off for one that ends."""

    def __init__(self, source: IO[bytes]) -> None:
        try:
            import zstandard  # noqa: PLC0415 - an extra that only zstd files need
        except ImportError as error:
            raise UnsupportedError("the item file is zstd: pip install 'cdk-distributed-map[local]'") from error
        self._source = source
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._compressed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        while not self._plain:
            data = self._compressed or self._source.read(_ZSTD_BYTES)
            self._compressed = b""
            if not data:
                if self._frame is not None:
                    raise failed("its zstd compression is cut off")
                return 0
            self._plain = memoryview(self._decompressed(data))
        length = min(len(buffer), len(self._plain))
        buffer[:length] = self._plain[:length]
        self._plain = self._plain[length:]
        return length

    def _decompressed(self, data: bytes) -> bytes:
        if self._frame is None:
            self._frame = self._new()
        try:
            plain: bytes = self._frame.decompress(data)
        except self._error as error:
            raise failed("its zstd compression is damaged") from error
        if self._frame.eof:
            self._compressed = self._frame.unused_data
            self._frame = None
        return plain

    def close(self) -> None:
        """Close the connection."""
        self._source.close()
        super().close()


def _cause(error: Exception) -> str:
    if isinstance(error, ClientError):
        meta = error.response.get("ResponseMetadata", {})
        message = error.response.get("Error", {}).get("Message", "")
        return (
            f"{message} (Service: S3, Status Code: {meta.get('HTTPStatusCode')}, Request ID: {meta.get('RequestId')})"
        )
    return " ".join(str(error).split())


def downloaded(stream: IO[bytes], folder: str | None) -> BinaryIO:
    """Return a stream as a temporary file, for formats that are read from their end."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the caller reads and closes it
    while data := stream.read(_BUFFER):
        file.write(data)
    file.seek(0)
    return cast("BinaryIO", file)


def listed(client: Any, place: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Return the pages of a listing, in S3's order.

    Raises:
        ReaderError: It can't be listed.
    """
    try:
        for page in client.get_paginator("list_objects_v2").paginate(**place):
            yield page.get("Contents", [])
    except (ClientError, BotoCoreError) as error:
        raise failed(_cause(error)) from error
