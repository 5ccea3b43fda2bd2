"""The children of a run, one record at a time, from the files that the map's ResultWriter exported.

The runtime's own reader (:mod:`distmap._results`) finds the manifests and takes records apart; this goes through the
same files child by child, because an account needs the child's status and ARN, and needs to go on after a broken file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from cdk_distributed_map.runs._aws import error_code, errors
from cdk_distributed_map.runs._errors import NotReadyError, ResultFilesError
from distmap._errors import ResultsError, SpillError
from distmap._json import decode
from distmap._records import UNREADABLE as UNREADABLE_RECORDS
from distmap._records import failed_batch, is_answer, is_record, items_of, message_of, words
from distmap._results import Results
from distmap._spill import is_spilled, resolve
from distmap._stream import array_elements, lines, object_chunks
from distmap.wire import BATCH_INPUT_KEY, MANIFEST_FILE, RESULTS_FOLDER, ResultsPlace, WorkerAnswer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from cdk_distributed_map.runs._described import RunDescription
    from cdk_distributed_map.runs._run import Run

Kind = Literal["SUCCEEDED", "FAILED", "PENDING"]
KINDS: Final[tuple[Kind, ...]] = ("SUCCEEDED", "FAILED", "PENDING")

KILLED: Final = frozenset({"ABORTED", "TIMED_OUT"})
"""Statuses of a run that was ended from outside."""

UNREADABLE: Final = (*UNREADABLE_RECORDS, SpillError)
"""What it raises to read a record, or the answer in it, that isn't as it should be."""

_PAUSE_SECONDS: Final = 2.0
_KILLED_SECONDS: Final = 10.0
_LATEST_SECONDS: Final = 3600.0
"""After this, what isn't there won't come."""

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class File:
    """A result file."""

    bucket: str
    key: str
    size: int
    kind: Kind


class Child:
    """One child of a map run, as its record tells it.

    Attributes:
        kind: Which kind of file it is in.
        record: The whole record; None where only its output was exported.
        output: What it returned; None unless it succeeded.
    """

    __slots__ = ("_input", "kind", "output", "record")

    def __init__(self, kind: Kind, record: dict[str, Any] | None, output: Any) -> None:
        self.kind = kind
        self.record = record
        self.output = output
        self._input: Any = None

    @property
    def arn(self) -> str | None:
        """Its ARN; None where it never ran or only its output was exported."""
        return None if self.record is None else self.record.get("ExecutionArn")

    @property
    def status(self) -> str:
        """``SUCCEEDED``, ``FAILED``, ``TIMED_OUT``, ``ABORTED`` or ``PENDING``."""
        return self.kind if self.record is None else str(self.record.get("Status", self.kind))

    @property
    def started(self) -> datetime | None:
        """When it started."""
        return self._time("StartDate")

    @property
    def stopped(self) -> datetime | None:
        """When it ended."""
        return self._time("StopDate")

    @property
    def error(self) -> str:
        """Its error; ``States.Timeout`` or ``Aborted`` where the status alone tells it."""
        given = (self.record or {}).get("Error")
        return str(given) if given else {"TIMED_OUT": "States.Timeout", "ABORTED": "Aborted"}.get(self.status, "FAILED")

    @property
    def cause(self) -> str:
        """The message of its error."""
        return message_of((self.record or {}).get("Cause"))

    @property
    def has_input(self) -> bool:
        """Whether what it got was exported."""
        return self.record is not None and self.record.get("Input") is not None

    @property
    def run_prefix(self) -> str | None:
        """Where the files of the run begin that it was told it belongs to; None where it was told of none."""
        given = self._given()
        if not isinstance(given, dict):
            return None
        batch_input = given.get("BatchInput")
        ours = batch_input.get(BATCH_INPUT_KEY) if isinstance(batch_input, dict) else None
        told = ours.get("run") if isinstance(ours, dict) else None
        if told is None and given.keys() == {"index", "value", "run"}:
            told = given["run"]
        prefix = told.get("prefix") if isinstance(told, dict) else None
        return prefix if isinstance(prefix, str) else None

    def inputs(self) -> list[tuple[int | None, Any]]:
        """Return the items it got, each with its index where it had one; none where its input wasn't exported."""
        return items_of(self._given()) if self.has_input else []

    def answer(self, s3: S3Client) -> WorkerAnswer | None:
        """Return what its worker told of each item, where the worker is built on the runtime.

        Raises:
            SpillError: The answer was spilled, and what is there is not it.
        """
        told = self.output if self.kind == "SUCCEEDED" else failed_batch(self.record or {})
        if is_spilled(told):
            with errors("reading a spilled answer"):
                told = resolve(told, s3=s3)
        return told if is_answer(told) else None

    def _given(self) -> Any:
        """Return its input, parsed once."""
        if self._input is None and self.has_input and self.record is not None:
            self._input = decode(self.record["Input"])
        return self._input

    def _time(self, name: str) -> datetime | None:
        value = None if self.record is None else self.record.get(name)
        if value is None:
            return None
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        try:
            return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        except ValueError:
            return None


