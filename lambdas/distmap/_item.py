"""The item that is being processed: its identity, for logs and idempotency."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from distmap._errors import ItemContextError
from distmap._identity import identifier_of
from distmap.wire import Run


@dataclass(frozen=True, slots=True)
class Item:
    """The identity of the item that is being processed.

    .. versionadded:: 0.1.0
    """

    index: int | None
    """Position of the item in its source, from 0; None for an unidentified item."""
    source: str | None
    """Where it was read, ``s3://bucket/key``, where the map reads several files; else None."""
    run: Run | None
    """The run it belongs to; None for an unidentified item."""
    batch_input: dict[str, Any]
    """What the map's batch input holds beside our own part; empty where there is none."""

    @property
    def key(self) -> str:
        """What identifies the item everywhere and forever: the ARN of the run that had it first, and its index.

        In a retry that is the run at the beginning of the chain. Inside a nested map the indexes of the items around
        it are in it too.

        Raises:
            ItemContextError: The item is unidentified: the map sent neither its index nor its run.
        """
        if self.index is None or self.run is None:
            message = "an unidentified item has no key: let the map send items in their envelope (index, value and run)"
            raise ItemContextError(message)
        return f"{self.run.get('firstRun', self.run['id'])}{self.run['path']}/{identifier_of(self.index, self.source)}"


class Output(Protocol):
    """What an item has printed and logged: see :mod:`distmap._output`."""

    def add(self, text: str) -> None:
        """Add a piece."""

    def text(self) -> str:
        """Return the end of it."""


class ItemSlot:
    """Where the loop notes which item it is at. Setting an attribute is far cheaper than a context variable."""

    __slots__ = ("batch_input", "index", "output", "run", "source")

    def __init__(
        self, run: Run | None, batch_input: dict[str, Any], index: int | None = None, source: str | None = None
    ) -> None:
        """Begin with no item."""
        self.run = run
        self.batch_input = batch_input
        self.index = index
        self.source = source
        self.output: Output | None = None  # what it has printed and logged, where that is kept


slot_of_thread: ContextVar[ItemSlot] = ContextVar("distmap_item")


def current_item() -> Item:
    """Return the identity of the item that the calling function is processing.

    .. versionadded:: 0.1.0

    Raises:
        ItemContextError: No item is being processed.
    """
    try:
        slot = slot_of_thread.get()
    except LookupError:
        message = (
            "no item is being processed here: call it inside a function decorated with @process_items, in the thread "
            "that runs it (or in one started with contextvars.copy_context().run)"
        )
        raise ItemContextError(message) from None
    return Item(slot.index, slot.source, slot.run, slot.batch_input)


def item_key() -> str:
    """Return what identifies the current item everywhere and forever, as an idempotency key must.

    It is the ARN of the root execution, the indexes of the items around this one where maps are nested, and the
    item's index: the same in every attempt, redrive and duplicate delivery of one run, and in its retries and theirs
    (``distmap retry``), different in another run.

    .. versionadded:: 0.1.0

    Raises:
        ItemContextError: No item is being processed, or it is an unidentified one.
    """
    return current_item().key
