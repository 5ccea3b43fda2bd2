"""What the ResultWriter of one map run exported: its manifests and the files that they name, checked against both.

A redrive writes a folder of its own, and leaves those before it as they are. The files of children that succeeded add
up over all of them; what failed or is still pending is in the newest manifest alone: a redrive tries all of that
again, and one that is refused exports it once more. See
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html and
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from distmap._errors import ResultsError
from distmap._json import decode
from distmap._records import UNREADABLE, error_message, is_record
from distmap._stream import CHUNK_BYTES, array_elements, is_missing, lines, object_chunks
from distmap.wire import (
    MANIFEST_FILE,
    NESTED_FOLDER,
    RESULTS_FOLDER,
    ROUNDS_FOLDER,
    RUNS_FOLDER,
    Manifest,
    ResultsPlace,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Kind = Literal["SUCCEEDED", "FAILED", "PENDING"]
KINDS: Final[tuple[Kind, ...]] = ("SUCCEEDED", "FAILED", "PENDING")

Report = Callable[[str], None]
"""Called with a message for each thing that doesn't fit."""

_REDRIVE: Final = re.compile(r"Redrive-(\d+)/")
_RESULT_FILE: Final = re.compile(rf"(?:Redrive-\d+/)?(?:{'|'.join(KINDS)})_\d+\.jsonl?")
_PLACE: Final = re.compile(
    rf"(?P<prefix>(?:.*?/)??{RUNS_FOLDER}/[^/]+)(?:/{NESTED_FOLDER}/[^/]+(?P<path>(?:/\d+)+))?"
    rf"(?:/{ROUNDS_FOLDER}/(?P<round>\d+))?/{RESULTS_FOLDER}/[^/]+/(?:Redrive-\d+/)?{MANIFEST_FILE}"
)


class NoManifestError(ResultsError):
    """There is no manifest yet, or none any more."""


class RunFolder(NamedTuple):
    """Where the files of a run are, as the inputs of its children say."""

    bucket: str
    """The payload bucket."""
    prefix: str
    """Where its files begin, without a slash at the end: ``runs/<execution name>``."""
    path: str = ""
    """Indexes of the items that the map run is nested in: empty for the outermost one, as in :class:`wire.Run`."""
    round: int = 0
    """Which round of the run it is: 0 for the map of its source."""


def folder_of(place: ResultsPlace) -> RunFolder | None:
    """Return whose results are at a place, by its key alone; None where no pipeline exports to such a key."""
    match = _PLACE.fullmatch(place["key"])
    return (
        None
        if match is None
        else RunFolder(place["bucket"], match["prefix"], match["path"] or "", int(match["round"] or 0))
    )


