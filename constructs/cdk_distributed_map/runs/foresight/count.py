"""How many items a source has and how large they are, and the first of them: read where they are, before a run."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal

from cdk_distributed_map import arns
from cdk_distributed_map.plan import Fact
from cdk_distributed_map.runs.aws.sessions import Aws
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files.item_formats import CsvDialect
from cdk_distributed_map.runs.foresight.listing import Entry, Listing, Page, estimate
from cdk_distributed_map.runs.foresight.objects import opened, page_of, text_of
from cdk_distributed_map.runs.foresight.rows import Opened, count_rows, first_rows
from cdk_distributed_map.runs.foresight.source import (
    ArraySource,
    FileFormat,
    FileSource,
    ListingSource,
    LocalFile,
    RangesSource,
    Source,
)
from cdk_distributed_map.runs.notices import ProgressNotice
from distmap._errors import CaptureLimitError, EventError
from distmap._json import encode
from distmap._listing import filter_of, item_of
from distmap._ranges import RangesSource as Ranges

_FILES: Final = 5
"""Files that are read of many: the others are taken to have as many items a byte."""
_FEW: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The items of a source."""

    items: int
    item_bytes: float | None
    exact: bool

    def facts(self) -> dict[str, Fact]:
        """Return what a plan takes of it."""
        origin: Literal["counted", "sampled"] = "counted" if self.exact else "sampled"
        facts = {"items": Fact(self.items, origin)}
        if self.item_bytes is not None:
            facts["item_bytes"] = Fact(self.item_bytes, origin)
        return facts


def count(aws: Aws, source: Source) -> Counted:
    """Return how many items a source has, and how large one is.

    Files of up to 64 MiB and listings of up to 20,000 objects are counted, larger ones sampled.

    Raises:
        InputError: It can't be read.
        AwsError: AWS refused a call.
    """
    match source:
        case RangesSource(settings=settings):
            ranges = _ranges(settings)
            return Counted(items=ranges.items, item_bytes=_mean(first_items(aws, source, _FEW)), exact=True)
        case ArraySource(items=each):
            return Counted(items=len(each), item_bytes=_mean([encode(item, what="item") for item in each]), exact=True)
        case ListingSource(loaded=None):
            return _count_objects(aws, source)
        case _:
            return _count_files(_files(aws, source))


def first_items(aws: Aws, source: Source, number: int) -> list[bytes]:
    """Return the first items of a source as JSON texts, as a map gets them.

    Raises:
        InputError: It can't be read.
        AwsError: AWS refused a call.
    """
    match source:
        case RangesSource(settings=settings):
            blocks = (block for block, _, _ in _ranges(settings).blocks(None))
            return list(islice((line for block in blocks for line in block.splitlines()), number))
        case ArraySource(items=each):
            return [encode(item, what="item") for item in each[:number]]
        case ListingSource(loaded=None):
            return list(islice(_objects(aws, source), number))
        case _:
            rows: list[bytes] = []
            for file in _files(aws, source).files:
                if len(rows) < number:
                    rows += first_rows(file.opened, file.format, number - len(rows))
            return rows


# -- objects of a listing


def _count_objects(aws: Aws, source: ListingSource) -> Counted:
    listings = [_listing(aws, source.bucket, prefix) for prefix in source.prefixes]
    wanted = _wanted(source)
    objects, items, texts = 0, 0.0, []
    for listing in listings:
        some = [_object(entry, source) for entry in listing.some if wanted(entry)]
        objects += listing.objects
        items += listing.objects * len(some) / max(1, len(listing.some))
        texts += some
    return Counted(items=round(items), item_bytes=_mean(texts), exact=all(listing.exact for listing in listings))


def _objects(aws: Aws, source: ListingSource) -> Iterator[bytes]:
    wanted = _wanted(source)
    for prefix in source.prefixes:
        after, truncated = "", True
        while truncated:
            entries, truncated = page_of(aws, source.bucket, prefix, after)
            yield from (_object(entry, source) for entry in entries if wanted(entry))
            after = entries[-1].key if entries else ""


def _wanted(source: ListingSource) -> Any:
    if source.capture is None:
        return lambda _: True
    try:
        is_wanted = filter_of(dict(source.capture), datetime.now(UTC))
    except EventError as error:
        raise InputError(str(error)) from error
    return lambda entry: is_wanted(entry.described)


def _object(entry: Entry, source: ListingSource) -> bytes:
    """Return an object as an item: as Step Functions lists it, or as the capture function does."""
    described = entry.described
    if source.capture is not None:
        return encode(item_of(source.bucket, described), what="object")
    return encode(
        {
            "Etag": described["ETag"],
            "Key": entry.key,
            "LastModified": described["LastModified"].timestamp(),
            "Size": entry.size,
            "StorageClass": described.get("StorageClass", "STANDARD"),
        },
        what="object",
    )


