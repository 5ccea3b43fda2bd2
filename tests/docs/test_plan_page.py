"""The page on plans: its figures are what the planner says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdk_distributed_map.plan import Platform, Setting, Times, Work, dollars_text, make_bill, seconds_of, seconds_text
from cdk_distributed_map.prices import Prices

pytestmark = pytest.mark.checkout

TEXT = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
WORK = Work(items=1_000_000, times=Times.of(0.05))
SETTINGS = [
    Setting(batch=batch, express=express, concurrency=concurrency)
    for batch, express, concurrency in (
        (1, False, 100), (1, True, 100), (100, False, 100), (100, True, 100), (100, True, 1_000), (1_000, False, 1_000),
    )
]  # fmt: skip


def row(setting: Setting) -> str:
    time = seconds_text(seconds_of(WORK, setting, Platform()))
    cost = dollars_text(make_bill(WORK, setting, platform=Platform(), price=Prices()).total)
    kind = "Express" if setting.express else "Standard"
    return f"| {setting.batch:,} | {kind} | {setting.concurrency:,} | {time} | {cost} |"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: f"{each.batch}-{each.express}-{each.concurrency}")
def test_a_figure_is_the_planners(setting: Setting) -> None:
    assert row(setting) in TEXT.splitlines()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("standard_starts", "60 to 100 a second"),
        ("express_starts", "500 to 1,000 a second"),
        ("rows", "14,000 to 30,000 a second"),
        ("listed", "3,000 to 6,000 a second"),
        ("start_seconds", "0.5 to 2 s"),
        ("end_seconds", "3.5 to 6.5 s"),
    ],
)
def test_a_range_is_the_planners(name: str, words: str) -> None:
    found = getattr(Platform(), name)
    low, high = (float(each.replace(",", "")) for each in re.findall(r"[\d.,]+\d|\d", words))

    assert (found.low, found.high) == (low, high)
    assert words in TEXT


LIMITS = ("reading", "starts", "transitions", "concurrency", "function", "cold starts", "stragglers", "fixed seconds")


@pytest.mark.parametrize("name", [*LIMITS, "children"])
def test_each_limit_that_a_plan_names_is_explained(name: str) -> None:
    assert f"| `{name}` |" in TEXT
