"""Times and amounts are said in one form, wherever they stand."""

from __future__ import annotations

import pytest

from cdk_distributed_map.amounts import dollars_text, seconds_text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *[(None, "-"), (0, "0s"), (2.91e-6, "2.91us"), (0.0009996, "1ms"), (0.0484, "48.4ms"), (0.9996, "1s")],
        *[(1.53, "1.53s"), (9.99, "9.99s"), (42.4, "42s"), (59.6, "1m00s"), (200, "3m20s"), (3_599.7, "1h00m")],
        *[(3_900, "1h05m"), (86_399.9, "1d00h"), (183_600, "2d03h")],
    ],
    ids=str,
)
def test_times_are_said_in_their_unit(seconds: float | None, said: str) -> None:
    assert seconds_text(seconds) == said


@pytest.mark.parametrize(
    ("dollars", "said"),
    [(None, "-"), (0, "$0"), (0.00005, "$0.0000500"), (0.0123, "$0.0123"), (12.3, "$12.30"), (1234.5, "$1,234")],
    ids=str,
)
def test_small_sums_are_not_told_as_nothing(dollars: float | None, said: str) -> None:
    assert dollars_text(dollars) == said
