"""Worker of the pipeline Checksums: reads objects many times larger than its memory, a piece at a time."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final, TypedDict

import boto3

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PIECE_BYTES: Final = 1024 * 1024


class ListedObject(TypedDict):
    """An item: an object that the map listed, with the bucket that the item selector adds."""

    bucket: str
    key: str


class Facts(TypedDict):
    """A result."""

    key: str
    bytes: int
    lines: int
    sha256: str


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items
def handler(item: ListedObject) -> Facts:
    """Return size, number of line ends and checksum of an object."""
    digest, size, lines = hashlib.sha256(), 0, 0
    for piece in s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"].iter_chunks(PIECE_BYTES):
        digest.update(piece)
        size, lines = size + len(piece), lines + piece.count(b"\n")
    return {"key": item["key"], "bytes": size, "lines": lines, "sha256": digest.hexdigest()}
