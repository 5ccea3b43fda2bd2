"""Bytes of S3 objects, streamed and decompressed."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, Final, cast

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local._errors import ITEM_READER, StateError, UnsupportedError
from distmap import limits

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_BUFFER: Final = 256 * 1024


def failed(cause: str) -> StateError:
    """Return ``States.ItemReaderFailed``."""
    return StateError(ITEM_READER, cause)


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
            raise failed(f"The object can't be read to its end: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._body.close()
        super().close()


def open_object(client: Any, place: dict[str, str], decrypts: Callable[[str | None], str | None]) -> IO[bytes]:
    """Return an object's content, decompressed where it is gzip or zstd.

    Args:
        client: S3 client.
        place: Parameters of GetObject.
        decrypts: Returns None where the KMS key that it is given may be used, else why not.

    Raises:
        StateError: ``States.ItemReaderFailed``: it can't be read.
    """
    try:
        answer = client.get_object(**place)
    except (ClientError, BotoCoreError) as error:
        raise failed(_cause(error, place)) from error
    refused = decrypts(answer.get("SSEKMSKeyId"))
    if refused is not None:
        answer["Body"].close()
        raise failed(refused)
    if answer["ContentLength"] > limits.MAX_ITEM_FILE_BYTES:
        raise failed(f"The object {place['Key']} has {answer['ContentLength']} bytes, more than the maximum of 10 GB.")
    buffered = io.BufferedReader(_Body(answer["Body"]), _BUFFER)
    start = buffered.peek(4)[:4]
    if start.startswith(_GZIP):
        return io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=buffered)), _BUFFER)
    if start == _ZSTD:
        return io.BufferedReader(cast("Any", _zstd(buffered)), _BUFFER)
    return buffered


def _zstd(stream: BinaryIO) -> Any:
    try:
        import zstandard  # noqa: PLC0415 - an extra that only zstd files need
    except ImportError as error:
        raise UnsupportedError("the item file is zstd: pip install 'cdk-distributed-map[local]'") from error
    return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)


def _cause(error: Exception, place: dict[str, str]) -> str:
    if isinstance(error, ClientError):
        meta = error.response.get("ResponseMetadata", {})
        message = error.response.get("Error", {}).get("Message", "")
        return (
            f"Attempted to read the object {place.get('Key')} of the bucket {place['Bucket']} but got: {message} "
            f"(Service: S3, Status Code: {meta.get('HTTPStatusCode')}, Request ID: {meta.get('RequestId')})"
        )
    return str(error)


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
        StateError: ``States.ItemReaderFailed``: it can't be listed.
    """
    try:
        for page in client.get_paginator("list_objects_v2").paginate(**place):
            yield page.get("Contents", [])
    except (ClientError, BotoCoreError) as error:
        raise failed(_cause(error, place)) from error
