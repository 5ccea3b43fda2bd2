"""Batching: how many items one child gets.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from constructs import Construct

from cdk_distributed_map.settings import checks, expressions, kinds
from distmap import limits, wire


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Batching:
    """Groups items, so that one child processes many: it dominates both the cost and the speed of a run.

    The batch closes at whichever limit comes first, and in any case at 256 KiB of input.

    Args:
        max_items: Most items of a batch: a whole number, a JSONPath or JSONata. Default: as many as fit.
        max_bytes: Most bytes of a batch's input, up to 262,144: likewise. Default: 262,144.
        batch_input: JSON that every batch gets beside its items; paths inside it as ``JsonPath.string_at(...)`` or
            under a key ending in ``.$``. Default: nothing beyond what the runtime needs.

    Raises:
        ValueError: Neither limit is given, one is out of bounds, or ``batch_input`` uses the key ``distmap``.
    """

    max_items: float | str | None = None
    max_bytes: float | str | None = None
    batch_input: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.max_items is None and self.max_bytes is None:
            raise ValueError("batching needs max_items, max_bytes or both, got neither")
        checks.whole_number("batching max_items", self.max_items, least=1, most=limits.MAX_ITEMS)
        checks.whole_number(
            "batching max_bytes",
            self.max_bytes,
            least=1,
            most=limits.MAX_BATCH_BYTES,
            unit="bytes",
            remedy="a child's input is at most 256 KiB; put larger items into S3 and pass their keys",
        )
        size = len(json.dumps(self.batch_input or {}, default=str).encode())
        if size >= limits.MAX_BATCH_BYTES:
            raise ValueError(
                f"batch_input has {size:,} bytes, a child's input at most {limits.MAX_BATCH_BYTES:,} with its items: "
                "put it into S3 and pass its key"
            )
        if wire.BATCH_INPUT_KEY in {str(key).removesuffix(".$") for key in self.batch_input or {}}:
            raise ValueError(f"batch_input must not use the key {wire.BATCH_INPUT_KEY!r}, which is the runtime's")

    def render(self, scope: Construct, *, run: Any | None) -> dict[str, Any]:
        """Return ItemBatcher; ``run`` is put in for workers that get the envelope."""
        batcher: dict[str, Any] = {}
        if self.max_items is not None:
            batcher["MaxItemsPerBatch"] = expressions.number(scope, self.max_items, name="batching max_items")
        if self.max_bytes is not None:
            batcher["MaxInputBytesPerBatch"] = expressions.number(scope, self.max_bytes, name="batching max_bytes")
        batch_input = expressions.template(scope, self.batch_input or {}, name="batch_input")
        if run is not None:
            batch_input = {wire.BATCH_INPUT_KEY: {"run": run}, **batch_input}
        return {**batcher, "BatchInput": batch_input} if batch_input else batcher
