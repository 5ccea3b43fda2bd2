"""Worker of the recorded session: what an order comes to, from its file in S3."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items
def handler(item: dict[str, Any]) -> dict[str, Any]:
    """Return the sum of an order; a file that is cut off, or a line without a price, fails its item alone."""
    body = s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"].read()
    order = json.loads(body)
    return {"order": order["id"], "cents": sum(line["count"] * line["cents"] for line in order["lines"])}
