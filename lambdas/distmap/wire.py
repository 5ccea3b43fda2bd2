"""The shapes that travel between the construct, the functions, the client and the local engine.

Each shape is declared here and nowhere else. The construct renders them as JSONata in the state machine, the
runtime in this package reads and writes them inside Lambda, and the client and the engine read them back, so
this module imports nothing beyond the standard library.

Where things are in the payload bucket (``<prefix>`` is the pipeline's payload prefix, empty by default):

```
<prefix>runs/<execution name>/items.jsonl                              the captured items
<prefix>runs/<execution name>/results/<map run id>/manifest.json       what the map's ResultWriter exported
<prefix>runs/<execution name>/spill/...                                answers too large for Step Functions
<prefix>runs/<execution name>/nested/<label>/...                       the same again for a nested map
<prefix>items/...                                                      item files that users keep
```
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, NotRequired, TypedDict

RUNS_FOLDER: Final = "runs"
ITEM_FILES_FOLDER: Final = "items"
ITEMS_FILE: Final = "items.jsonl"
RESULTS_FOLDER: Final = "results"
SPILL_FOLDER: Final = "spill"
NESTED_FOLDER: Final = "nested"
MANIFEST_FILE: Final = "manifest.json"

BATCH_INPUT_KEY: Final = "distmap"
"""The key of ``BatchInput`` that is ours; every other key is the user's."""

SPILLED_KEY: Final = "distmapSpilled"
"""The only key of an object that stands for a value kept in S3."""

BATCH_FAILED_ERROR: Final = "BatchFailedError"
"""The error by which Step Functions knows that a worker failed a whole batch: see :class:`BatchFailure`."""


class Run(TypedDict):
    """Which run a child belongs to. Every child at any depth knows its root run by it."""

    id: str
    """ARN of the root execution."""
    name: str
    """Name of the root execution: the name of the run."""
    bucket: str
    """Bucket that holds the run's files: the payload bucket."""
    prefix: str
    """Where the run's files begin, without a slash at the end: ``runs/<execution name>``."""
    path: str
    """Indexes of the items this map run is nested in: empty at the root, ``/3`` inside item 3, ``/3/17`` below."""
    firstRun: NotRequired[str]
    """ARN of the run that had these items first: this run's own, but in a retry, or a retry of one, that of the run at
    the beginning. What identifies an item for ever begins with it."""


class Envelope(TypedDict):
    """One item with its identity, as ItemSelector renders it and as a retry's item file holds it."""

    index: int
    """Position of the item in its source, from 0: its identity in the run, which a retry keeps."""
    source: NotRequired[str | None]
    """Where the item was read, ``s3://bucket/key``, where a map reads several files: whether AWS numbers their items
    through isn't documented, so that index and source together are the identity. Null where the index alone is."""
    value: Any
    """The item itself."""
    run: NotRequired[Run]
    """Present where a child gets a single item. In a batch it is in ``BatchInput`` instead, once."""


class DistmapBatchInput(TypedDict):
    """Our part of ``BatchInput``."""

    run: Run


class BatchEvent(TypedDict):
    """Input of a batched child, exactly as Step Functions sends it."""

    BatchInput: NotRequired[dict[str, Any]]
    """Holds :class:`DistmapBatchInput` under ``distmap`` beside the user's own batch input."""
    Items: list[Any]


class ItemResult(TypedDict):
    """An item that succeeded."""

    itemIdentifier: str
    """The item's index, as a decimal string; ``<source>#<index>`` where it has a source: see ``_identity``."""
    result: Any


class ItemFailure(TypedDict):
    """An item that failed."""

    itemIdentifier: str
    error: str
    """Type of the exception."""
    cause: str
    """Its message."""


class WorkerAnswer(TypedDict):
    """What a worker built on the runtime returns for a batch or for a single enveloped item."""

    batchItemResults: list[ItemResult]
    batchItemFailures: list[ItemFailure]
    batchItemsUnprocessed: list[str]
    """Identifiers of the items not taken because the deadline came near."""
    positional: NotRequired[Literal[True]]
    """Present where the items came without an index: each identifier is a position in the batch, not in the run."""


class SpilledObject(TypedDict):
    """Where a value is that was too large to travel through Step Functions."""

    bucket: str
    key: str
    bytes: int
    """Size of the UTF-8 JSON text."""
    sha256: str
    """Checksum of that text, in hexadecimal."""


class Spilled(TypedDict):
    """A value by reference."""

    distmapSpilled: SpilledObject


class BatchFailure(TypedDict):
    """Message of the error by which a worker fails a whole batch, as JSON text.

    Step Functions sees ``BatchFailedError`` as the error, and as the cause the JSON text that Lambda makes of any
    exception, whose ``errorMessage`` is this.
    """

    message: str
    """For people: how many items failed, and the first reason."""
    batch: WorkerAnswer | Spilled | None
    """What each item met. None where it was too large for a cause and the batch had no run to keep it in."""


