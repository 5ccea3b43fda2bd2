"""Worker of the stack SumOfSquares: the sum of the squares of the integers in a file, one on a line."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypedDict

import boto3

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ListedObject(TypedDict):
    """An item: an object that capture listed, or that the execution's input names."""

    bucket: str
    """Its name or its ARN."""
    key: str


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


# Reading from S3 is waiting: eight files at a time inside one invocation.
@process_items(threads=8)
def handler(item: ListedObject) -> int:
    """Return the sum for the file that the item names.

    Raises:
        ValueError: A line isn't an integer; the item fails, the others of its batch go on.
    """
    total = 0
    body = s3().get_object(Bucket=item["bucket"].rpartition(":::")[2], Key=item["key"])["Body"]
    for at, line in enumerate(body.iter_lines(), start=1):
        if not line.strip():
            continue
        try:
            number = int(line)
        except ValueError:
            raise ValueError(f"line {at} of {item['key']} is not an integer: {line[:40]!r}") from None
        total += number * number
    return total
