"""The page of a plan."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import needs_browser, open_page, scheme, told_by
from tests.cli.command import Outcome

# Written by the page itself once it is laid out; the browser prints the document with it.
PROBE = """
<script>
addEventListener("load", () => {
  const seen = element => getComputedStyle(element);
  const number = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  const told = {
    width: innerWidth,
    over: document.documentElement.scrollWidth - innerWidth,
    ink: light(number(seen(document.body).color)),
    page: light(number(seen(document.body).backgroundColor)),
    charts: [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
    cards: document.querySelectorAll(".card").length,
  };
  document.body.setAttribute("data-told", JSON.stringify(told));
});
</script>
"""


@pytest.fixture
def page(distmap: Callable[..., Outcome], assembly: Path, tmp_path: Path) -> Path:
    file = tmp_path / "plan.html"
    arguments = ("Squares", "--items", "20000", "--item-seconds", "0.05", "--item-p99", "0.2")
    outcome = distmap("plan", *arguments, "--assembly", str(assembly), "--html", str(file))
    assert outcome.code == 0, outcome.err
    return file


class Tags(HTMLParser):
    """Collects the tags that are opened, and checks that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        del attrs
        self.seen.append(tag)


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)

    assert tags.open == []
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert not re.search(r"https?://|url\(", text)
    assert tags.seen.count("svg") == 2
    assert tags.seen.count("circle") > 1
    assert text.count('class="now"') <= 1
    assert "max_concurrency" in text
    assert "20,000 items in 200 Standard children" in text


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 500], ids=["wide", "phone"])
def test_the_page_fits_a_browser(page: Path, width: int, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    # What looks at the page is a script, which the page itself allows none of.
    text = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"{PROBE}</body>")
    page.write_text(text, encoding="utf-8")
    options = (scheme(dark=False), f"--window-size={width},1600", f"--screenshot={tmp_path / 'plan.png'}")
    told = told_by(open_page(page, *options))

    assert told["over"] <= 0
    assert told["cards"] == 3
    assert len(told["charts"]) == 2
    assert min(told["charts"]) > 200
