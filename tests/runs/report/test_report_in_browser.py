"""The report in a real browser: nothing runs out of the page, light and dark, wide and phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium on PATH: apt-get install chromium"),
]

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


def look(page: Path, *, width: int, dark: bool, shot: Path) -> dict[str, Any]:
    """Open the page and return what it measured of itself, with a picture of it."""
    import html
    import json

    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += [f"--user-data-dir={shot.parent / 'profile'}", f"--window-size={width},1600", f"--screenshot={shot}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", "--virtual-time-budget=2000"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else ["--blink-settings=preferredColorScheme=1"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r'data-told="([^"]*)"', done.stdout)
    assert found is not None, done.stderr
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 500], ids=["wide", "phone"])
def test_report_fits_and_can_be_read(
    width: int, scheme: str, distmap: Callable[..., Any], finished: Any, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert distmap("report", "Squares", "first", "-o", str(page)).code == 0
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    shot = tmp_path / "report.png"
    dark = scheme == "dark"
    told = look(page, width=width, dark=dark, shot=shot)
    assert told["width"] == width
    assert told["over"] <= 0
    assert len(told["charts"]) == 3
    assert min(told["charts"]) > 200
    assert max(told["charts"]) < width
    assert (told["page"] < 60, told["ink"] > 180) == (dark, dark)
    assert shot.stat().st_size > 5_000
