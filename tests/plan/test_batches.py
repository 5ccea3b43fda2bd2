from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.plan import batch_size

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("items", "options", "size"),
    [
        (MILLION, {}, 200),
        (None, {}, 200),
        (0, {}, 1),
        (1_000, {}, 5),
        (MILLION, {"item_seconds": 0.05, "timeout": 60}, 1_100),
        (MILLION, {"item_seconds": 1, "express": True}, 295),
        (None, {"item_seconds": 1, "timeout": 10}, 9),
        (None, {"max_items": 1_000}, 1_000),
        (100 * MILLION, {"concurrency": 10_000, "item_seconds": 0.001}, 10_000),
        (MILLION, {"timeout": 1, "item_seconds": 5}, 1),
    ],
    ids=["million", "unknown", "none", "few", "told", "express", "unknown-told", "most", "all-at-once", "too-slow"],
)
def test_size_of_automatic_batches(items: int | None, options: dict[str, Any], size: int) -> None:
    assert batch_size(items, **{"concurrency": 100, **options}) == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": -1}, "items must be at least 0, got -1"),
        ({"concurrency": 0}, "concurrency must be at least 1, got 0"),
        ({"max_items": 0}, "max_items must be at least 1, got 0"),
        ({"item_seconds": 0}, "times must be over 0 seconds, got 900 and 0"),
    ],
    ids=["items", "concurrency", "most", "seconds"],
)
def test_fails_when_a_number_of_a_plan_is_out_of_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch_size(**{"items": 1, "concurrency": 1, **options})
