"""Functions of the stack Shards: a map inside a map, and a join after a join.

Each shard has parts; each part gives a list of numbers that is larger than a state's output may be. The parts of a
shard are joined, then the shards are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypedDict

from distmap import Result, combine_results, process_items


class Part(TypedDict):
    """An item of the inner map: where a part's numbers begin, and how many there are."""

    seed: int
    size: int


class Statistics(TypedDict):
    """What a join returns."""

    count: int
    total: float
    largest: float


@process_items
def part(item: Part) -> list[float]:
    """Return the numbers of a part: some 20 bytes each, so that 20,000 of them exceed 256 KiB."""
    source = random.Random(item["seed"])  # noqa: S311 - sample data
    return [source.random() for _ in range(item["size"])]


@combine_results
def join_parts(results: Iterable[Result]) -> Statistics:
    """Join the parts of one shard."""
    joined: Statistics = {"count": 0, "total": 0.0, "largest": 0.0}
    for result in results:
        numbers = result.value
        joined["count"] += len(numbers)
        joined["total"] += sum(numbers)
        joined["largest"] = max(joined["largest"], *numbers)
    return joined


@combine_results
def join_shards(results: Iterable[Result]) -> Statistics:
    """Join the shards: the value of each is the output of its inner map, whose join is under ``combined``."""
    joined: Statistics = {"count": 0, "total": 0.0, "largest": 0.0}
    for result in results:
        shard: Statistics = result.value["combined"]
        joined["count"] += shard["count"]
        joined["total"] += shard["total"]
        joined["largest"] = max(joined["largest"], shard["largest"])
    return joined