def _listing(aws: Aws, bucket: str, prefix: str) -> Listing:
    notices = ProgressNotice(aws.notice, lambda done: f"counting s3://{bucket}/{prefix}: {done:,} objects seen")

    def page(prefix: str, after: str) -> Page:
        listed = page_of(aws, bucket, prefix, after)
        notices(len(listed.entries))
        return listed

    return estimate(page, prefix)


# -- files of items


@dataclass(frozen=True, kw_only=True)
class _File:
    opened: Opened
    format: FileFormat


@dataclass(frozen=True, kw_only=True)
class _Files:
    files: Sequence[_File]
    """All of them, or those that a listing was seen to have."""
    bytes: int
    """Of all."""


def _count_files(files_found: _Files) -> Counted:
    files = sorted((each for each in files_found.files if each.opened.size), key=lambda each: each.opened.size)
    if not files:
        return Counted(items=0, item_bytes=None, exact=True)
    step = max(1.0, (len(files) - 1) / (_FILES - 1))
    chosen = files if len(files) <= _FILES else [files[round(at * step)] for at in range(_FILES)]
    rows = [count_rows(each.opened, each.format) for each in chosen]
    number = math.fsum(each.number for each in rows)
    text = math.fsum(each.bytes for each in rows)
    share = files_found.bytes / sum(each.opened.size for each in chosen)
    is_whole = sum(each.opened.size for each in chosen) == files_found.bytes
    return Counted(
        items=round(number * share),
        item_bytes=text / number if number else None,
        exact=is_whole and all(each.exact for each in rows),
    )


def _files(aws: Aws, source: Source) -> _Files:
    match source:
        case LocalFile(path=path, format=how):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise InputError(f"the items can't be read from {path}: {error.strerror}") from error
            here = Opened(name=str(path), size=size, stream=lambda: path.open("rb"), anywhere=lambda: path.open("rb"))
            files, whole = [_File(opened=here, format=how)], size
        case FileSource(manifest=None):
            files = [_File(opened=opened(aws, source.bucket, source.key), format=source.format)]
            whole = files[0].opened.size
        case FileSource(manifest="ATHENA_DATA"):
            files = [_File(opened=opened(aws, *place), format=source.format) for place in _athena_files(aws, source)]
            whole = sum(each.opened.size for each in files)
        case FileSource():
            files = _inventory_files(aws, source)
            whole = sum(each.opened.size for each in files)
        case ListingSource(loaded=FileFormat() as how):
            listings = [(_listing(aws, source.bucket, prefix)) for prefix in source.prefixes]
            seen = [entry for each in listings for entry in each.some]
            files = [_File(opened=opened(aws, source.bucket, each.key, size=each.size), format=how) for each in seen]
            whole = sum(each.bytes for each in listings)
        case _:
            raise AssertionError(source)
    return _Files(files=files, bytes=whole)


def _athena_files(aws: Aws, source: FileSource) -> Iterator[tuple[str, str]]:
    for row in csv.reader(io.StringIO(text_of(aws, source.bucket, source.key).decode("utf-8", "replace"))):
        if row and row[0].startswith("s3://"):
            bucket, _, key = row[0].strip().removeprefix("s3://").partition("/")
            yield bucket, key


def _inventory_files(aws: Aws, source: FileSource) -> list[_File]:
    name = f"s3://{source.bucket}/{source.key}"
    try:
        manifest = json.loads(text_of(aws, source.bucket, source.key))
        target = str(manifest["destinationBucket"])
        parsed = arns.split(target)
        bucket = target if parsed is None else parsed.resource
        columns = tuple(each.strip() for each in manifest["fileSchema"].split(","))
        kind, sizes = manifest["fileFormat"], [(str(each["key"]), int(each["size"])) for each in manifest["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{name} is no manifest of an S3 Inventory: give the key of its manifest.json") from error
    if kind != "CSV":
        raise InputError(f"the inventory {name} is in {kind!r:.40}, and Step Functions reads those in CSV alone")
    how = FileFormat(kind="CSV", dialect=CsvDialect(columns=columns, strict=False))
    return [_File(opened=opened(aws, bucket, key, size=size), format=how) for key, size in sizes]


# -- items


def _ranges(settings: Mapping[str, Any]) -> Ranges:
    try:
        return Ranges(dict(settings))
    except (EventError, CaptureLimitError) as error:
        raise InputError(f"{error}: look at the run's input (--input)") from error


def _mean(texts: Sequence[bytes]) -> float | None:
    return sum(map(len, texts)) / len(texts) if texts else None
