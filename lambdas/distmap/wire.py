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
<prefix>runs/<execution name>/retries/<retry>/items.jsonl              the items of one of its retries
<prefix>runs/<execution name>/rounds/<n>/items.jsonl                   the items that run again in round n, from 1
<prefix>runs/<execution name>/rounds/<n>/results/<map run id>/...      what that round exported
<prefix>runs/<execution name>/ledger.json                              what became of the items: :class:`RunLedger`
<prefix>runs/<execution name>/failures.jsonl                           what did not succeed: :class:`FailedItem`
<prefix>runs/<execution name>/account/...                              where an account goes on in another invocation
<prefix>runs/<execution name>/tasks/<index>/<attempt>/...              an item and its result, where containers work
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
ROUNDS_FOLDER: Final = "rounds"
RETRIES_FOLDER: Final = "retries"
"""Folder in that of a first run, with the items of each of its retries: ``retries/<retry>/items.jsonl``."""
ACCOUNT_FOLDER: Final = "account"
TASKS_FOLDER: Final = "tasks"
LEDGER_FILE: Final = "ledger.json"
FAILURES_FILE: Final = "failures.jsonl"

BATCH_INPUT_KEY: Final = "distmap"
"""The key of ``BatchInput`` that is ours; every other key is the user's."""

SPILLED_KEY: Final = "distmapSpilled"
"""The only key of an object that stands for a value kept in S3."""

BATCH_FAILED_ERROR: Final = "BatchFailedError"
"""The error by which Step Functions knows that a worker failed a whole batch: see :class:`BatchFailure`."""

PERMANENT_ERROR: Final = "PermanentError"
"""The error by which a worker says that it is pointless to try an item again."""


METRICS_NAMESPACE: Final = "Distmap"
"""Namespace of the metrics of items."""

METRICS_DIMENSION: Final = "Pipeline"
"""Their dimension: the name of the stack and the path of the construct in it."""


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
    round: NotRequired[int]
    """Present in what is around nested maps, and in these: the number of the round, 0 where it is none."""


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
    permanent: NotRequired[Literal[True]]
    """Present where the worker says that trying again is pointless: it raised a ``PermanentError``."""
    place: NotRequired[str]
    """Innermost frame of the user's own code, such as ``handler.py:14 in enrich``; left out where there was none."""
    traceback: NotRequired[str]
    """Of the first item of a batch that failed with this error at this place."""
    output: NotRequired[str]
    """The end of what the item printed and logged, where the worker keeps that."""


class BatchMeasures(TypedDict):
    """What a batch measured of its items that were tried to their end: times in seconds, to three digits."""

    items: int
    seconds: float
    """Of all of them together: more than the batch took where several were in work at a time."""
    median: float
    p99: float
    most: float
    slowest: str
    """Identifier of the item that took most."""
    memoryMB: NotRequired[int]
    """Most memory of the function's process since it began."""


class WorkerAnswer(TypedDict):
    """What a worker built on the runtime returns for a batch or for a single enveloped item."""

    batchItemResults: list[ItemResult]
    batchItemFailures: list[ItemFailure]
    batchItemsUnprocessed: list[str]
    """Identifiers of the items not taken because the deadline came near."""
    positional: NotRequired[Literal[True]]
    """Present for unidentified items: each identifier is a position in the batch, not in the run."""
    batchMeasures: NotRequired[BatchMeasures]
    """Left out where no item was tried."""


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
    round: NotRequired[int]
    """Present in the input of a round's map alone: its number, from 1. The run's own items are in :attr:`origin`."""
    origin: NotRequired[Origin]
    """Present beside :attr:`round`: what the run began with."""
    untriedInside: NotRequired[list[int]]
    """Present beside :attr:`round` where maps are nested: how many of their items had not succeeded for no fault of
    their own, before this round and the one before it."""


class Origin(TypedDict):
    """What the first map of a run had and gave, while its rounds run."""

    items: ItemFile | None
    results: ResultsPlace | None
    mapRunArn: str | None


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


class FailedItemsTarget(TypedDict):
    """A target that gets a message for each item that did not succeed."""

    kind: Literal["queue", "bus"]
    name: str
    """URL of the queue, name or ARN of the event bus."""


class RerunSettings(TypedDict):
    """Which items that failed by their own fault run again."""

    rounds: int
    """Most rounds for them."""
    errors: list[str] | None
    """Names of errors; ``States.ALL`` or None for every error that isn't permanent."""
    permanentErrors: list[str]
    """Names of errors that are permanent beside ``PermanentError``."""


