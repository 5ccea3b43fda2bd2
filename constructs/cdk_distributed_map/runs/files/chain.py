"""A run and its retries: one chain, found from the files alone.

The items of every retry are at ``runs/<first run>/retries/<retry>/items.jsonl``, whatever the retry is called and
whichever retry it follows. So the first run's folder lists them all, and a retry's input names the first run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cdk_distributed_map.runs.aws.sessions import error_code, errors
from cdk_distributed_map.runs.errors import ResultFilesError
from cdk_distributed_map.runs.files import item_files
from cdk_distributed_map.runs.find.handles import RunHandle
from cdk_distributed_map.runs.find.names import retry_number
from distmap._identity import ItemNumbers, identity_of
from distmap._records import UNREADABLE, error_message
from distmap._stream import lines, object_chunks
from distmap.wire import ITEMS_FILE, RETRIES_FOLDER

if TYPE_CHECKING:
    from cdk_distributed_map.runs.aws.descriptions import RunDescription


@dataclass(frozen=True, kw_only=True)
class Link:
    """A retry."""

    run: RunHandle
    key: str
    """Where its items are, in the payload bucket."""
    made: datetime


def retry_key(root: RunHandle, name: str) -> str:
    """Return where the items of a retry belong."""
    return f"{root.prefix}{RETRIES_FOLDER}/{name}/{ITEMS_FILE}"


def root_of(run: RunHandle) -> RunHandle:
    """Return the first run of a chain, as a snapshot; the run itself where it is no retry."""
    run = run.snapshot()
    runs = run.pipeline.definition.item_file.runs_prefix
    described = run.describe_if_known()
    if described is None:
        return _root_by_name(run)
    run_input = described.input
    items = run_input.get("items") if isinstance(run_input, dict) else None
    key = items.get("key") if isinstance(items, dict) else None
    if isinstance(key, str) and key.startswith(runs):
        parts = key.removeprefix(runs).split("/")
        if len(parts) == 4 and parts[1:] == [RETRIES_FOLDER, run.name, ITEMS_FILE]:
            return RunHandle(run.pipeline, parts[0]).snapshot()
    return run


def _root_by_name(run: RunHandle) -> RunHandle:
    """Return the first run by the name alone: AWS has forgotten the retry's input."""
    number = retry_number(run.name)
    if number is None:
        return run
    root = RunHandle(run.pipeline, run.name.removesuffix(f"-retry-{number}")).snapshot()
    return root if any(link.run.name == run.name for link in links_of(root)) else run


def links_of(root: RunHandle) -> list[Link]:
    """Return the retries of a run, as snapshots, in the order they were made."""
    bucket, prefix = root.pipeline.definition.item_file.bucket, f"{root.prefix}{RETRIES_FOLDER}/"
    links: list[Link] = []
    with errors(f"listing the retries of {root.name!r}"):
        for page in root.aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                name, _, file = entry["Key"].removeprefix(prefix).partition("/")
                if file == ITEMS_FILE:
                    retry = RunHandle(root.pipeline, name).snapshot()
                    links.append(Link(run=retry, key=entry["Key"], made=entry["LastModified"]))
    return sorted(links, key=lambda link: (link.made, retry_number(link.run.name) or 0, link.run.name))


def lines_of(link: Link) -> Iterator[bytes]:
    """Yield the lines of a retry's item file."""
    bucket = link.run.pipeline.definition.item_file.bucket
    with errors(f"reading s3://{bucket}/{link.key}"):
        yield from lines(object_chunks(link.run.aws.s3(), bucket, link.key))


def indexes_of(link: Link, numbers: ItemNumbers) -> Iterator[int]:
    """Yield the indexes, or the numbers, of the items that a retry tries again.

    Raises:
        ResultFilesError: The file isn't as a retry writes it.
    """
    for number, line in enumerate(lines_of(link), start=1):
        try:
            yield numbers.number(*identity_of(json.loads(line)))
        except UNREADABLE as error:
            bucket = link.run.pipeline.definition.item_file.bucket
            raise ResultFilesError(
                f"line {number:,} of s3://{bucket}/{link.key} is no item of a retry: {error_message(error)}. The file "
                "has been changed, so what the retry ran isn't known; an older version of it may be left, where the "
                "bucket keeps versions"
            ) from error


@dataclass(frozen=True, kw_only=True)
class ItemFileLocation:
    """The file of items of a run."""

    bucket: str
    key: str
    count: int | None = None
    """How many items the run itself says it has; None where it doesn't."""
    sha256: str | None = None
    """Its checksum, likewise."""


def item_file_of(run: RunHandle, described: RunDescription | None) -> ItemFileLocation | None:
    """Return where the file of items of a run is; None where its map reads something else."""
    for place in (getattr(described, "output", None), getattr(described, "input", None)):
        items: Any = place.get("items") if isinstance(place, dict) else None
        if isinstance(items, dict) and isinstance(items.get("key"), str):
            count, sha256 = items.get("count"), items.get("sha256")
            return ItemFileLocation(
                bucket=items.get("bucket", run.pipeline.definition.item_file.bucket),
                key=items["key"],
                count=count if type(count) is int and count >= 0 else None,
                sha256=sha256 if isinstance(sha256, str) else None,
            )
    key, bucket = f"{run.prefix}{ITEMS_FILE}", run.pipeline.definition.item_file.bucket
    with errors(f"looking for s3://{bucket}/{key}"):
        try:
            run.aws.s3().head_object(Bucket=bucket, Key=key)
        except Exception as error:
            if error_code(error) in item_files.GONE:
                return None
            raise
    return ItemFileLocation(bucket=bucket, key=key)


def count_items(run: RunHandle, described: RunDescription | None) -> int | None:
    """Return how many items are in the file of items of a run; None where there is no such file, or not any more."""
    file = item_file_of(run, described)
    if file is None or file.count is not None:
        return None if file is None else file.count
    if run.pipeline.definition.item_file.input_type != "JSONL":
        return None
    return item_files.count_lines(run.aws, bucket=file.bucket, key=file.key)


def has_items(run: RunHandle, described: RunDescription | None) -> bool:
    """Tell whether a run was given any item, from as little as tells it: no file is read beyond its first item."""
    file = item_file_of(run, described)
    if file is not None and file.count is not None:
        return file.count > 0
    if file is not None and run.pipeline.definition.item_file.input_type == "JSONL":
        return item_files.has_lines(run.aws, bucket=file.bucket, key=file.key)
    if described is None or not described.ended:
        return True
    maps = run.own_map_runs()
    return not maps or any(map_run.items.total for map_run in maps)