def manifests_below(s3: S3Client, bucket: str, folder: str) -> list[ResultsPlace]:
    """Return where the manifests of the map runs are that export below a folder, redrives aside.

    That of the latest map run comes first: a run may have several, each of which begins anew.

    Args:
        s3: The client to read with.
        bucket: The bucket of the results.
        folder: Where the folders of map runs are, with a slash at the end.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder, Delimiter="/")
    manifests = []
    for below in [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]:
        place: ResultsPlace = {"bucket": bucket, "key": f"{below}{MANIFEST_FILE}"}
        try:
            modified = s3.head_object(Bucket=bucket, Key=place["key"])["LastModified"]
        except Exception as error:
            if not is_missing(error):
                raise
        else:
            manifests.append((modified, place))
    return [place for _, place in sorted(manifests, key=lambda entry: entry[0], reverse=True)]


def results_folder(prefix: str, number: int) -> str:
    """Return where the map runs of a round of a run export, with a slash at the end; 0 is the map of the source."""
    return f"{round_folder(prefix, number)}{RESULTS_FOLDER}/"


def round_folder(prefix: str, number: int) -> str:
    """Return where the files of a round are, with a slash at the end; of round 0 where those of the run are."""
    return f"{prefix}/" if number == 0 else f"{prefix}/{ROUNDS_FOLDER}/{number}/"


def rounds_begun(s3: S3Client, results_bucket: str, prefix: str) -> list[int]:
    """Return the numbers of the rounds whose map has begun, in order."""
    folder = f"{prefix}/{ROUNDS_FOLDER}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=results_bucket, Prefix=folder, Delimiter="/")
    names = [each["Prefix"][len(folder) : -1] for page in pages for each in page.get("CommonPrefixes", [])]
    numbers = sorted(int(name) for name in names if name.isascii() and name.isdecimal())
    return [number for number in numbers if manifests_below(s3, results_bucket, results_folder(prefix, number))]


class File(NamedTuple):
    """A result file."""

    bucket: str
    key: str
    size: int
    """In bytes, as the manifest says."""
    kind: Kind
    earlier: bool = False
    """Whether a later redrive has tried again what is in it: then only single items in it can still count."""

    @property
    def where(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"


class Export:
    """What one map run exported.

    Attributes:
        place: Where a manifest of it is; None where no map ran.
    """

    def __init__(self, s3: S3Client, place: ResultsPlace | None) -> None:
        """Look at nothing yet.

        Args:
            s3: The client to read with.
            place: Where the manifest is: the one of the first attempt, or of a redrive.
        """
        self.place = place
        self._s3 = s3
        self._seen: tuple[dict[str, int], list[Manifest]] | None = None
        self._folder = "" if place is None else re.sub(r"(^|/)Redrive-\d+/$", r"\1", _parent(place["key"]))

    def manifests(self) -> list[Manifest]:
        """Return the manifests, that of the newest redrive first; :meth:`files` doesn't read them again then.

        Raises:
            ResultsError: One is missing, or is none of this map run.
        """
        if self.place is None:
            return []
        sizes = self._sizes()
        self._seen = sizes, self._manifests(self.place["bucket"], sizes)
        return self._seen[1]

    def files(self, report: Report | None = None, *, ended: bool = True) -> list[File]:
        """Return the files to read, in this order: successes, then the others, newest first in each.

        Args:
            report: Called with what doesn't fit among the files. Default: it is raised.
            ended: Whether nothing more is being exported, so that a file which no manifest names is a fault.

        Raises:
            ResultsError: A manifest is missing or none of this map run, or files don't fit.
        """
        if self.place is None:
            return []
        if self._seen is None:
            self.manifests()
        assert self._seen is not None  # noqa: S101 - narrows the type
        (sizes, manifests), self._seen = self._seen, None
        listed = _files(self.place["bucket"], manifests)
        problems = []
        if f"{self._folder}{MANIFEST_FILE}" in sizes:
            problems += [problem for file in listed if (problem := _misfit(file, sizes.get(file.key))) is not None]
        if ended:
            named = {each["Key"] for manifest in manifests for kind in KINDS for each in manifest["ResultFiles"][kind]}
            problems += [
                f"s3://{self.place['bucket']}/{key} is among the result files, and no manifest names it"
                for key in sizes
                if key not in named and _RESULT_FILE.fullmatch(key, len(self._folder))
            ]
        for problem in problems:
            _report_or_raise(problem, report)
        return listed

    def values(self, file: File, report: Report | None = None) -> Iterator[tuple[bool, bytes | Any]]:
        """Yield what is in a file: whether it is a line as bytes, and that line or else the element of an array.

        Whether a file has one value in each line or is one JSON array is seen in the file itself: its name doesn't
        tell it for sure.

        Args:
            file: The file.
            report: Called with what is wrong with the file, which then ends there. Default: it is raised.

        Raises:
            ResultsError: It is missing, cut off, or not what it should be.
        """
        size = 0

        def chunks() -> Iterator[bytes]:
            nonlocal size
            for chunk in object_chunks(self._s3, file.bucket, file.key):
                size += len(chunk)
                yield chunk

        try:
            as_lines, values = _open(chunks(), records=file.kind != "SUCCEEDED")
            for value in values:
                yield as_lines, value
            if size == file.size:
                return
            problem = f"{file.where} has {size:,} bytes, the manifest says {file.size:,}"
        except UNREADABLE as error:
            problem = f"{file.where} is not a result file that can be read to its end: {error_message(error)}"
        except Exception as error:
            if not is_missing(error):
                raise
            problem = f"{file.where} is missing, {file.size:,} bytes"
        _report_or_raise(problem, report)

    def _sizes(self) -> dict[str, int]:
        """Return the sizes of all objects of the export, by key."""
        assert self.place is not None  # noqa: S101 - its callers have looked
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.place["bucket"], Prefix=self._folder)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", [])}

    def _manifests(self, bucket: str, sizes: Iterable[str]) -> list[Manifest]:
        # Their numbers may skip: a redrive that failed before it could export anything has no folder.
        numbers = {int(match[1]) for key in sizes if (match := _REDRIVE.match(key, len(self._folder)))}
        folders = [f"{self._folder}Redrive-{number}/" for number in sorted(numbers, reverse=True)]
        return [self._manifest(bucket, f"{each}{MANIFEST_FILE}") for each in [*folders, self._folder]]

    def _manifest(self, bucket: str, key: str) -> Manifest:
        where = f"s3://{bucket}/{key}"
        try:
            text = b"".join(object_chunks(self._s3, bucket, key)).decode()
        except UnicodeDecodeError as error:
            message = f"{where} is no manifest of a map run: it is not UTF-8"
            raise ResultsError(message) from error
        except Exception as error:
            if not is_missing(error):
                raise
            message = (
                f"there is no manifest at {where}: Step Functions may still be exporting the results, which can end "
                "after the execution; try again in a minute"
            )
            raise NoManifestError(message) from error
        try:
            manifest: Manifest = decode(text)
            _check(manifest, bucket, self._folder)
        except UNREADABLE as error:
            message = f"{where} is no manifest of a map run: {error_message(error)}"
            raise ResultsError(message) from error
        own = self._folder.rstrip("/").rpartition("/")[2]
        whose = manifest["MapRunArn"].rpartition(":")[2]
        if own and whose != own and ":mapRun:" in manifest["MapRunArn"]:
            message = (
                f"{where} is the manifest of the map run {whose}, not of {own}: it was copied here from another one"
            )
            raise ResultsError(message)
        return manifest


def _check(manifest: Any, bucket: str, folder: str) -> None:
    """Raise where a manifest hasn't the shape of one, or names files outside its map run."""
    if not isinstance(manifest["MapRunArn"], str):
        message = f"its MapRunArn is {manifest['MapRunArn']!r:.80}"
        raise ResultsError(message)
    if manifest["DestinationBucket"] != bucket:
        message = f"it tells of files in the bucket {manifest['DestinationBucket']!r:.80}, and is in {bucket!r}"
        raise ResultsError(message)
    for kind in KINDS:
        for entry in manifest["ResultFiles"][kind]:
            key, size = entry["Key"], entry["Size"]
            if not isinstance(key, str) or type(size) is not int:
                message = f"it names the file {key!r:.80} with the size {size!r:.40}"
                raise ResultsError(message)
            if not key.startswith(folder):
                message = (
                    f"it tells of {key}, which is not of this run: it was copied here from another one, and must go "
                    "before this run can be accounted for"
                )
                raise ResultsError(message)


