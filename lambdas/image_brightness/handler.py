"""Worker of the stack Images: size of a PNG or JPEG image, and the mean brightness of a PNG."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, TypedDict

import boto3
import png

from distmap import process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


JPEG: Final = b"\xff\xd8"
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; those taken out are of tables and extensions."""


class ListedImage(TypedDict):
    """An item: an object that the map listed, with the bucket that the item selector adds."""

    bucket: str
    key: str


class ImageFacts(TypedDict):
    """A result."""

    key: str
    width: int
    height: int
    brightness: float | None
    """None of a JPEG: its pixels take a decoder, which no library in pure Python is."""


def jpeg_size(image: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG from its frame header (https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.2.2).

    Raises:
        ValueError: There is none: the image is cut off or no JPEG.
    """
    at = len(JPEG)
    while image[at : at + 1] == b"\xff" and len(image) >= at + 9:
        marker = image[at + 1]
        if marker == 0xFF:  # any number of them may stand before a marker
            at += 1
        elif marker in FRAMES:
            return int.from_bytes(image[at + 7 : at + 9]), int.from_bytes(image[at + 5 : at + 7])
        else:
            at += 2 + int.from_bytes(image[at + 2 : at + 4])
    raise ValueError("the image has no JPEG frame header: it is cut off, or no JPEG")


@cache
def s3() -> S3Client:
    """Return the client, made once for each execution environment."""
    client: S3Client = boto3.client("s3")
    return client


@process_items(threads=4)
def handler(item: ListedImage) -> ImageFacts:
    """Return the facts of an image; a PNG is decoded row by row."""
    body = s3().get_object(Bucket=item["bucket"], Key=item["key"])["Body"].read()
    if body.startswith(JPEG):
        width, height = jpeg_size(body)
        return {"key": item["key"], "width": width, "height": height, "brightness": None}
    width, height, rows, info = png.Reader(bytes=body).asRGB8()
    total = sum(sum(row) for row in rows)
    brightness = total / (width * height * info["planes"] * 255)
    return {"key": item["key"], "width": width, "height": height, "brightness": round(brightness, 4)}
