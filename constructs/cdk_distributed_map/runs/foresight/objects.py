"""Objects of S3 as files that are read from their beginning or anywhere, and pages of listings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from cdk_distributed_map.runs.aws.sessions import Aws, error_code, errors
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files.item_files import GONE
from cdk_distributed_map.runs.foresight.listing import Entry, Page
from cdk_distributed_map.runs.foresight.rows import Opened
from distmap._stream import object_chunks

_RANGE_BYTES: Final = 1 << 20


@contextmanager
def _reading(name: str) -> Iterator[None]:
    with errors(f"reading {name}"):
        try:
            yield
        except Exception as error:
            if error_code(error) not in GONE:
                raise
            raise InputError(f"there is no {name}: look at the name, and at --profile") from error


def page_of(aws: Aws, bucket: str, prefix: str, after: str) -> Page:
    """Return a page of a listing, from behind a key."""
    begin: Any = {"StartAfter": after} if after else {}
    with _reading(f"s3://{bucket}/{prefix}"):
        answer = aws.s3().list_objects_v2(Bucket=bucket, Prefix=prefix, **begin)
    entries = [Entry(each["Key"], each["Size"], each) for each in answer.get("Contents", [])]
    return Page(entries, answer.get("IsTruncated", False))


def text_of(aws: Aws, bucket: str, key: str) -> bytes:
    """Return an object's bytes."""
    with _reading(f"s3://{bucket}/{key}"):
        return b"".join(object_chunks(aws.s3(), bucket, key))


def opened(aws: Aws, bucket: str, key: str, *, size: int | None = None) -> Opened:
    """Return an object that can be read.

    Args:
        aws: Where it is.
        bucket: Its bucket.
        key: Its key.
        size: Its bytes. Default: S3 is asked.
    """
    name = f"s3://{bucket}/{key}"
    if size is None:
        with _reading(name):
            size = aws.s3().head_object(Bucket=bucket, Key=key)["ContentLength"]
    whole = size
    return Opened(
        name=name,
        size=whole,
        stream=lambda: cast("IO[bytes]", _Stream(aws, bucket, key)),
        anywhere=lambda: cast("IO[bytes]", io.BufferedReader(_Anywhere(aws, bucket, key, whole), _RANGE_BYTES)),
    )


class _Stream(io.RawIOBase):
    """An object of S3 from its beginning."""

    def __init__(self, aws: Aws, bucket: str, key: str) -> None:
        self._name = f"s3://{bucket}/{key}"
        self._chunks = object_chunks(aws.s3(), bucket, key)
        self._rest = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        if not self._rest:
            with _reading(self._name):
                self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._chunks.close()  # type: ignore[attr-defined] # a generator
        super().close()


class _Anywhere(io.RawIOBase):
    """An object of S3 that is read by ranges."""

    def __init__(self, aws: Aws, bucket: str, key: str, size: int) -> None:
        self._aws, self._bucket, self._key, self._size = aws, bucket, key, size
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        with _reading(f"s3://{self._bucket}/{self._key}"):
            answer = self._aws.s3().get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-{end - 1}")
            data = answer["Body"].read()
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
