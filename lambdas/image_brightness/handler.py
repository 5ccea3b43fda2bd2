"""Worker of the stack Images: size and mean brightness of a JPEG or PNG image, by Pillow."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Final, TypedDict

import boto3
from PIL import Image, ImageStat

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FORMATS: Final = ("JPEG", "PNG")
ENOUGH: Final = (256, 256)
"""A larger JPEG is decoded at a half, a quarter or an eighth of its size, but no smaller than this: the mean stays."""


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
    """From 0, black, to 1, white."""


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items(threads=4)
def handler(item: ListedImage) -> ImageFacts:
    """Return the facts of an image, which other formats than the two and cut files are not."""
    body = s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"].read()
    with Image.open(io.BytesIO(body), formats=FORMATS) as image:
        width, height = image.size
        image.draft("L", ENOUGH)
        brightness = ImageStat.Stat(image.convert("L")).mean[0] / 255
    return {"key": item["key"], "width": width, "height": height, "brightness": round(brightness, 4)}
