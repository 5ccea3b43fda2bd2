"""Worker of the stack ContentLength: how many bytes an object has."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, TypedDict, final

import boto3

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@final
class ObjectName(TypedDict):
    """An item: an object in S3."""

    bucket: str
    key: str


@final
class Parameters(TypedDict):
    """An item that a listing or an inventory gives: where the item itself is, as JSON."""

    parameters: ObjectName


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items
def handler(item: ObjectName | Parameters) -> int:
    """Return the length of the object that the item names."""
    named = read(item["parameters"]) if "parameters" in item else item
    return s3().head_object(Bucket=named["bucket"], Key=named["key"])["ContentLength"]


def read(place: ObjectName) -> ObjectName:
    """Return the item that an object holds."""
    item: ObjectName = json.load(s3().get_object(Bucket=place["bucket"], Key=place["key"])["Body"])
    return item
