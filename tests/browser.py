"""A page in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

__all__ = ["needs_browser", "open_address", "open_page", "scheme", "told_by"]

_BROWSER = shutil.which("chromium")
needs_browser = pytest.mark.skipif(_BROWSER is None, reason="needs chromium on PATH: apt-get install chromium")


def open_address(address: str, folder: Path, *options: str) -> str:
    """Open an address with a profile in a folder, and return the document it became."""
    assert _BROWSER is not None
    command = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", *options, address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def open_page(page: Path, *options: str) -> str:
    """Open a file that can reach no host, and return the document it became."""
    alone = ("--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000")
    return open_address(page.as_uri(), page.parent, *alone, *options)


def scheme(*, dark: bool) -> str:
    """Return the option that has pages shown dark or light."""
    return f"--blink-settings=preferredColorScheme={0 if dark else 1}"


def told_by(document: str) -> dict[str, Any]:
    """Return what a probe in a page wrote into the attribute ``data-told`` of its body."""
    found = re.search(r'data-told="([^"]*)"', document)
    assert found is not None, document[-500:]
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told