def places(run: Run) -> list[ResultsPlace]:
    """Return where the manifests of a run's outermost map runs are, redrives aside. None before the export."""
    target = run.pipeline.definition.item_file
    bucket = target.results_bucket
    prefix = f"{run.prefix}{RESULTS_FOLDER}/"
    found: list[ResultsPlace] = []
    with errors(f"listing the results of {run.name!r}"):
        pages = run.aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        folders = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        for folder in folders:
            try:
                run.aws.s3().head_object(Bucket=bucket, Key=f"{folder}{MANIFEST_FILE}")
            except Exception as error:
                if error_code(error) not in {"404", "NoSuchKey"}:
                    raise
            else:
                found.append({"bucket": bucket, "key": f"{folder}{MANIFEST_FILE}"})
    return found


def files(s3: S3Client, place: ResultsPlace) -> list[File]:
    """Return the result files of a map run, successes first, those of the latest redrive first among each kind.

    Raises:
        NotReadyError: The manifest isn't there yet.
        ResultFilesError: It isn't one.
    """
    with errors(f"reading s3://{place['bucket']}/{place['key']}"):
        try:
            manifests = Results(s3, place).manifests()
        except ResultsError as error:
            kind = NotReadyError if "no manifest at" in str(error) else ResultFilesError
            raise kind(str(error)) from error
    folder = place["key"].removesuffix(MANIFEST_FILE)
    for manifest in manifests:
        keys = [each["Key"] for kind_ in KINDS for each in manifest["ResultFiles"][kind_]]
        outside = next((key for key in keys if not key.startswith(folder)), None)
        if outside is not None:
            raise ResultFilesError(
                f"a manifest in s3://{place['bucket']}/{folder} tells of {outside}, which is not of this run: it was "
                "copied here from another one, and must go before this run can be accounted for"
            )
    found: dict[str, File] = {}
    for kind_ in KINDS:
        for manifest in manifests:
            for each in manifest["ResultFiles"][kind_]:
                found.setdefault(
                    each["Key"],
                    File(bucket=manifest["DestinationBucket"], key=each["Key"], size=each["Size"], kind=kind_),
                )
    return list(found.values())


