"""Where the results of a run are, and the runtime's reader of them: see :mod:`distmap._outcomes`.

The ledger goes on after a broken file, and reports it; results stop there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import NotReadyError, ResultFilesError
from distmap._envelopes import envelopes
from distmap._errors import ResultsError
from distmap._export import (
    Export,
    File,
    NoManifestError,
    Report,
    RunFolder,
    folder_of,
    manifests_below,
    results_folder,
    round_folder,
    rounds_begun,
)
from distmap._identity import ItemNumbers
from distmap._indexes import IndexSet
from distmap._outcomes import Reader
from distmap.wire import ITEMS_FILE, ResultsPlace

if TYPE_CHECKING:
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
    export: ResultsPlace | Export,
    *,
    report: Report | None = None,
    captured: int | None = None,
    numbers: ItemNumbers | None = None,
    tried_again: bool = False,
) -> Reader:
    """Return the reader of what one map run of a run exported.

    Args:
        run: The run.
        export: What it exported, or where the manifest is.
        report: Called with what doesn't fit. Default: it is raised.
        captured: How many items the source has. Default: any index is taken.
        numbers: Numbers of the items of several files, where other readers are to have the same.
        tried_again: Whether a later round of the run tried again what is in no outcome here.
    """
    definition = run.pipeline.definition
    place = export.place if isinstance(export, Export) else export
    folder = None if place is None else folder_of(place)
    whose = RunFolder(
        definition.item_file.bucket, run.prefix.removesuffix("/"), path="" if folder is None else folder.path
    )
    # What the maps nested in the children export isn't known.
    as_records = not whose.path and {definition.source.transformation, definition.item_file.transformation} == {"NONE"}
    return Reader(
        run.aws.s3(),
        export,
        run=whose,
        plain_outputs=not as_records,
        captured=captured,
        report=report,
        numbers=numbers,
        tried_again=tried_again,
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


def add_index(seen: IndexSet, index: int) -> bool:
    """Add the index of an item to those that came before, and return whether it is new.

    Raises:
        ResultFilesError: No item of a map can have it.
    """
    try:
        return seen.add(index)
    except ResultsError as error:
        raise ResultFilesError(str(error)) from error


class Round(NamedTuple):
    """What a round of a run had, which it has by itself after its map."""

    number: int
    """From 1."""
    places: list[ResultsPlace]
    """Where the manifests of its map runs are, redrives aside, the latest first."""


def places(run: RunHandle, number: int = 0) -> list[ResultsPlace]:
    """Return where the manifests of a run's outermost map runs are, redrives aside: none before the export.

    That of the latest map run comes first: a run may have several, each of which begins anew.

    Args:
        run: The run.
        number: Of which round. Default: of the map of its source.
    """
    bucket = run.pipeline.definition.item_file.results_bucket
    with errors(f"listing the results of {run.name!r}"):
        return manifests_below(run.aws.s3(), bucket, results_folder(run.prefix.removesuffix("/"), number))


def rounds(run: RunHandle) -> list[Round]:
    """Return the rounds of a run whose map has begun, in order."""
    bucket, prefix = run.pipeline.definition.item_file.results_bucket, run.prefix.removesuffix("/")
    with errors(f"listing the rounds of {run.name!r}"):
        numbers = rounds_begun(run.aws.s3(), bucket, prefix)
    return [Round(number, places(run, number)) for number in numbers]


def items_of_round(run: RunHandle, number: int, numbers: ItemNumbers, report: Report | None = None) -> Iterator[int]:
    """Yield the indexes, or the numbers, of the items that run again in a round.

    Args:
        run: The run.
        number: That of the round.
        numbers: Numbers of the items of several files.
        report: Called with what is wrong with the file of these items. Default: nothing is reported.
    """
    bucket, prefix = run.pipeline.definition.item_file.bucket, run.prefix.removesuffix("/")
    key = f"{round_folder(prefix, number)}{ITEMS_FILE}"
    with errors(f"reading s3://{bucket}/{key}"):
        for envelope in envelopes(run.aws.s3(), bucket, key, report, index_only=True):
            yield numbers.number(envelope["index"], envelope.get("source"))


def _is_written(export: Export) -> bool:
    """Tell whether a manifest names any file: the one that is written when a map starts doesn't.

    Raises:
        ResultFilesError: It isn't one of this run.
    """
    assert export.place is not None  # noqa: S101 - they were found by their places
    with errors(f"reading s3://{export.place['bucket']}/{export.place['key']}"):
        try:
            return any(any(manifest["ResultFiles"].values()) for manifest in export.manifests())
        except NoManifestError:
            return False
        except ResultsError as error:
            raise ResultFilesError(str(error)) from error


def exported(
    run: RunHandle, described: RunDescription | None, *, wait_seconds: float, expected: bool, number: int = 0
) -> list[Export] | None:
    """Return the results of a run, waiting for them where they are still being exported.

    Args:
        run: The run.
        described: What AWS says of it; None where AWS has forgotten it.
        wait_seconds: How long to wait.
        expected: Whether there must be results: a manifest without files is then the test manifest that is written
            when a map starts.
        number: Of which round. Default: of the map of its source.

    Returns:
        What its map runs exported, that of the latest first; it may be no file. None where none will come: the
        run is going, has no map, or was stopped before the export.

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
        exports = [Export(run.aws.s3(), place) for place in places(run, number)]
        written = any(map(_is_written, exports))
        if written or (exports and not expected):
            return exports
        if described is None or not described.ended or (not exports and not run.own_map_run_arns()):
            return None
        if time.monotonic() >= deadline:
            if killed:
                return None
            if exports:
                return exports
            if age > _LATEST_SECONDS:
                raise NotReadyError(
                    f"the results of {run.name!r} are gone: it ended at {described.stopped:%Y-%m-%d %H:%M} UTC, and "
                    f"there is no manifest under {results_folder(run.prefix.removesuffix('/'), number)} of the bucket "
                    f"{run.pipeline.definition.item_file.results_bucket}. A lifecycle rule or somebody has deleted it; "
                    "a version of it may be left, where the bucket keeps versions"
                )
            raise NotReadyError(
                f"the results of {run.name!r} are not there yet: Step Functions writes them after the run has ended; "
                "try again in a minute"
            )
        time.sleep(_PAUSE_SECONDS)
