"""The recorded session of docs/cli.md happens again as it was recorded."""

from __future__ import annotations

import html
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def record() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distmap_docs_record", DOCS / "record.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawn(record: ModuleType) -> tuple[str, str]:
    text, picture = record.draw(record.session())
    return text, picture


def words(picture: str) -> str:
    """The letters of a picture, in the order of its lines."""
    texts = re.findall(r"<text [^>]*clip-path[^>]*>(.*?)</text>", picture)
    return "".join("".join(html.unescape(each).split()) for each in texts)


@pytest.mark.slow
def test_session_is_as_recorded(drawn: tuple[str, str]) -> None:
    assert drawn[0] == (DOCS / "session.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_picture_shows_the_session(drawn: tuple[str, str]) -> None:
    recorded = (DOCS / "session.svg").read_text(encoding="utf-8")
    assert words(recorded) == "".join(drawn[0].split())
    assert words(recorded) == words(drawn[1])


def test_picture_asks_no_network() -> None:
    recorded = (DOCS / "session.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"')]+", recorded)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in recorded


def test_session_tells_failures_and_how_they_were_made_good() -> None:
    text = (DOCS / "session.txt").read_text(encoding="utf-8")
    assert "55 + 5 + 0 + 0 + 0 = 60 of 60 captured" in text
    assert "60 + 0 + 0 + 0 + 0 = 60 of 60 captured" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_differs_from_run_to_run_is_masked_and_nothing_else(record: ModuleType) -> None:
    assert record.mask("june  SUCCEEDED  2m07s\n60 items, 7s\n") == "june  SUCCEEDED  1s\n60 items, 7s\n"
    measured = "time of an item: median {}, p99 {}, most {} (item {}); memory {} MB"
    assert record.mask(measured.format("1us", "2ms", "3s", 4, 5)) == measured.format("4ms", "50ms", "50ms", 0, 90)
    item = '{"bucket": "data-0123456789abc", "key": "a-b.json", "etag": "0123456789abc", "lastModified": "%s"}'
    masked = item.replace("0123456789abc", "0f3ef9c0fdca8", 1) % "2026-06-30T22:00:00Z"
    assert record.mask(item % "2026-11-28T21:12:38Z") == masked


def test_fails_when_a_command_ends_otherwise_than_it_should(record: ModuleType) -> None:
    with pytest.raises(SystemExit, match="ended with code 3 instead of 0"):
        record.execute("python -c 'raise SystemExit(3)'", code=0, environment={"PATH": ""})