def exported(run: Run, described: RunDescription | None, *, wait_seconds: float, expected: bool) -> list[File] | None:
    """Return the result files of a run, waiting for them where they are still being exported.

    Args:
        run: The run.
        described: What AWS says of it; None where AWS has forgotten it.
        wait_seconds: How long to wait.
        expected: Whether there must be results: a manifest without files is then the test manifest that is written
            when a map starts.

    Returns:
        The files; None where none will come: the run is going, has no map, or was stopped before the export.

    Raises:
        NotReadyError: They are not there after that.
    """
    wait = wait_seconds
    # Whether a run that was stopped exports anything isn't documented: don't wait long for what may never come.
    killed = described is not None and described.status in KILLED
    age = 0.0
    if described is not None and described.stopped is not None:
        age = (datetime.now(UTC) - described.stopped).total_seconds()
    if killed:
        wait = min(wait, max(0.0, _KILLED_SECONDS - age))
    elif age > _LATEST_SECONDS:
        wait = min(wait, _KILLED_SECONDS)
    deadline = time.monotonic() + wait
    while True:
        found = places(run)
        try:
            all_of_them = [file for place in found for file in files(run.aws.s3(), place)]
        except NotReadyError:
            all_of_them = []
        if all_of_them or (found and not expected):
            return all_of_them
        if described is None or not described.ended or (not found and not run.own_map_run_arns()):
            return None
        if time.monotonic() >= deadline:
            if killed:
                return None
            if found:
                return []
            if age > _LATEST_SECONDS:
                raise NotReadyError(
                    f"the results of {run.name!r} are gone: it ended at {described.stopped:%Y-%m-%d %H:%M} UTC, and "
                    f"there is no manifest under {run.prefix}{RESULTS_FOLDER}/ of the bucket "
                    f"{run.pipeline.definition.item_file.results_bucket}. A lifecycle rule or somebody has deleted it; "
                    "a version of it may be left, where the bucket keeps versions"
                )
            raise NotReadyError(
                f"the results of {run.name!r} are not there yet: Step Functions writes them after the run has ended; "
                "try again in a minute"
            )
        time.sleep(_PAUSE_SECONDS)


def records(s3: S3Client, file: File, *, report: Report | None = None) -> Iterator[bytes | Any]:
    """Yield what is in a result file: lines as bytes, or the elements of a JSON array as values.

    Args:
        s3: The client to read with.
        file: The file.
        report: Called with what is wrong with the file, which then ends there. Default: it is raised.

    Raises:
        ResultFilesError: The file is missing, cut off or not what it should be.
    """
    where = f"s3://{file.bucket}/{file.key}"
    size = 0

    def chunks() -> Iterator[bytes]:
        nonlocal size
        for chunk in object_chunks(s3, file.bucket, file.key):
            size += len(chunk)
            yield chunk

    try:
        yield from lines(chunks()) if file.key.endswith(".jsonl") else array_elements(chunks())
        problem = None if size == file.size else f"{where} has {size:,} bytes, the manifest says {file.size:,}"
    except (ResultsError, ValueError) as error:
        problem = f"{where} can't be read to its end: {error}"
    except Exception as error:
        if error_code(error) not in {"404", "NoSuchKey"}:
            raise
        problem = f"{where} is missing, {file.size:,} bytes"
    if problem is not None:
        _tell(problem, report)


def children(s3: S3Client, file: File, *, report: Report | None = None) -> Iterator[Child]:
    """Yield the children in a result file; see :func:`records`."""
    for value in records(s3, file, report=report):
        try:
            yield as_child(value, file.kind)
        except UNREADABLE as error:
            _tell(unreadable(file, error), report)


def unreadable(file: File, error: Exception) -> str:
    """Return what to say of a record that can't be read."""
    return f"s3://{file.bucket}/{file.key} has a record that can't be read: {words(error)}"


def as_child(value: bytes | Any, kind: Kind) -> Child:
    """Return a record of a result file as a child."""
    whole = decode(value.decode()) if isinstance(value, bytes) else value
    if kind != "SUCCEEDED":
        if not isinstance(whole, dict):
            raise TypeError(f"expected a record, got {whole!r:.80}")
        return Child(kind, whole, None)
    if is_record(whole):
        return Child(kind, whole, decode(whole["Output"]))
    return Child(kind, None, whole)


def _tell(problem: str, report: Report | None) -> None:
    if report is None:
        raise ResultFilesError(f"{problem}; `distmap ledger` tells which items that leaves unaccounted for")
    report(problem)


__all__ = [
    "UNREADABLE",
    "Child",
    "File",
    "Kind",
    "as_child",
    "children",
    "exported",
    "files",
    "places",
    "records",
    "unreadable",
    "words",
]
