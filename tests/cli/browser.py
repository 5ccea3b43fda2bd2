"""The page of a plan in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["BROWSER", "PROBE", "look"]

BROWSER = shutil.which("chromium")

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
