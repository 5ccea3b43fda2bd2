"""What ``process_items`` costs for an item, beside a bare loop over the same items.

The last four columns are what parts of that cost. Timing: noting the time of an item, and adding up those of a batch.
Types: the same function of a dataclass, less that of a dict. Places cost an item nothing that succeeds, since no code
looks for one before an item has failed; the last column is an item that failed and whose place was looked up.

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

from distmap._measures import measure

REPEATS = 40
SIZES = (1, 100, 1_000, 4_000)  # more would be spilled to S3, which is another matter
MOST_FAILURES = 500  # likewise
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


def failing(item: dict[str, Any]) -> int:
    """Fail as good as at once."""
    raise ValueError(item["n"])


def timing(event: dict[str, Any], _context: object = None) -> object:
    """Note and add up the times of items, and nothing else, as the loop of a batch does it."""
    seconds: list[float | None] = [None] * len(event["Items"])
    identifiers = event["identifiers"]
    for position in range(len(seconds)):
        seconds[position] = position * 1e-6 - 0.5e-6
    return measure(seconds, identifiers)


def loop(event: dict[str, Any], _context: object = None) -> list[int]:
    """Loop as ``timing`` does, without times."""
    return [position for position, _ in enumerate(event["Items"])]


def bare(event: dict[str, Any], _context: object = None) -> list[int]:
    """Loop as a handler would that lets the first bad item fail the batch."""
    return [square(item["value"]) for item in event["Items"]]


def best(measured: dict[str, tuple[Callable[..., Any], dict[str, Any]]], calls: int) -> dict[str, float]:
    """Return the best of several timings of each, in microseconds for an item.

    They take turns, so that what else the machine does in the meantime is as bad for all of them.
    """
    times: dict[str, float] = {}
    for _ in range(REPEATS):
        for name, (handler, event) in measured.items():
            started = time.perf_counter()
            for _ in range(calls):
                handler(event, None)
            taken = time.perf_counter() - started
            times[name] = min(taken, times.get(name, taken))
    return {name: taken / calls / len(measured[name][1]["Items"]) * 1e6 for name, taken in times.items()}


def main() -> None:
    """Measure and print the table."""
    from _measure import machine, progress, table  # noqa: PLC0415

    from distmap import process_items  # noqa: PLC0415

    handler, typed, rows = process_items(square), process_items(square_typed), []
    failed = process_items(fail_at_percentage=None)(failing)
    for size in SIZES:
        progress(f"batches of {size:,}")
        items = [{"index": at, "value": {"n": at, "of": "it"}} for at in range(size)]
        event = {"BatchInput": {"distmap": {"run": RUN}}, "Items": items}
        timed = {"Items": items, "identifiers": [str(each["index"]) for each in items]}
        calls = max(1, 2_000 // size)
        # The runtime logs a line for each batch, as it does in Lambda; it need not be seen here.
        with redirect_stdout(io.StringIO()):
            us = best(
                {
                    "bare": (bare, event),
                    "serialized": (lambda given, _context: json.dumps(bare(given)), event),
                    "processed": (handler, event),
                    "typed": (typed, event),
                    "timing": (timing, timed),
                    "loop": (loop, timed),
                },
                calls,
            )
            some = {**event, "Items": items[:MOST_FAILURES]}
            fails = best({"failed": (failed, some)}, max(1, calls // 20))["failed"]
        timed_us, types = us["timing"] - us["loop"], us["typed"] - us["processed"]
        numbers = (us["bare"], us["serialized"], us["processed"], us["processed"] - us["bare"])
        shown = [f"{each:.2f}" for each in (*numbers, timed_us, types, timed_us + types)]
        rows.append([f"{size:,}", *shown, f"{fails:.1f}"])
    header = [
        "items of a batch",
        "bare loop, us",
        "and json.dumps, us",
        "process_items, us",
        "overhead, us for an item",
        "of that timing, us",
        "typed item, us more",
        "timing, types and places, us",
        "an item that failed, us",
    ]
    sys.stdout.write(f"{machine()}\n\n{table(header, rows)}\n")


if __name__ == "__main__":
    main()
