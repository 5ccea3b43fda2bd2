"""From a source of items to the inputs of children: read in a thread, selected and batched on the loop."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.asl.templates import Template
from cdk_distributed_map.local.distributed.batcher import Batcher, Unbatched
from cdk_distributed_map.local.distributed.formats import CHUNK
from cdk_distributed_map.local.distributed.reader import Chunk
from cdk_distributed_map.local.distributed.reader_errors import ReaderError, failed
from cdk_distributed_map.local.execution.services import Services

_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def item_text(item: Json) -> str:
    """Return an item as JSON text.

    Raises:
        ReaderError: JSON can't say it.
    """
    try:
        return _ENCODE(item)
    except RecursionError as error:
        raise failed("an item is nested too deeply") from error
    except ValueError as error:
        raise failed("an item has a number that JSON can't say, such as 1e400") from error


def state_data(items: Json) -> Iterator[Chunk]:
    """Return items of the state's input in chunks."""
    keyed = isinstance(items, Mapping)
    values = [{"Key": key, "Value": value} for key, value in items.items()] if isinstance(items, Mapping) else items
    for at in range(0, len(values), CHUNK):
        yield Chunk("STATE_DATA", values[at : at + CHUNK], keyed)


class Feed:
    """Inputs of children, in blocks.

    Args:
        chunks: Items; each step may block.
        services: What runs what blocks.
        evaluation: What ItemSelector can see.
        selector: ItemSelector, None without one.
        batcher: What groups items.
        max_items: Most items to take.
        blocking: Whether the chunks must be read in a thread.
    """

    def __init__(
        self,
        chunks: Iterator[Chunk],
        *,
        services: Services,
        evaluation: EvaluationContext,
        selector: Template | None,
        batcher: Batcher | Unbatched,
        max_items: int,
        blocking: bool,
    ) -> None:
        self._chunks = chunks
        self._services = services
        self._batcher = batcher
        self._left = max_items
        self._blocking = blocking
        self._index = 0
        self._by_file = services.faults.strikes("index_by_file")
        self._source = ""
        self._item: dict[str, Any] = {}
        # One context for all items: each selection is turned into text before the next item replaces it.
        self._evaluation = evaluation.with_context({**evaluation.context, "Map": {"Item": self._item}})
        self._selector = None if selector is None else selector.frozen(evaluation)
        self._finished = False

    def __aiter__(self) -> Feed:
        """Return itself."""
        return self

    async def __anext__(self) -> list[tuple[bytes, int]]:
        """Return the next inputs.

        Raises:
            StopAsyncIteration: There are none left.
        """
        while not self._finished:
            chunk = await self._next_chunk() if self._left else None
            if chunk is None:
                self._finished = True
                block = list(self._batcher.rest())
            else:
                block = list(self._batcher.add(self._texts(chunk)))
            if block:
                return block
        raise StopAsyncIteration

    async def _next_chunk(self) -> Chunk | None:
        if self._blocking:
            return await self._services.blocking(lambda: next(self._chunks, None))
        return next(self._chunks, None)

    def _texts(self, chunk: Chunk) -> Iterable[str]:
        try:
            yield from self._selected(chunk)
        except ReaderError as error:
            raise error.at(chunk.source, only=False) from error

    def _selected(self, chunk: Chunk) -> Iterable[str]:
        items = chunk.items
        if self._by_file and chunk.source != self._source:
            self._source, self._index = chunk.source, 0
        if len(items) > self._left:
            items = items[: self._left]
        self._left -= len(items)
        if self._selector is None:
            self._index += len(items)
            yield from map(item_text, items)
            return
        described, select, evaluation = self._item, self._selector.evaluate, self._evaluation
        described["Source"] = chunk.source
        for item in items:
            described["Index"] = self._index
            if chunk.keyed:
                described["Key"], described["Value"] = item["Key"], item["Value"]
            else:
                described["Value"] = item
            self._index += 1
            yield item_text(select(evaluation))
