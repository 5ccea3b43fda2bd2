"""Where the results of a run are, and the runtime's reader of them: see :mod:`distmap._told`.

The ledger goes on after a broken file, and reports it; results stop there.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cdk_distributed_map.runs.aws.sessions import error_code, errors
from cdk_distributed_map.runs.errors import NotReadyError, ResultFilesError
from distmap._errors import ResultsError
from distmap._export import Export, File, NoManifestError, Report, RunFolder, folder_of
from distmap._identity import ItemNumbers
from distmap._told import Reader
from distmap.wire import MANIFEST_FILE, RESULTS_FOLDER, ResultsPlace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from cdk_distributed_map.runs.aws.descriptions import RunDescription
    from cdk_distributed_map.runs.find.handles import RunHandle

KILLED: Final = frozenset({"ABORTED", "TIMED_OUT"})
"""Statuses of a run that was ended from outside."""

_PAUSE_SECONDS: Final = 2.0
_KILLED_SECONDS: Final = 10.0
_LATEST_SECONDS: Final = 3600.0
"""After this, what isn't there won't come."""


def reader(
    run: RunHandle,
    place: ResultsPlace,
    *,
    report: Report | None = None,
    captured: int | None = None,
    numbers: ItemNumbers | None = None,
) -> Reader:
    """Return the reader of what one map run of a run exported.

    Args:
        run: The run.
        place: Where the manifest is.
        report: Called with what doesn't fit. Default: it is raised.
        captured: How many items the source has. Default: any index is taken.
        numbers: Numbers of the items of several files, where other readers are to have the same.
    """
    definition = run.pipeline.definition
    found = folder_of(place)
    whose = RunFolder(
        definition.item_file.bucket, run.prefix.removesuffix("/"), path="" if found is None else found.path
    )
    # What the maps nested in the children export isn't known.
    as_records = not whose.path and {definition.source.transformation, definition.item_file.transformation} == {"NONE"}
    return Reader(
        run.aws.s3(),
        place,
        run=whose,
        plain_outputs=not as_records,
        captured=captured,
        report=report,
        numbers=numbers,
    )


def files(reader: Reader, *, ended: bool = True) -> list[File]:
    """Return the files that a reader is to read.

    Args:
        reader: The reader.
        ended: Whether nothing more is being exported, so that a file which no manifest names is a fault.

    Raises:
        NotReadyError: A manifest isn't there yet.
        ResultFilesError: One is none of its map run; or files don't fit, and the reader doesn't report it.
    """
    try:
        return reader.files(ended=ended)
    except NoManifestError as error:
        raise NotReadyError(str(error)) from error
    except ResultsError as error:
        raise ResultFilesError(str(error)) from error


def places(run: RunHandle) -> list[ResultsPlace]:
    """Return where the manifests of a run's outermost map runs are, redrives aside: none before the export.

    That of the latest map run comes first: a run may have several, each of which begins anew.
    """
    target = run.pipeline.definition.item_file
    bucket = target.results_bucket
    prefix = f"{run.prefix}{RESULTS_FOLDER}/"
    found: list[tuple[datetime, ResultsPlace]] = []
    with errors(f"listing the results of {run.name!r}"):
        pages = run.aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        folders = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        for folder in folders:
            try:
                made = run.aws.s3().head_object(Bucket=bucket, Key=f"{folder}{MANIFEST_FILE}")["LastModified"]
            except Exception as error:
                if error_code(error) not in {"404", "NoSuchKey"}:
                    raise
            else:
                found.append((made, {"bucket": bucket, "key": f"{folder}{MANIFEST_FILE}"}))
    return [place for _, place in sorted(found, key=lambda each: each[0], reverse=True)]


def _is_exported(s3: S3Client, place: ResultsPlace) -> bool:
    """Tell whether a manifest names any file: the one that is written when a map starts doesn't.

    Raises:
        ResultFilesError: It isn't one of this run.
    """
    with errors(f"reading s3://{place['bucket']}/{place['key']}"):
        try:
            return any(any(each["ResultFiles"].values()) for each in Export(s3, place).manifests())
        except NoManifestError:
            return False
        except ResultsError as error:
            raise ResultFilesError(str(error)) from error


def exported(
    run: RunHandle, described: RunDescription | None, *, wait_seconds: float, expected: bool
) -> list[ResultsPlace] | None:
    """Return where the results of a run are, waiting for them where they are still being exported.

    Args:
        run: The run.
        described: What AWS says of it; None where AWS has forgotten it.
        wait_seconds: How long to wait.
        expected: Whether there must be results: a manifest without files is then the test manifest that is written
            when a map starts.

    Returns:
        The manifests, the latest first; they may name no file. None where none will come: the run is going, has no
        map, or was stopped before the export.

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
        written = any(_is_exported(run.aws.s3(), place) for place in found)
        if written or (found and not expected):
            return found
        if described is None or not described.ended or (not found and not run.own_map_run_arns()):
            return None
        if time.monotonic() >= deadline:
            if killed:
                return None
            if found:
                return found
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