class AccountSettings(TypedDict):
    """What an account function gets to know about the pipeline."""

    pipeline: str
    """Name of the stack and path of the construct in it: the dimension of the metrics."""
    toleratedFailureCount: float | None
    toleratedFailurePercentage: float | None
    """Most items that may not succeed; None where it isn't declared. With neither, none may."""
    rounds: int
    """Most rounds for what did not succeed for no fault of its own."""
    rerun: RerunSettings | None
    """None where items that failed don't run again."""
    waitSeconds: float
    """Before the first round."""
    backoffRate: float
    """What that is multiplied by before each further one."""
    maxWaitSeconds: float
    metrics: bool
    """Whether metrics of items are emitted."""
    enveloped: bool
    """Whether children get their items in envelopes, so that each has an index."""
    batched: bool
    """Whether a child gets a batch."""
    selects: bool
    """Whether an ItemSelector of the user's alters the items, so that only children's inputs have them as they are."""
    resultsBucket: str
    nested: list[NestedMapSettings]
    """The maps inside the children, outer before inner."""
    targets: list[FailedItemsTarget]
    """Who gets a message for each item that did not succeed, after the last round: see :class:`FailedItemMessage`."""


class Tolerance(TypedDict):
    """How many items of each map run of a nested map may not succeed; with neither, none may."""

    toleratedFailureCount: float | None
    toleratedFailurePercentage: float | None


class NestedMapSettings(TypedDict):
    """A map inside the children of another."""

    label: str
    batched: bool
    resultsBucket: str
    tolerance: NotRequired[Tolerance | None]
    """What the account holds each of its map runs to; None, or left out, where nobody but Step Functions does."""
    nested: list[NestedMapSettings]


class AccountEvent(TypedDict):
    """Input of an account function after a map."""

    run: Run
    items: ItemFile | None
    """What the map read: the captured items, an item file, or those of a round; None where it read its source."""
    results: ResultsPlace | None
    """What that map exported; None where nothing was captured, so that no map ran."""
    mapRunArn: str | None
    redriveCount: int
    """How often the execution was redriven."""
    account: AccountSettings
    continuation: dict[str, Any] | None


class ErrorShare(TypedDict):
    """How many items failed with an error."""

    error: str
    count: int


class OutputLedger(TypedDict):
    """The account in the output of a run: ``captured = succeeded + failed + unprocessed + pending + missing``."""

    captured: int
    succeeded: int
    failed: int
    unprocessed: int
    pending: int
    missing: int
    duplicates: int
    recovered: int
    """Items that succeeded in a round, after they had not in the map before it."""
    rounds: int
    addsUp: bool
    errors: list[ErrorShare]
    """The most frequent ones."""
    pushed: NotRequired[int]
    """Items of which every target got a message, where there are targets."""
    bucket: str
    key: str
    """Where ``ledger.json`` is."""


class PushedTo(TypedDict):
    """How many items a target got a message of: an entry of ``pushed`` in ``ledger.json``."""

    kind: Literal["queue", "bus"]
    name: str
    pushed: int
    """Items that it took."""
    of: int
    """Items that did not succeed: the lines of ``failures.jsonl``."""
    error: str | None
    """Why it didn't take the others; None where it did, or their turn is still to come."""
    line: int
    byte: int
    """Number of the first line that it didn't take, from 0, and where that begins: a redrive goes on there."""
    etag: str
    """Of the file with these lines."""


class RunLedger(TypedDict):
    """``ledger.json``: the document of ``distmap ledger --json``, and what only the run itself knows."""

    run: str
    status: str
    """As the run ends: SUCCEEDED, or FAILED, TIMED_OUT or ABORTED."""
    captured: int
    capturedFrom: Literal["item file", "map run", "results", "unknown"]
    succeeded: int
    failed: int
    timedOut: int
    """Of those that failed."""
    unprocessed: int
    pending: int
    missing: int
    duplicates: int
    unidentified: int
    addsUp: bool
    complete: bool
    runError: str | None
    problems: list[str]
    notes: list[str]
    nested: list[dict[str, Any]]
    missingExamples: list[int]
    errors: list[dict[str, Any]]
    chain: list[dict[str, Any]]
    rounds: int
    roundsBefore: int
    """Of these, those before the last redrive that began with the account."""
    recovered: int
    redriveCount: int
    itemSeconds: float | None
    """Seconds that an item took at most in 99 of 100 children that were looked at; None where nothing tells it."""
    measures: BatchMeasures | None
    """What the batches of the outermost map measured of their items, in all rounds together: the median and the
    percentile are those of the batches, by the number of their items. None where none measured."""
    error: str | None
    """What the run failed with."""
    cause: str | None
    failuresKey: str | None
    """Where ``failures.jsonl`` is; None where everything succeeded."""
    pushed: list[PushedTo]
    """Of how many of these each target got a message, where there are targets."""


