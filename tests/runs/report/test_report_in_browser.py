"""The report in a real browser: nothing runs out of the page, nothing runs, light and dark, wide and phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.runs.report import page
from tests.browser import needs_browser, open_page, scheme, told_by

pytestmark = [pytest.mark.slow, needs_browser]

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

# Written by the page itself once it is laid out, and sent to the page around it, which the browser prints.
PROBE = """
<script>
addEventListener("load", () => {
  const seen = element => getComputedStyle(element);
  const number = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
  const light = ([r, g, b]) => {
    const line = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    return 0.2126 * line(r / 255) + 0.7152 * line(g / 255) + 0.0722 * line(b / 255);
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = seen(at).backgroundColor;
      if (!color.startsWith("rgba")) return color;
    }
    return seen(document.body).backgroundColor;
  };
  const contrast = element => {
    const two = [seen(element).color, behind(element)].map(color => light(number(color)));
    return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
  };
  const texts = [...document.querySelectorAll("h1, h2, h3, p, a, span, b, td, th, pre, code, strong, summary")]
    .filter(element => element.textContent.trim() && element.getClientRects().length);
  const wide = document.documentElement.scrollWidth;
  const told = {
    width: innerWidth,
    over: wide - innerWidth,
    ink: light(number(seen(document.body).color)),
    page: light(number(seen(document.body).backgroundColor)),
    contrast: Math.min(...texts.map(contrast)),
    small: Math.min(...texts.map(element => parseFloat(seen(element).fontSize))),
    charts: [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width),
    out: texts.filter(element => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest("nav"))
      .map(element => element.textContent.slice(0, 40)),
  };
  parent.postMessage(told, "*");
});
</script>
"""
# A browser's window is 500 pixels wide at least, a frame in it as wide as a phone.
FRAME = """<!doctype html><body style="margin:0"><script>
addEventListener("message", event => document.body.setAttribute("data-told", JSON.stringify(event.data)));
</script><iframe src="report.html" style="border:0;width:%dpx;height:3000px"></iframe></body>"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390], ids=["wide", "phone"])
def test_report_fits_and_can_be_read(report: page.RunReport, width: int, *, dark: bool, tmp_path: Path) -> None:
    text = page.render(report)
    assert POLICY.search(text)
    text = POLICY.sub("", text).replace("</body>", f"{PROBE}</body>").replace("<details>", "<details open>")
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME % width, encoding="utf-8")
    shot = tmp_path / "report.png"
    options = (scheme(dark=dark), f"--window-size={max(width, 500)},3000", f"--screenshot={shot}")
    told = told_by(open_page(tmp_path / "frame.html", *options))
    assert told["width"] == width
    assert told["over"] <= 0
    assert told["out"] == []
    assert len(told["charts"]) == 5
    assert min(told["charts"]) > 250
    assert max(told["charts"]) < width
    assert (told["page"] < 0.1, told["ink"] > 0.7) == (dark, dark)
    assert told["contrast"] >= 4.5  # WCAG AA
    assert told["small"] >= 12
    assert shot.stat().st_size > 5_000


def test_nothing_that_gets_into_the_page_runs(distmap: Callable[..., Any], finished: Any, tmp_path: Path) -> None:
    """Even markup that got past the escaping would not run: the page forbids it to itself."""
    path = tmp_path / "report.html"
    assert distmap("report", "Squares", "first", "-o", str(path)).code in {0, 4}
    evil = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"
    path.write_text(path.read_text(encoding="utf-8").replace("</main>", f"{evil}</main>"), encoding="utf-8")
    assert "<title>first · distmap</title>" in open_page(path)
