"""Worker of the stack Images: size and mean brightness of a PNG image."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypedDict

import boto3
import png

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ListedImage(TypedDict):
    """An item: an object that the map listed, with the bucket that the item selector adds."""

    bucket: str
    key: str


class ImageFacts(TypedDict):
    """A result."""

    key: str
    width: int
    height: int
    brightness: float


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items(threads=4)
def handler(item: ListedImage) -> ImageFacts:
    """Return the facts of an image, decoded row by row."""
    body = s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"]
    width, height, rows, info = png.Reader(bytes=body.read()).asRGB8()
    total = sum(sum(row) for row in rows)
    brightness = total / (width * height * info["planes"] * 255)
    return {"key": item["key"], "width": width, "height": height, "brightness": round(brightness, 4)}
