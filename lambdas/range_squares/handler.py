"""Worker and combiner of the stack Ranges: squares over the ranges that the built-in capture made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

from distmap import Result, combine_results, process_items


class Range(TypedDict("RangeFrom", {"from": int})):
    """An item: a range, which ends before ``to``."""

    to: int


class Squares(TypedDict):
    """A result."""

    sum: int


@process_items
def handler(item: Range) -> Squares:
    """Return the sum of the squares of a range."""
    return {"sum": sum(number * number for number in range(item["from"], item["to"]))}


@combine_results
def combine(results: Iterable[Result]) -> dict[str, int]:
    """Return the sum over all ranges, and how many there were."""
    ranges = failed = total = 0
    for result in results:
        if not result.succeeded:
            failed += 1
            continue
        ranges, total = ranges + 1, total + result.value["sum"]
    return {"ranges": ranges, "failed": failed, "sum": total}
