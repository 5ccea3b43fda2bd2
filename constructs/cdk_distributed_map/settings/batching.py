"""Batching: how many items one child gets.

https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from constructs import Construct

from cdk_distributed_map.settings import batch_size, checks, expressions, kinds
from cdk_distributed_map.settings.batch_size import MapLoad, Term
from distmap import limits, wire


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class Batching:
    """Groups items, so that one child processes many: it dominates both the cost and the speed of a run.

    The batch closes at whichever limit comes first, and in any case at 256 KiB of input. :meth:`automatic` computes
    the limit when a run starts, :meth:`none` gives each child a single item.

    .. versionadded:: 0.1.0

    Args:
        max_items: Maximum number of items in a batch: a whole number, a JSONPath or JSONata. Default: as many as fit.
        max_bytes: Maximum size of a batch's input in bytes, up to 262,144. Default: 262,144.
        batch_input: JSON that every batch gets beside its items; paths inside it as ``JsonPath.string_at(...)`` or
            under a key ending in ``.$``. Default: nothing beyond what the runtime needs.

    Raises:
        ValueError: Neither limit is given, one is out of bounds, or ``batch_input`` uses the key ``distmap``.
    """

    max_items: float | str | None = None
    max_bytes: float | str | None = None
    batch_input: Mapping[str, Any] | None = None

    @staticmethod
    @kinds.checked
    def automatic(
        *,
        item_seconds: float | str | None = None,
        item_count: float | str | None = None,
        max_items: float | str | None = None,
        max_bytes: float | str | None = None,
        batch_input: Mapping[str, Any] | None = None,
        ledger: str | None = None,
    ) -> Batching:
        """Batches whose size is computed when a run starts (the default for handlers with ``process_items``).

        Small enough that every child that may run at once gets two batches, and that a batch ends before its function
        does; otherwise as large as that allows, since each child costs a start. The number of items is known of
        captured items, of an array in the input and of an item file; of other sources ``item_count`` tells it.

        Numbers are literals, a JSONPath or JSONata.

        Args:
            item_seconds: Seconds that an item takes, best one that few exceed, such as the 99th percentile; where a
                batch's items are in work on several threads, its share of that. The batch then fits the function's
                timeout (five minutes in an Express child) less what ``process_items`` keeps for its answer: a tenth of
                it, at most five seconds. Default: an item is taken to need a quarter of a second, and a batch has at
                most 200 items.
            item_count: Number of items, where the source doesn't tell it. Default: not known; a batch then has at most
                200 items.
            max_items: Maximum number of items in a batch. Default: as above.
            max_bytes: Most bytes of a batch's input, up to 262,144. Default: 262,144.
            batch_input: As in :class:`Batching`.
            ledger: Path of a former run's ``ledger.json``, such as ``distmap ledger RUN --json`` writes: its
                ``itemSeconds`` are taken for ``item_seconds``, as they are at synthesis. Default: none.

        Raises:
            ValueError: A number is out of bounds, ``ledger`` is given beside ``item_seconds``, or isn't a ledger that
                tells how long an item took.
        """
        if ledger is not None:
            if item_seconds is not None:
                raise ValueError(f"batching takes item_seconds or ledger, got {item_seconds!r} and {ledger!r}")
            item_seconds = _seconds_of(ledger)
        return AutomaticBatching(
            item_seconds=item_seconds,
            item_count=item_count,
            max_items=max_items,
            max_bytes=max_bytes,
            batch_input=batch_input,
        )

    @staticmethod
    @kinds.checked
    def none() -> Batching:
        """No batches: each child gets a single item, which costs most (the default of workers that aren't ours)."""
        return SingleItems()

    def __post_init__(self) -> None:
        if self.max_items is None and self.max_bytes is None:
            raise ValueError("batching needs max_items, max_bytes or both, got neither")
        self._check()

    def _check(self) -> None:
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

    def render(self, scope: Construct, *, run: Any | None, load: MapLoad) -> dict[str, Any]:
        """Return ItemBatcher; ``run`` is put in for workers that get the envelope."""
        batcher: dict[str, Any] = {}
        size = self._size(scope, load)
        if size is not None:
            batcher["MaxItemsPerBatch"] = size
        if self.max_bytes is not None:
            batcher["MaxInputBytesPerBatch"] = expressions.number(scope, self.max_bytes, name="batching max_bytes")
        batch_input = expressions.template(scope, self.batch_input or {}, name="batch_input")
        if run is not None:
            batch_input = {wire.BATCH_INPUT_KEY: {"run": run}, **batch_input}
        return {**batcher, "BatchInput": batch_input} if batch_input else batcher

    def _size(self, scope: Construct, load: MapLoad) -> float | str | None:
        """Return MaxItemsPerBatch."""
        del load
        return None if self.max_items is None else expressions.number(scope, self.max_items, name="batching max_items")


@dataclass(frozen=True, kw_only=True)
class SingleItems(Batching):
    """No batches."""

    def __post_init__(self) -> None:
        """Need no limits."""


@dataclass(frozen=True, kw_only=True)
class AutomaticBatching(Batching):
    """Batches whose size is computed when a run starts."""

    item_seconds: float | str | None = None
    item_count: float | str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        self._check()
        checks.whole_number("batching item_count", self.item_count, least=0, most=limits.MAX_ITEMS)
        checks.positive("batching item_seconds", self.item_seconds, unit="seconds")

    def _size(self, scope: Construct, load: MapLoad) -> float | str:
        seconds = None
        if self.item_seconds is not None:
            name = "batching item_seconds"
            seconds = batch_size.term(expressions.number(scope, self.item_seconds, name=name))
            seconds = batch_size.positive(seconds, name=name) if isinstance(seconds, str) else seconds
            _check_fits(seconds, load.seconds)
        return batch_size.size(
            load,
            item_seconds=seconds,
            item_count=_term(scope, self.item_count, name="batching item_count", least=0),
            max_items=_term(scope, self.max_items, name="batching max_items", least=1),
            max_bytes=None if self.max_bytes is None or not checks.is_known(self.max_bytes) else float(self.max_bytes),
        )


def _seconds_of(ledger: str) -> float:
    """Return how long an item took in the run of a ledger.

    Raises:
        ValueError: It doesn't tell.
    """
    remedy = "give the ledger.json of a run that succeeded (distmap ledger RUN --json), or item_seconds"
    try:
        document = json.loads(Path(ledger).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"batching ledger {ledger!r} can't be read: {error.strerror}; {remedy}") from error
    except ValueError as error:
        raise ValueError(f"batching ledger {ledger!r} is no JSON: {error}; {remedy}") from error
    seconds: Any = document.get("itemSeconds") if isinstance(document, dict) else None
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        raise ValueError(f"batching ledger {ledger!r} doesn't tell how long an item took, got {seconds!r}; {remedy}")
    return float(seconds)


def _check_fits(item: Term, time: Term | None) -> None:
    """Check that a child can do at least one item.

    Raises:
        ValueError: It can't.
    """
    if isinstance(item, str) or time is None or isinstance(time, str):
        return
    fitting = batch_size.items_in(time, item)
    if isinstance(fitting, str) or fitting > 0:
        return
    raise ValueError(
        f"batching item_seconds is {item:g}, but a child has {time:g} s, of which the worker keeps a tenth, at most "
        f"{limits.WORKER_RESERVE_MOST_SECONDS:g} s, for its answer: not even one item would be done, so raise the "
        "function's timeout"
    )


def _term(scope: Construct, value: float | str | None, *, name: str, least: int) -> Term | None:
    if value is None:
        return None
    return batch_size.term(expressions.number(scope, value, name=name, bounds=(least, limits.MAX_ITEMS)))
