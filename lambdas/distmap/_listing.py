"""The built-in capture of an S3 listing: the objects under one or many prefixes, filtered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from distmap._clients import s3_client
from distmap._errors import EventError
from distmap._json import encode
from distmap._ordered import read_in_order
from distmap.limits import MAX_AGE_SECONDS, MAX_EXACT_INTEGER
from distmap.wire import DATE_TIME, date_time

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

THREADS: Final = 8
"""Prefixes that are listed at a time: S3 answers one page of 1,000 keys in about a tenth of a second."""

_PAGES_AHEAD: Final = 4

Block = tuple[bytes, int, Any]


class ListingSource:
    """The objects of a bucket, prefix by prefix, in S3's order within each (UTF-8 bytes of the key)."""

    def __init__(self, settings: dict[str, Any], state: dict[str, Any] | None) -> None:
        """Check the settings.

        Args:
            settings: Of the shape :class:`distmap.wire.ListingCapture`.
            state: What :meth:`state` returned in an earlier invocation of this capture. None begins one: ages count
                from now.

        Raises:
            EventError: A setting has the wrong type, or no object could ever match.
        """
        self._bucket = _text(settings, "bucket")
        if self._bucket.endswith("--x-s3"):
            message = (
                f"bucket {self._bucket} is a directory bucket, which lists in no order; list a general purpose one"
            )
            raise EventError(message)
        self._prefixes = settings.get("prefixes")
        if not isinstance(self._prefixes, list) or not all(isinstance(prefix, str) for prefix in self._prefixes):
            message = f"prefixes must be a list of texts, got {self._prefixes!r:.200}"
            raise EventError(message)
        self._started = datetime.now(UTC) if state is None else datetime.fromisoformat(state["started"])
        self._is_wanted = filter_of(settings, self._started)

    def state(self) -> dict[str, Any]:
        """Return what another invocation needs beside the position: when the capture began."""
        return {"started": self._started.isoformat()}

    def blocks(self, position: Any) -> Iterator[Block]:
        """Yield the items page by page, several prefixes being listed at a time.

        Args:
            position: Where to begin: the position that came with a block. None begins at the start.

        Yields:
            The text of a page's items (maybe none), their number, and the position after it.
        """
        first, after = (0, None) if position is None else position
        sources = [
            partial(self._pages, number, prefix, after if number == first else None)
            for number, prefix in enumerate(self._prefixes or [])
            if number >= first
        ]
        return read_in_order(sources, threads=THREADS, ahead=_PAGES_AHEAD)

    def _pages(self, number: int, prefix: str, after: str | None) -> Iterator[Block]:
        start: dict[str, str] = {} if after is None else {"StartAfter": after}
        pages = s3_client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **start)  # type: ignore[arg-type]
        for page in pages:
            contents = page.get("Contents", [])
            after = contents[-1]["Key"] if contents else after
            yield self._block(page, [number, after] if page.get("IsTruncated") else [number + 1, None])

    def _block(self, page: ListObjectsV2OutputTypeDef, position: list[Any]) -> Block:
        lines = [
            encode(item_of(self._bucket, entry), what="object")
            for entry in page.get("Contents", [])
            if self._is_wanted(entry)
        ]
        return b"".join([line + b"\n" for line in lines]), len(lines), position


def item_of(bucket: str, entry: ObjectTypeDef) -> dict[str, Any]:
    """Return the item that an object of a listing becomes."""
    return {
        "bucket": bucket,
        "key": entry["Key"],
        "size": entry["Size"],
        "etag": entry["ETag"].strip('"'),
        "lastModified": entry["LastModified"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def filter_of(settings: dict[str, Any], started: datetime) -> Callable[[ObjectTypeDef], bool]:
    """Return what says of an object whether it is an item."""
    suffix = settings.get("suffix")
    if not (suffix is None or isinstance(suffix, str)):
        message = f"suffix must be a text, got {suffix!r:.200}"
        raise EventError(message)
    least = _count(settings, "minBytes") or 0
    most = _count(settings, "maxBytes")
    if most is not None and least > most:
        message = f"minBytes {least:,} is over maxBytes {most:,}: no object could match"
        raise EventError(message)
    min_age, max_age = (_count(settings, name, most=MAX_AGE_SECONDS) for name in ("minAgeSeconds", "maxAgeSeconds"))
    since = _latest(_time(settings, "modifiedAfter"), _before(started, max_age))
    until = _time(settings, "modifiedBefore")
    old_enough = _before(started, min_age)
    ends = [moment for moment in (until, old_enough) if moment is not None]
    if since is not None and ends and since > min(ends):
        message = f"objects would have to be modified after {since.isoformat()} and before {min(ends).isoformat()}"
        raise EventError(message)

    def is_wanted(entry: ObjectTypeDef) -> bool:
        size, modified = entry["Size"], entry["LastModified"]
        return (
            size >= least
            and (most is None or size <= most)
            and (suffix is None or entry["Key"].endswith(suffix))
            and (since is None or modified >= since)
            and (until is None or modified < until)
            and (old_enough is None or modified <= old_enough)
        )

    return is_wanted


def _before(started: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else started - timedelta(seconds=seconds)


def _latest(*moments: datetime | None) -> datetime | None:
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None


def _text(settings: dict[str, Any], name: str) -> str:
    value = settings.get(name)
    if not isinstance(value, str) or not value:
        message = f"{name} must be a text that isn't empty, got {value!r:.200}"
        raise EventError(message)
    return value


def _count(settings: dict[str, Any], name: str, *, most: float = MAX_EXACT_INTEGER) -> float | None:
    value = settings.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= most:
        message = f"{name} must be a number from 0 to {most:,}, got {value!r:.200}"
        raise EventError(message)
    return value  # type: ignore[no-any-return] # just checked


def _time(settings: dict[str, Any], name: str) -> datetime | None:
    value = settings.get(name)
    if value is None:
        return None
    moment = date_time(value)
    if moment is None:
        message = f"{name} must be {DATE_TIME}, got {value!r:.100}"
        raise EventError(message)
    return moment
