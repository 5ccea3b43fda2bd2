"""The events that Step Functions sends to a worker, taken apart and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from distmap._errors import EventError
from distmap._identity import identifier_of
from distmap.wire import BATCH_INPUT_KEY, Envelope, Run

_EXPECTED: Final = (
    "process_items takes what a distributed map sends to a child: a batch {'BatchInput': {'distmap': {'run': ...}}, "
    "'Items': [{'index', 'value'}, ...]}, a single enveloped item {'index', 'value', 'run'}, an item without an "
    "envelope, or a batch {'Items': [...]} of such items"
)
_RUN_KEYS: Final = ("id", "name", "bucket", "prefix", "path")
_OTHER_EVENTS: Final = (
    ({"input", "run", "key", "capture", "continuation"}, "a capture function's"),
    ({"run", "items", "results", "mapRunArn"}, "a combine function's"),
    ({"run", "items", "results", "mapRunArn", "ledger"}, "a combine function's"),
    (
        {"run", "items", "results", "mapRunArn", "redriveCount", "account", "continuation"},
        "an account function's",
    ),
)


class Work(NamedTuple):
    """What one child has to do."""

    kind: Literal["batch", "envelope", "item"]
    values: list[Any]
    indexes: list[int] | None
    """None for unidentified items."""
    sources: list[str | None] | None
    """Where each of them was read: None for unidentified items, and where the map reads one file."""
    run: Run | None
    """None for unidentified items."""
    batch_input: dict[str, Any]
    """The user's part of the batch input."""

    def identifiers(self) -> list[str]:
        """Return what names each item in the answer: an unidentified one is named by its position in the batch."""
        if self.indexes is None:
            return list(map(str, range(len(self.values))))
        if self.sources is None:
            return list(map(str, self.indexes))
        return [identifier_of(index, source) for index, source in zip(self.indexes, self.sources, strict=True)]


def read_work(event: Any) -> Work:
    """Take a worker's event apart.

    Raises:
        EventError: It is nothing that a distributed map sends.
    """
    if not isinstance(event, dict):
        if event is None or isinstance(event, (str, int, float, bool, list)):
            return Work("item", [event], None, None, None, {})
        message = f"{_EXPECTED}; got a {type(event).__name__}, which no JSON text gives"
        raise EventError(message)
    if "BatchInput" in event or ("Items" in event and len(event) == 1):
        return _read_batch(event)
    if is_envelope(event) and isinstance(event["run"], dict) and "prefix" in event["run"]:
        run = check_run(event["run"], _EXPECTED)
        return Work("envelope", [event["value"]], *_identities(_enveloped([event])), run, {})
    _refuse_other_events(event)
    return Work("item", [event], None, None, None, {})


def check_run(run: Any, expected: str) -> Run:
    """Return ``run`` if it is one.

    Args:
        run: What came.
        expected: How a right event looks, for the message.

    Raises:
        EventError: It is not the identity of a run.
    """
    if not isinstance(run, dict) or not all(isinstance(run.get(key), str) for key in _RUN_KEYS):
        message = f"{expected}; got a run that lacks one of the texts {', '.join(_RUN_KEYS)}: {run!r:.200}"
        raise EventError(message)
    if not isinstance(run.get("firstRun", ""), str):
        message = f"{expected}; got a run whose firstRun is no text: {run!r:.200}"
        raise EventError(message)
    return run  # type: ignore[return-value] # just checked


def _read_batch(event: dict[str, Any]) -> Work:
    items = event.get("Items")
    unknown = sorted(event.keys() - {"BatchInput", "Items"})
    if not isinstance(items, list) or not items or unknown:
        found = f"the unknown keys {', '.join(unknown)}" if unknown else f"Items: {items!r:.200}"
        message = f"{_EXPECTED}; got a batch with {found}"
        raise EventError(message)
    batch_input = event.get("BatchInput", {})
    if not isinstance(batch_input, dict):
        message = f"{_EXPECTED}; got BatchInput: {batch_input!r:.200}"
        raise EventError(message)
    if BATCH_INPUT_KEY not in batch_input:
        return Work("batch", items, None, None, None, batch_input)
    ours = batch_input[BATCH_INPUT_KEY]
    run = check_run(ours.get("run") if isinstance(ours, dict) else ours, _EXPECTED)
    theirs = {key: value for key, value in batch_input.items() if key != BATCH_INPUT_KEY}
    envelopes = _enveloped(items)
    return Work("batch", [item["value"] for item in envelopes], *_identities(envelopes), run, theirs)


def _enveloped(items: list[Any]) -> list[Envelope]:
    for position, item in enumerate(items):
        if not isinstance(item, dict) or "index" not in item or "value" not in item:
            message = f"{_EXPECTED}; got no envelope at position {position} of Items: {item!r:.200}"
            raise EventError(message)
    return items


def _identities(items: list[Envelope]) -> tuple[list[int], list[str | None] | None]:
    indexes = [item["index"] for item in items]
    for index in indexes:
        # bool is an int to Python, and JSON's true is no index.
        if type(index) is not int or index < 0:
            message = f"{_EXPECTED}; got an index that is no integer from 0: {index!r:.200}"
            raise EventError(message)
    sources = [item.get("source") for item in items] if any("source" in item for item in items) else None
    for source in sources or ():
        if source is not None and not isinstance(source, str):
            message = f"{_EXPECTED}; got a source that is no text: {source!r:.200}"
            raise EventError(message)
    identities: Sequence[object] = indexes if sources is None else list(zip(sources, indexes, strict=True))
    if len(set(identities)) != len(identities):
        twice = next(
            index for index, identity in zip(indexes, identities, strict=True) if identities.count(identity) > 1
        )
        message = f"{_EXPECTED}; got two items with index {twice} in one batch, which must tell them apart"
        raise EventError(message)
    return indexes, sources


def is_envelope(event: dict[str, Any]) -> bool:
    """Whether a child's input is a single item in its envelope."""
    return event.keys() - {"source"} == {"index", "value", "run"}


def _refuse_other_events(event: dict[str, Any]) -> None:
    for keys, whose in _OTHER_EVENTS:
        if event.keys() == keys:
            message = f"{_EXPECTED}; got {whose} event: this function is wired into the wrong place"
            raise EventError(message)
    records = event.get("Records")
    if isinstance(records, list) and records and isinstance(records[0], dict):
        source = records[0].get("eventSource", records[0].get("EventSource"))
        if source is not None:
            message = f"{_EXPECTED}; got records of {source}: this function is the target of an event source"
            raise EventError(message)