class ItemFile(TypedDict):
    """A file of items in the payload bucket: what capture answers, and what a run can be started on."""

    bucket: str
    key: str
    count: NotRequired[int]
    """Number of items."""
    bytes: NotRequired[int]
    sha256: NotRequired[str]
    """Checksum of the whole file, in hexadecimal, where one invocation wrote it."""
    enveloped: NotRequired[bool]
    """True where each line is an :class:`Envelope` (a retry): the items keep the index they carry."""
    firstRun: NotRequired[str]
    """Present in a retry: ARN of the run that had the items first, whose identity they keep."""
    continuation: NotRequired[dict[str, Any]]
    """Present only between two invocations of a capture that goes on: the next one gets it back as it is."""


class CaptureEvent(TypedDict):
    """Input of a capture function."""

    input: Any
    """Input of the execution (of the fragment's first state)."""
    run: Run
    key: str
    """Where the items belong: ``<run prefix>/items.jsonl``."""
    capture: dict[str, Any]
    """Settings of a built-in capture (:class:`RangesCapture`, :class:`ListingCapture`), empty for the user's own."""
    maxItems: NotRequired[int | None]
    """Most items to write: the run is over those that are written, so capture ends there. None for all."""
    continuation: dict[str, Any] | None


DEFAULT_NUMBER: Final = 10
"""What ``number`` of :class:`RangesCapture` is where the execution's input leaves it out."""

DEFAULT_CHUNK: Final = 1
"""What ``chunk`` is, likewise."""


class RangesCapture(TypedDict):
    """``{number, chunk}`` pages into ``{"from", "to"}``: ``number`` numbers from ``start``, ``chunk`` in each."""

    kind: Literal["ranges"]
    number: int
    chunk: int
    start: NotRequired[int]
    """First number: 0 where it is left out."""
    inclusive: NotRequired[bool]
    """Whether ``to`` is the last number of a range, and not the one after it, which it is where this is left out."""


class ListingCapture(TypedDict):
    """The objects of a bucket, filtered. Each item is ``{"bucket", "key", "size", "etag", "lastModified"}``."""

    kind: Literal["s3Listing"]
    bucket: str
    prefixes: list[str]
    """Listed in this order; an object under two of them is captured once for each."""
    suffix: str | None
    minBytes: int
    """Smallest size captured: 1 skips empty objects (and the folders a console makes)."""
    maxBytes: int | None
    modifiedAfter: str | None
    """ISO 8601 date-time; objects last modified before it are skipped."""
    modifiedBefore: str | None
    minAgeSeconds: int | None
    """Objects younger than this at the start of the capture are skipped."""
    maxAgeSeconds: int | None


class ResultsPlace(TypedDict):
    """Where a map's results were exported: the manifest."""

    bucket: str
    key: str


class CombineEvent(TypedDict):
    """Input of a combine function."""

    run: Run
    items: ItemFile | None
    """The captured items, where there was a capture or an item file."""
    results: ResultsPlace | None
    """None where nothing was captured, so that no map ran."""
    mapRunArn: str | None


class RunOutput(TypedDict):
    """Output of a run."""

    run: Run
    items: ItemFile | None
    results: ResultsPlace | None
    """None where nothing was captured, so that no map ran."""
    mapRunArn: str | None
    combined: NotRequired[Any]
    """What the combine function returned, where there is one; possibly :class:`Spilled`."""


class ResultFile(TypedDict):
    """An entry of a manifest."""

    Key: str
    Size: int


class ResultFiles(TypedDict):
    """The result files of a manifest, by the status of the children in them."""

    SUCCEEDED: list[ResultFile]
    FAILED: list[ResultFile]
    PENDING: list[ResultFile]


class Manifest(TypedDict):
    """``manifest.json`` as Step Functions writes it."""

    DestinationBucket: str
    MapRunArn: str
    ResultFiles: ResultFiles


def run_prefix(execution_name: str, payload_prefix: str = "") -> str:
    """Return where a run's files begin: ``<payload prefix>runs/<execution name>``."""
    return f"{payload_prefix}{RUNS_FOLDER}/{execution_name}"


DATE_TIME: Final = "an ISO 8601 date-time with its offset from UTC, such as 2026-01-31T12:00:00Z"
"""What :func:`date_time` takes, in words: the same at synthesis and in a run."""


def date_time(text: object) -> datetime | None:
    """Return the moment that a setting names; None where it isn't :data:`DATE_TIME`."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment.astimezone(UTC)  # the calendar ends somewhere
    except (ValueError, OverflowError):
        return None
    return None if moment.tzinfo is None else moment
