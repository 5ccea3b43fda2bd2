"""Every result of a map run, streamed from the files that Step Functions exported.

Files are read one after the other and records one by one, so memory depends neither on how many results there are
nor on how large a file is. What is kept is a bit for each index, to drop duplicates (Express children run at least
once; a redriven child is in two exports), and a bounded number of failures, because another record may still say
that the item succeeded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

from distmap import _records
from distmap._deadline import Deadline
from distmap._errors import DeadlineError, ResultsError
from distmap._indexes import IndexSet
from distmap._json import decode, encode
from distmap._records import UNREADABLE, Result, Status, Told, Unsuccessful, words
from distmap._spill import is_spilled, read_spilled, resolve
from distmap._stream import array_elements, lines, member_elements, object_chunks
from distmap.wire import MANIFEST_FILE, Manifest, ResultsPlace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_REDRIVE: Final = re.compile(r"/Redrive-(\d+)/$")

_WAITING_BYTES: Final = 8 * 1024**2
"""Failures that wait for the end of the successes. When they are more, the files are read a second time instead."""

_WAITING_OVERHEAD: Final = 600

_HELD_BYTES: Final = 4 * 1024**2
"""A spilled answer up to this size is parsed at once; a larger one is streamed."""

_Kind = Literal["SUCCEEDED", "FAILED", "PENDING"]
_UNSUCCESSFUL: Final[tuple[_Kind, ...]] = ("FAILED", "PENDING")
_File = tuple[str, str]


class Results:
    """Every item's result of one map run, each index once. Iterate over it, as often as you like.

    Results come in no particular order. Of two records about one item, a success counts more than a failure or no
    attempt; of two failures, that of the latest redrive.

    Attributes:
        place: Where the manifest is.
        counts: Results of the last iteration by status.
        duplicates: Results that the last iteration dropped because their index had come before.
    """

    def __init__(self, s3: S3Client, place: ResultsPlace | None, *, deadline: Deadline | None = None) -> None:
        """Look at no file yet.

        Args:
            s3: The client to read with.
            place: Where the map's manifest is: the one of the first attempt, or of a redrive. None where no map ran,
                because there was no item: there are no results then.
            deadline: When reading must stop. By default never.
        """
        self.place = place
        self.duplicates = 0
        self.counts: dict[Status, int] = {"SUCCEEDED": 0, "FAILED": 0, "UNPROCESSED": 0}
        self._s3 = s3
        self._deadline = deadline

    def __iter__(self) -> Iterator[Result]:
        """Yield each item's result.

        Raises:
            ResultsError: A manifest is missing, or a file isn't what Step Functions writes.
            SpillError: A spilled answer is not what its reference says.
            DeadlineError: The deadline came near.
        """
        self.duplicates = 0
        self.counts = {"SUCCEEDED": 0, "FAILED": 0, "UNPROCESSED": 0}
        manifests = self.manifests()
        seen = IndexSet()
        succeeded = _files(manifests, "SUCCEEDED")
        waiting: list[Unsuccessful] | None = []
        waiting_bytes = 0
        for results, others in self._read(succeeded, "SUCCEEDED"):
            yield from self._fresh(results, seen)
            if others and waiting is not None:
                waiting += others
                waiting_bytes += sum(map(_size, others))
                if waiting_bytes > _WAITING_BYTES:
                    waiting = None
        if waiting is not None:
            yield from self._fresh(waiting, seen)
        else:
            for _, others in self._read(succeeded, "SUCCEEDED"):
                yield from self._fresh(others, seen)
        for kind in _UNSUCCESSFUL:
            for results, others in self._read(_files(manifests, kind), kind):
                yield from self._fresh(results, seen)
                yield from self._fresh(others, seen)

    def manifests(self) -> list[Manifest]:
        """Return the manifests of the map run, that of the latest redrive first.

        Raises:
            ResultsError: One is missing.
        """
        if self.place is None:
            return []
        bucket = self.place["bucket"]
        folder = self.place["key"].removesuffix(MANIFEST_FILE)
        folder = _REDRIVE.sub("/", folder)
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{folder}Redrive-", Delimiter="/"
        )
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        redrives = {int(match[1]): prefix for prefix in found if (match := _REDRIVE.search(prefix))}
        folders = [redrives[number] for number in sorted(redrives, reverse=True)]
        return [self._manifest(bucket, f"{each}{MANIFEST_FILE}") for each in [*folders, folder]]

    def _manifest(self, bucket: str, key: str) -> Manifest:
        where = f"s3://{bucket}/{key}"
        try:
            text = b"".join(object_chunks(self._s3, bucket, key)).decode()
        except self._s3.exceptions.NoSuchKey as error:
            message = (
                f"there is no manifest at {where}: Step Functions may still be exporting the results, which can end "
                "after the execution; try again in a minute"
            )
            raise ResultsError(message) from error
        try:
            manifest: Manifest = decode(text)
            _ = [manifest["ResultFiles"][kind] for kind in ("SUCCEEDED", "FAILED", "PENDING")]
            _ = manifest["DestinationBucket"]
        except (ValueError, KeyError, TypeError) as error:
            message = f"{where} is no manifest of a map run: {error!r}"
            raise ResultsError(message) from error
        return manifest

    def _fresh(self, results: Sequence[Result], seen: IndexSet) -> list[Result]:
        """Return the results whose index is new, all of one kind: successes, or not."""
        fresh = seen.fresh(results)
        self.duplicates += len(results) - len(fresh)
        if fresh and fresh[0].succeeded:
            self.counts["SUCCEEDED"] += len(fresh)
        else:
            for result in fresh:
                self.counts[result.status] += 1
        return fresh

    def _read(self, files: list[_File], kind: _Kind) -> Iterator[Told]:
        """Yield what every record of these files says, duplicates included."""
        for bucket, key in files:
            try:
                as_lines, values = _open(self._s3, bucket, key)
                for value in values:
                    yield from self._of_line(value, kind) if as_lines else self._of_value(value, kind)
                    if self._deadline is not None and self._deadline.is_near():
                        raise self._out_of_time(self._deadline)
            except UNREADABLE as error:
                message = f"s3://{bucket}/{key} is not a result file that can be read: {words(error)}"
                raise ResultsError(message) from error

    def _of_line(self, line: bytes, kind: _Kind) -> Iterable[Told]:
        text = _records.quick_output(line) if kind == "SUCCEEDED" else None
        if text is not None:
            output = decode(text)
            if _records.is_answer(output):
                return (_records.of_answer(output, lambda: _input_in(line)),)
        return self._of_value(decode(line.decode()), kind)

    def _of_value(self, value: Any, kind: _Kind) -> Iterable[Told]:
        if kind == "PENDING":
            return (_records.of_unsuccessful(value, "UNPROCESSED"),)
        if kind == "FAILED":
            return self._of_failed(value)
        output, given = value, None
        if _records.is_record(value):
            given = value.get("Input")
            if "Output" not in value:
                message = f"the output of {value['ExecutionArn']} was not exported"
                raise ResultsError(message)
            output = decode(value["Output"])
        return self._of_output(output, given)

    def _of_output(self, output: Any, given: str | None) -> Iterable[Told]:
        if is_spilled(output):
            if output["distmapSpilled"]["bytes"] > _HELD_BYTES:
                return _records.of_members(member_elements(read_spilled(output, self._s3)), lambda: given)
            output = resolve(output, s3=self._s3)
        if _records.is_answer(output):
            return (_records.of_answer(output, lambda: given),)
        return (_records.of_foreign_output(output, given),)

    def _of_failed(self, record: dict[str, Any]) -> Iterator[Told]:
        told: set[int | None] = set()
        batch = _records.failed_batch(record)
        if batch is not None:
            for results, others in self._of_output(batch, record.get("Input")):
                told.update(result.index for result in chain(results, others))
                yield results, others
            if None in told:  # bare items: the answer names every one of them, by position
                return
        yield _records.of_unsuccessful(record, "FAILED", told)

    def _out_of_time(self, deadline: Deadline) -> DeadlineError:
        message = (
            f"the function's deadline came near after {sum(self.counts.values()):,} results: {deadline.at_start:.0f} s "
            f"were left when it started and {deadline.reserve:.0f} s are kept for the answer; raise the function's "
            "timeout or its memory, which brings more CPU"
        )
        return DeadlineError(message)


def _files(manifests: list[Manifest], kind: _Kind) -> list[_File]:
    """Return where the files of a status are, those of the latest redrive first, each once."""
    files = [
        (manifest["DestinationBucket"], file["Key"]) for manifest in manifests for file in manifest["ResultFiles"][kind]
    ]
    return list(dict.fromkeys(files))


def _open(s3: S3Client, bucket: str, key: str) -> tuple[bool, Iterator[Any]]:
    """Return whether a result file has a value in each line, and its lines or else the elements of its array."""
    chunks = object_chunks(s3, bucket, key)
    if key.endswith(".jsonl"):
        return True, lines(chunks)
    first = next(chunks, b"")
    every = chain([first], chunks)
    return (False, array_elements(every)) if _is_array(first) else (True, lines(every))


def _is_array(first: bytes) -> bool:
    """Whether a file that begins so is one JSON array, and not one in each line (outputs that are arrays)."""
    start = first.lstrip()
    if not start.startswith(b"["):
        return False
    line, _, rest = start.partition(b"\n")
    if not rest.strip():
        return True
    try:
        decode(line.decode())
    except ValueError:
        return True
    return False


def _input_in(line: bytes) -> str | None:
    text: str | None = decode(line.decode()).get("Input")
    return text


def _size(result: Unsuccessful) -> int:
    """Return about how much memory a result takes."""
    item = len(encode(result.item, what="item")) if result.has_item else 0
    return _WAITING_OVERHEAD + len(result.cause or "") + 8 * item
