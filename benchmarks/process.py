"""What ``process_items`` costs for an item, beside a bare loop over the same items.

The last column is what types cost: the same function of a dataclass, less that of a dict. Where an item failed is
looked up once it has, and the times of items are read off the deadline's clock: both are in the overhead already.

python benchmarks/process.py
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

REPEATS = 15
SIZES = (1, 100, 1_000, 4_000)  # more would be spilled to S3, which is another matter
RUN = {
    "id": "arn:aws:states:us-east-1:000000000000:execution:b:r",
    "name": "r",
    "bucket": "b",
    "prefix": "runs/r",
    "path": "",
}


@dataclass
class Number:
    """An item as a type."""

    n: int
    of: str


def square_typed(item: Number) -> int:
    """Do the same for an item as a type."""
    return item.n**2


def square(item: dict[str, Any]) -> int:
    """Do as good as nothing."""
    squared: int = item["n"] ** 2
    return squared


def bare(event: dict[str, Any], _context: object = None) -> list[int]:
    """Loop as a handler would that lets the first bad item fail the batch."""
    return [square(item["value"]) for item in event["Items"]]


def best(handler: Callable[..., Any], event: dict[str, Any], calls: int) -> float:
    """Return the best of several timings, in microseconds for an item."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for _ in range(calls):
            handler(event, None)
        times.append(time.perf_counter() - started)
    return min(times) / calls / len(event["Items"]) * 1e6


def main() -> None:
    """Measure and print the table."""
    from _measure import machine, progress, table  # noqa: PLC0415

    from distmap import process_items  # noqa: PLC0415

    handler, typed, rows = process_items(square), process_items(square_typed), []
    for size in SIZES:
        progress(f"batches of {size:,}")
        items = [{"index": at, "value": {"n": at, "of": "it"}} for at in range(size)]
        event = {"BatchInput": {"distmap": {"run": RUN}}, "Items": items}
        calls = max(1, 20_000 // size)
        # The runtime logs a line for each batch, as it does in Lambda; it need not be seen here.
        with redirect_stdout(io.StringIO()):
            without, with_ = best(bare, event, calls), best(handler, event, calls)
            as_type = best(typed, event, calls)
            serialized = best(lambda given, _context: json.dumps(bare(given)), event, calls)
        rows.append([f"{size:,}", f"{without:.2f}", f"{serialized:.2f}", f"{with_:.2f}", f"{with_ - without:.2f}"])
        rows[-1].append(f"{as_type - with_:.2f}")
    header = [
        "items of a batch",
        "bare loop, us",
        "and json.dumps, us",
        "process_items, us",
        "overhead, us for an item",
        "typed item, us more",
    ]
    sys.stdout.write(f"{machine()}\n\n{table(header, rows)}\n")


if __name__ == "__main__":
    main()
