"""Worker of the stack ContentLength: how many bytes an object has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypedDict

import boto3

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ObjectName(TypedDict):
    """An item: an object in S3."""

    Bucket: str
    Key: str


class ObjectLength(TypedDict):
    """A result."""

    ContentLength: int


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items
def handler(item: ObjectName) -> ObjectLength:
    """Return the length of the object that the item names."""
    return {"ContentLength": s3().head_object(Bucket=item["Bucket"], Key=item["Key"])["ContentLength"]}
