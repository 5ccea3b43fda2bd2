"""The runs that a retry goes on with: an answer over its results is to cover them too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distmap._ledger_file import read_ledger
from distmap.wire import ITEMS_FILE, RETRIES_FOLDER, RUNS_FOLDER, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_KEY: Final = re.compile(
    rf"(?P<runs>(?:.*/)?{RUNS_FOLDER}/)(?P<first>[^/]+)/{RETRIES_FOLDER}/(?P<retry>[^/]+)/{ITEMS_FILE}", re.DOTALL
)
_NUMBER: Final = re.compile(r"-retry-(\d+)\Z")


class EarlierRun(NamedTuple):
    """A run of a chain before its last one."""

    prefix: str
    """Where its files begin, without a slash at the end."""
    items: str | None
    """Key of the file of its items in the payload bucket; None for the first run, and where items have no index."""


class Chain(NamedTuple):
    """The runs before a retry."""

    earlier: list[EarlierRun]
    """The latest first, the first run last."""
    items: str | None
    """Key of the file of the retry's own items, as of the others."""
    captured: int | None
    """How many items the first run had; None where its account doesn't tell."""


def chain_of(s3: S3Client, run: Run, items: Any) -> Chain | None:
    """Return the runs before a retry; None where a run is no retry.

    Args:
        s3: The client to read with.
        run: The run.
        items: Its file of items, as its input names it. That of a retry is in the folder of the first run.
    """
    key = items.get("key") if isinstance(items, dict) else None
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    if found is None or items.get("bucket", run["bucket"]) != run["bucket"] or run["path"]:
        return None
    if found["retry"] != run["name"] or f"{found['runs']}{run['name']}" != run["prefix"]:
        return None  # a file of another run's, as somebody may start one on by hand
    indexed = items.get("enveloped") is True
    folder = f"{found['runs']}{found['first']}/{RETRIES_FOLDER}/"
    before = []
    for name in _retries(s3, run["bucket"], folder):
        if name == run["name"]:
            break
        items_key = f"{folder}{name}/{ITEMS_FILE}" if indexed else None
        before.append(EarlierRun(f"{found['runs']}{name}", items_key))
    first: Run = {**run, "name": found["first"], "prefix": f"{found['runs']}{found['first']}"}
    ledger = read_ledger(s3, first)
    captured = None if ledger is None or ledger.get("capturedFrom") == "unknown" else ledger.get("captured")
    return Chain(
        [*reversed(before), EarlierRun(first["prefix"], None)],
        key if indexed else None,
        captured if type(captured) is int else None,
    )


def _retries(s3: S3Client, bucket: str, folder: str) -> list[str]:
    """Return the retries of a run in the order they were made."""
    made = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder):
        for each in page.get("Contents", []):
            name, _, file = each["Key"].removeprefix(folder).partition("/")
            if file == ITEMS_FILE:
                number = _NUMBER.search(name)
                made.append((each["LastModified"], 0 if number is None else int(number[1]), name))
    return [name for _, _, name in sorted(made)]
