"""The report: one page with everything in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from cdk_distributed_map.runs.report import page as page_module

VOID = {"meta", "br", "rect"}


class Page(HTMLParser):
    """Checks that every tag is closed, and keeps what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID - {"rect"}:
            self.open.append(tag)
        given = dict(attrs)
        if tag in {"script", "link", "img", "iframe"}:
            self.fetched.append(str(given.get("src") or given.get("href")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(distmap: Callable[..., Any], finished: Any, tmp_path: Any) -> str:
    told = distmap("report", "Squares", "first", "-o", str(tmp_path / "report.html"))
    assert (told.code, told.out.strip()) == (0, str(tmp_path / "report.html"))
    text: str = (tmp_path / "report.html").read_text(encoding="utf-8")
    return text


def test_page_is_whole_and_fetches_nothing(page: str) -> None:
    parsed = Page()
    parsed.feed(page)
    assert parsed.open == []
    assert parsed.fetched == []
    assert not re.search(r"url\(|@import", page)
    for words in ("items captured", "Every item is accounted for", "Throughput", "Concurrency", "Durations"):
        assert words in parsed.text
    assert "prefers-color-scheme: dark" in page
    assert re.search(r"<rect [^>]*height=\"140.0\"", page)  # the largest bar fills its chart


def test_concurrency_is_that_of_the_children_however_wide_the_bars_are() -> None:
    """Many short children in one bar are not at work at once."""
    origin = datetime(2026, 11, 25, tzinfo=UTC)
    busy = page_module.Timeline(origin)
    for second in range(600):  # two at once, of a second each, for ten minutes: in bars of eight seconds
        for _ in range(2):
            busy.spread(origin + timedelta(seconds=second), origin + timedelta(seconds=second + 1))
    busy.spread(origin + timedelta(seconds=100), origin + timedelta(seconds=500))
    levels = [amount / busy.width for amount in busy.used()]
    assert busy.width == 8.0
    assert levels[:12] == [2.0] * 12
    assert levels[13:62] == [3.0] * 49
    assert sum(busy.sums) == pytest.approx(1600)


def test_page_escapes_what_users_wrote(
    squares: Any, states: Any, files: Callable[..., Any], distmap: Callable[..., Any], tmp_path: Any
) -> None:
    states.add_run(squares.arn, "evil", label="Squares", items=1, seconds=0, failed=1)
    writer = files(squares, "evil")
    writer.items([1])
    writer.child([(0, 1)], "FAILED", error="<script>alert(1)</script>", cause="<b>bold</b>")
    writer.write()
    assert distmap("report", "Squares", "evil", "-o", str(tmp_path / "out.html")).code == 0
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>bold</b>" not in text


@pytest.mark.parametrize(
    ("most", "text"), [(0.0312, "0.03"), (0.5, "0.5"), (1.0, "1"), (12.34, "12.3"), (2500.0, "2,500")]
)
def test_most_of_a_chart_is_not_told_as_nothing(most: float, text: str) -> None:
    assert page_module.short_number(most) == text
