"""Item files whose lines are envelopes: those of rounds, and of retries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from distmap._identity import identity_of
from distmap._records import UNREADABLE, error_message
from distmap._stream import is_missing, lines, object_chunks
from distmap.wire import Envelope, ItemFile

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_QUICK: Final = re.compile(rb'\{"index":(\d+),"value":')


def is_json_lines(file: ItemFile) -> bool:
    """Whether an item file has a line for each item, by its name."""
    return file["key"].endswith((".jsonl", ".ndjson"))


def envelopes(
    s3: S3Client, bucket: str, key: str, report: Callable[[str], None] | None, *, index_only: bool = False
) -> Iterator[Envelope]:
    """Yield the items of a file whose lines are envelopes.

    Args:
        s3: The client to read with.
        bucket: Where the file is.
        key: Likewise.
        report: Called with what is wrong with the file, which then ends there. By default it is not reported.
        index_only: Whether their values may be left out.
    """
    number = 0
    try:
        for line in lines(object_chunks(s3, bucket, key)):
            number += 1
            match = _QUICK.match(line) if index_only else None
            if match is not None:
                yield {"index": int(match[1]), "value": None}
                continue
            found = json.loads(line)
            identity_of(found)
            found["value"]
            yield found
    except UNREADABLE as error:
        if report is not None:
            report(
                f"line {number:,} of s3://{bucket}/{key} is no item of a round or a retry: {error_message(error)}, so "
                "what it ran isn't known"
            )
    except Exception as error:
        if not is_missing(error):
            raise
        if report is not None:
            report(f"s3://{bucket}/{key} is gone, so which items its round had isn't known")