class Again(TypedDict):
    """A round to come."""

    items: ItemFile
    waitSeconds: int


class AccountAnswer(TypedDict):
    """What an account function answers. It raises where the run is to fail."""

    run: Run
    items: ItemFile | None
    results: ResultsPlace | None
    mapRunArn: str | None
    """These four as the run began with them, once the account is complete."""
    ledger: NotRequired[OutputLedger]
    """Present once the account is complete."""
    again: NotRequired[Again]
    """Present where another round is to come."""
    continuation: NotRequired[dict[str, Any]]
    """Present where the account goes on in another invocation, which gets it back as it is."""


class FailedItem(TypedDict):
    """A line of ``failures.jsonl``: an item that did not succeed."""

    index: int | None
    source: NotRequired[str]
    """The file it is in, where the map reads several."""
    outcome: Literal["FAILED", "TIMED_OUT", "UNPROCESSED", "PENDING", "MISSING"]
    error: str | None
    cause: str | None
    place: NotRequired[str]
    """As in :class:`ItemFailure`, like the next two; or from the stack trace of a child that failed as a whole."""
    traceback: NotRequired[str]
    output: NotRequired[str]
    child: str | None
    """ARN of the child it was in last."""
    attempt: int
    """Round it ran in last: 0 for the map of the source, and for items of nested maps."""
    item: Any
    map: NotRequired[str]
    """Label of the nested map that it is an item of; not there for an item of the outermost map."""
    path: NotRequired[str]
    """Indexes of the items around it, outermost first, as in ``3/0``; likewise."""


FAILED_ITEM_SOURCE: Final = "distmap"
"""Source of the event of an item that did not succeed."""

FAILED_ITEM_DETAIL_TYPE: Final = "Distmap Item Failed"
"""Its detail-type."""


class FailedItemPlace(TypedDict):
    """Where the line of an item is that is too large for a message: GetObject takes the three as they are."""

    bucket: str
    key: str
    range: str
    """``Range`` of the line in bytes, such as ``bytes=0-99``."""
    etag: str
    """For ``IfMatch``: a redrive of the run writes the file anew."""
    line: int
    """Number of the line, from 0."""


class FailedItemMessage(TypedDict):
    """What a target is sent of an item that did not succeed: body of a queue's message, detail of an event.

    Everything but the first four is as in the :class:`FailedItem`.
    """

    pipeline: str
    """Name of the stack and path of the construct in it."""
    runId: str
    """ARN of the execution."""
    runName: str
    key: str | None
    """What identifies the item everywhere and for ever, as ``distmap.item_key()``; None where its index isn't known."""
    index: int | None
    source: NotRequired[str]
    outcome: Literal["FAILED", "TIMED_OUT", "UNPROCESSED", "PENDING", "MISSING"]
    error: str | None
    cause: str | None
    """Only its beginning where :attr:`itemAt` is there."""
    place: NotRequired[str]
    traceback: NotRequired[str]
    output: NotRequired[str]
    child: str | None
    attempt: int
    map: NotRequired[str]
    path: NotRequired[str]
    item: NotRequired[Any]
    itemAt: NotRequired[FailedItemPlace]
    """Instead of :attr:`item` where the message would have more than 200 KiB, or its target takes no such item."""


class CombineEvent(TypedDict):
    """Input of a combine function."""

    run: Run
    items: ItemFile | None
    """The captured items, where there was a capture or an item file."""
    results: ResultsPlace | None
    """None where nothing was captured, so that no map ran."""
    mapRunArn: str | None
    ledger: NotRequired[OutputLedger]
    """Where the run accounts for itself: how many rounds there were, among others."""


class RunOutput(TypedDict):
    """Output of a run."""

    run: Run
    items: ItemFile | None
    results: ResultsPlace | None
    """None where nothing was captured, so that no map ran."""
    mapRunArn: str | None
    ledger: NotRequired[OutputLedger]
    """What became of the items, where the run accounts for itself."""
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
"""What :func:`date_time` takes, for error messages: the same at synthesis and in a run."""


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
