"""Runs a page as a reader would: its files are written and its commands run, in order, in one shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_MARK = "@@ block "
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What differs from one run of a page to another.
_VARIES = (
    (re.compile(r"^time of an item: .*\n", re.MULTILINE), ""),
    (re.compile(r"\b(?:\d+m)?\d+(?:\.\d+)? ?s\b(?!\w)"), "1s"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:4566"),
    (re.compile(r"\bprocess \d+"), "process 1"),
    (re.compile(r"-\d{8}-\d{6}-\w{5}\b"), "-20261121-143005-k7m2p"),
    (re.compile(r"(?<=-)[0-9a-f]{13}\b"), "0f3ef9c0fdca8"),
    (re.compile(r"(?<=-)[0-9A-F]{13}\b"), "E13109CFF3F18"),
    (re.compile(r"^\d+ feature flags"), "85 feature flags"),
    (re.compile(r"\b[\d,.]+ items/s"), "100 items/s"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?"), "2026-06-30 22:00:00"),
    (re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}"), "AKIAEXAMPLE"),
    (re.compile(r"/[\w./-]+/(?=squares|orders|images|project)"), "~/"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)
# A terminal of 80 columns as rich knows it, of which the last frame of a live display is kept.
TERMINAL = {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0", "TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "1"}


class Block(NamedTuple):
    """A block of a page."""

    language: str
    title: str
    code: str


class Printed(NamedTuple):
    """What a block of commands printed, how it ended, and what the page says that it prints."""

    code: str
    output: str
    exit_code: int
    documented: str | None


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def same_each_time(output: str) -> str:
    """Return an output without what differs from one run to another."""
    for pattern, instead in _VARIES:
        output = pattern.sub(instead, output)
    return output.strip()


def run_page(
    page: Path, folder: Path, environment: Mapping[str, str], *, before: Mapping[str, str] | None = None
) -> list[Printed]:
    """Run a page in a folder; return what each of its blocks of commands printed.

    Args:
        page: The page.
        folder: Where its first command runs.
        environment: The whole environment.
        before: Commands that stand for what a reader has before a block, such as an account, by its first line.
    """
    script, blocks = ["exec 2>&1", "set -u"], blocks_of(page)
    commands: list[tuple[str, str | None]] = []
    for number, block in enumerate(blocks):
        if block.title:
            script.append(f"mkdir -p \"$(dirname '{block.title}')\"")
            script.append(f"cat > '{block.title}' <<'END OF THE FILE'\n{block.code}END OF THE FILE")
        elif block.language == "sh":
            script.append((before or {}).get(block.code.splitlines()[0], ""))
            script += [f"echo '{_MARK}{len(commands)}'", block.code, f'echo; echo "{_MARK}ended $?"']
            shown = blocks[number + 1] if number + 1 < len(blocks) else None
            commands.append((block.code, shown.code if shown is not None and shown.language == "text" else None))
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", "\n".join(script)],
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    seen = _ESCAPES.sub("", done.stdout)
    found = re.findall(rf"^{_MARK}(\d+)\n(.*?)^{_MARK}ended (\d+)$", seen, re.MULTILINE | re.DOTALL)
    assert len(found) == len(commands), seen
    return [
        Printed(code, output, int(status), documented)
        for (_, output, status), (code, documented) in zip(found, commands, strict=True)
    ]


def reprinted(page: Path, printed: list[Printed]) -> str:
    """Return the text of a page with what its blocks of commands print now."""
    text, at = page.read_text(encoding="utf-8"), 0
    for block in printed:
        at = text.index(f"```sh\n{block.code}```\n", at) + len(block.code)
        if block.documented is not None:
            at = text.index("```text\n", at) + len("```text\n")
            output = re.sub(r"[ \t]+$", "", block.output.strip(), flags=re.MULTILINE)
            text = f"{text[:at]}{output}\n{text[at + len(block.documented) :]}"
    return text


def clean_environment(path: str, home: Path) -> dict[str, str]:
    """Return an environment that knows nothing of this checkout but how packages are fetched here."""
    fetching = ("PIP_", "UV_", "NPM_", "npm_", "SSL_", "REQUESTS_", "NODE_EXTRA_")
    proxies = {"http_proxy", "https_proxy", "no_proxy"}
    kept = {name: value for name, value in os.environ.items() if name.startswith(fetching) or name.lower() in proxies}
    return {**kept, **TERMINAL, "HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
