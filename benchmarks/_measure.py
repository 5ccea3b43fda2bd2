"""Runs each candidate of a benchmark in a process of its own and tells how long it took and how much memory it had."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MEMORY_LIMIT_BYTES = 12 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a process did."""

    seconds: float
    peak_bytes: int
    ok: bool
    said: str
    """Its last line, JSON where it is one of ours."""

    @property
    def answer(self) -> dict[str, float]:
        """What it answered."""
        answer: dict[str, float] = json.loads(self.said)
        return answer

    @property
    def peak_mib(self) -> float:
        """Peak of its resident memory."""
        return self.peak_bytes / 1024**2


def run(command: list[str], *, environment: dict[str, str] | None = None, limit: int | None = None) -> Measured:
    """Run a command to its end, alone.

    Args:
        command: What to run.
        environment: What to add to the environment.
        limit: Address space it may have, in bytes, so that a candidate that needs too much dies and not the machine.
            Default: no limit.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),  # noqa: PLW1509 - the child only sets its own limit
    )
    assert process.stdout is not None  # noqa: S101 - they are pipes
    assert process.stderr is not None  # noqa: S101
    out, err = process.stdout.read(), process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    lines = (out if process.returncode == 0 else err).strip().splitlines() or [f"exit {process.returncode}"]
    return Measured(seconds=seconds, peak_bytes=used.ru_maxrss * 1024, ok=process.returncode == 0, said=lines[-1])


def machine() -> str:
    """Say which machine this is."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{model}, {os.cpu_count()} cores, {pages / 1024**3:.0f} GiB, {platform.system()}, {python}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def progress(text: str) -> None:
    """Say what is being measured."""
    sys.stderr.write(f"  {text} ...\n")
    sys.stderr.flush()
