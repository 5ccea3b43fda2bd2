"""ItemBatcher: from items to the inputs of children."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import Flow
from cdk_distributed_map.local.asl.json_text import dumps, encoded, size
from cdk_distributed_map.local.errors import DATA_LIMIT, StateError, UnsupportedError, runtime
from cdk_distributed_map.local.states.number_rules import NumberField
from distmap import limits

_FIELDS = frozenset(
    {"MaxItemsPerBatch", "MaxItemsPerBatchPath", "MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath", "BatchInput"}
)


class Batcher:
    """Groups items into inputs, each at most a number of items and of bytes.

    The bytes are those of the child's whole input, as UTF-8 JSON.

    Args:
        max_items: Most items in a batch, None for no limit.
        max_bytes: Most bytes of a batch.
        batch_input: JSON text of what every batch carries, None without it.
    """

    def __init__(self, *, max_items: int | None, max_bytes: int, batch_input: str | None) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        head = "{" if batch_input is None else f'{{"BatchInput":{batch_input},'
        self._head = encoded(head + '"Items":[')
        self._base = len(self._head) + len("]}")
        self._texts: list[bytes] = []
        self._bytes = self._base

    def add(self, texts: Iterable[str]) -> Iterator[tuple[bytes, int]]:
        """Take items and return the batches that they complete.

        Raises:
            StateError: An item doesn't fit into any batch.
        """
        for text in texts:
            data = encoded(text)
            length = len(data)
            if self._base + length > self._max_bytes:
                raise StateError(
                    DATA_LIMIT,
                    f"An item of {length} bytes does not fit into a batch of at most {self._max_bytes} bytes.",
                    hidden_from_all=True,
                )
            comma = 1 if self._texts else 0
            if self._texts and self._bytes + comma + length > self._max_bytes:
                yield self._batch()
                comma = 0
            self._texts.append(data)
            self._bytes += comma + length
            if len(self._texts) == self._max_items:
                yield self._batch()

    def rest(self) -> Iterator[tuple[bytes, int]]:
        """Return the last batch, if there is one."""
        if self._texts:
            yield self._batch()

    def _batch(self) -> tuple[bytes, int]:
        batch = self._head + b",".join(self._texts) + b"]}", len(self._texts)
        self._texts = []
        self._bytes = self._base
        return batch


class Unbatched:
    """One item for each child, as it is."""

    def add(self, texts: Iterable[str]) -> Iterator[tuple[bytes, int]]:
        """Return an input for each item.

        Raises:
            StateError: An item is over the payload limit.
        """
        for text in texts:
            data = encoded(text)
            if len(data) > limits.MAX_PAYLOAD_BYTES:
                raise StateError(
                    DATA_LIMIT,
                    f"An item of {len(data)} bytes exceeds the maximum input of {limits.MAX_PAYLOAD_BYTES} bytes: "
                    "select less of it with ItemSelector.",
                    hidden_from_all=True,
                )
            yield data, 1

    def rest(self) -> Iterator[tuple[bytes, int]]:
        """Return nothing."""
        return iter(())


class BatcherField:
    """A compiled ItemBatcher.

    Args:
        state: Name of the state.
        fields: Its fields.
        language: Its query language.
        flow: Its data flow.
    """

    def __init__(self, state: str, fields: Mapping[str, Any], language: str, flow: Flow) -> None:
        unknown = sorted(set(fields) - _FIELDS)
        if unknown:
            raise UnsupportedError(
                f"state {state!r} has {unknown[0]!r} in ItemBatcher: use {', '.join(sorted(_FIELDS))}"
            )
        if not set(fields) - {"BatchInput"}:
            raise UnsupportedError(f"state {state!r}: ItemBatcher needs MaxItemsPerBatch or MaxInputBytesPerBatch")
        self._items = NumberField(state, fields, "MaxItemsPerBatch", language)
        self._bytes = NumberField(state, fields, "MaxInputBytesPerBatch", language)
        self._input = flow.template(fields["BatchInput"], "ItemBatcher/BatchInput") if "BatchInput" in fields else None

    def open(self, evaluation: EvaluationContext) -> Batcher:
        """Return a batcher for one map run.

        Raises:
            StateError: A number is out of its range.
        """
        most_items, most_bytes = self._items.get(evaluation), self._bytes.get(evaluation)
        for name, value in (("MaxItemsPerBatch", most_items), ("MaxInputBytesPerBatch", most_bytes)):
            if value is not None and value < 0:
                raise runtime(f"{name} must not be negative but was: {value}")
        if most_bytes is not None and most_bytes > limits.MAX_BATCH_BYTES:
            raise runtime(f"MaxInputBytesPerBatch must be at most {limits.MAX_BATCH_BYTES} but was: {most_bytes}")
        batch_input = None if self._input is None else dumps(self._input(evaluation))
        if batch_input is not None and size(batch_input) > limits.MAX_BATCH_BYTES:
            raise StateError(DATA_LIMIT, "BatchInput exceeds the maximum input of a child.", hidden_from_all=True)
        # 0 is AWS's way of leaving a limit out, as with MaxItems and MaxConcurrency.
        return Batcher(
            max_items=most_items or None, max_bytes=most_bytes or limits.MAX_BATCH_BYTES, batch_input=batch_input
        )
