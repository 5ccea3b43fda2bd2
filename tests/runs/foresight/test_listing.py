"""How many objects a listing has: exact where it is short, close where it is long, with some requests."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

import pytest

from cdk_distributed_map.runs.foresight.listing import Entry, Page, estimate

SIZE = 100


def listed(keys: Iterable[str]) -> tuple[Callable[[str, str], Page], list[str]]:
    """Return pages as S3 has them, and where each began."""
    ordered = sorted(keys)
    asked: list[str] = []

    def page(prefix: str, after: str) -> Page:
        asked.append(after)
        first = max(bisect_right(ordered, after), bisect_left(ordered, prefix))
        end = bisect_left(ordered, prefix + "\U0010ffff")
        return Page([Entry(key, SIZE, {}) for key in ordered[first : min(end, first + 1_000)]], first + 1_000 < end)

    return page, asked


def hashed(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


LAYOUTS: dict[str, Callable[[], list[str]]] = {
    "numbers": lambda: [f"data/item-{number:07d}.json" for number in range(60_000)],
    "numbers without zeros": lambda: [f"data/{number}.json" for number in range(60_000)],
    "hashes": lambda: [hashed(number)[:16] for number in range(60_000)],
    "days": lambda: [
        f"logs/2026/{month:02}/{day:02}/{hashed(100 * month + day)[:8]}-{number:03}.gz"
        for month in range(1, 13)
        for day in range(1, 29)
        for number in range(150)
    ],
    "two folders": lambda: [f"{folder}/{number:05}.png" for folder in ("cats", "zebras") for number in range(30_000)],
    "letters beyond ASCII": lambda: [f"{letter}{number:05}" for letter in "äéøß日" for number in range(8_000)],
}


@pytest.mark.parametrize("keys", LAYOUTS.values(), ids=LAYOUTS)
def test_a_long_listing_is_estimated_by_some_of_its_pages(keys: Callable[[], list[str]]) -> None:
    made = keys()
    page, asked = listed(made)
    found = estimate(page, "")

    assert found.objects == pytest.approx(len(made), rel=0.1)
    assert found.bytes == SIZE * found.objects
    assert not found.exact
    assert len(asked) < 300


@pytest.mark.parametrize("number", [0, 1, 999, 1_000, 1_001, 20_000])
def test_a_short_listing_is_counted(number: int) -> None:
    page, asked = listed([*(f"a/{each:06}" for each in range(number)), "b"])
    found = estimate(page, "a/")

    assert (found.objects, found.bytes, found.exact) == (number, SIZE * number, True)
    assert len(asked) <= 1 + number // 1_000


def test_an_estimate_is_the_same_each_time() -> None:
    keys = [hashed(number) for number in range(30_000)]

    assert estimate(listed(keys)[0], "").objects == estimate(listed(keys)[0], "").objects