def _files(bucket: str, manifests: list[Manifest]) -> list[File]:
    """Return the files that manifests name, the newest manifest first, each file once."""
    by_key: dict[str, File] = {}
    # What a map or a redrive writes when it starts names no file: it is no newer account than the one before it.
    newest = next((entry for entry in manifests if any(entry["ResultFiles"].values())), None)
    for kind in KINDS:
        for manifest in manifests:
            earlier = kind != "SUCCEEDED" and manifest is not newest
            if earlier and kind == "PENDING":
                continue
            for entry in manifest["ResultFiles"][kind]:
                by_key.setdefault(entry["Key"], File(bucket, entry["Key"], entry["Size"], kind, earlier))
    return list(by_key.values())


def _misfit(file: File, size: int | None) -> str | None:
    if size is None:
        return f"{file.where} is missing, {file.size:,} bytes"
    return None if size == file.size else f"{file.where} has {size:,} bytes, the manifest says {file.size:,}"


def _parent(key: str) -> str:
    return key[: key.rfind("/") + 1]


def _report_or_raise(problem: str, report: Report | None) -> None:
    if report is None:
        raise ResultsError(problem)
    report(problem)


def _open(chunks: Iterator[bytes], *, records: bool) -> tuple[bool, Iterator[Any]]:
    """Return whether a file has a value in each line, and its lines or else the elements of its array.

    Args:
        chunks: The file.
        records: Whether nothing but records can be in it, none of which is an array.
    """
    start = b""
    for chunk in chunks:
        start += chunk
        if b"\n" in chunk or len(start) >= CHUNK_BYTES:
            break
    every = chain([start], chunks)
    if start.lstrip()[:1] != b"[":
        return True, lines(every)
    if not records:
        rest = next(chunks, b"") if start.endswith(b"\n") else b""
        every = chain([start, rest], chunks)
        if _is_lines(start + rest):
            return True, lines(every)
    return False, array_elements(every)


def _is_lines(start: bytes) -> bool:
    """Whether a file that begins so has an array in each line (outputs that are arrays), and is not one array.

    Step Functions ends every line with a newline, the last one too, and no array.
    """
    line, newline, rest = start.lstrip().partition(b"\n")
    if not newline:
        return False
    try:
        value = decode(line.decode())
    except UNREADABLE:
        return False
    return bool(rest.strip()) or not (value and is_record(value[0]))
