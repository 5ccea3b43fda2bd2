"""Runs in the guardian's process: see `_guardian`. It imports nothing of the engine, to start fast and stay small."""

import contextlib
import os
import shutil
import signal
import sys


def _end(pid: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)


def main() -> None:
    """Read who is to be watched until the engine has gone, then clear up."""
    watched = set()
    for line in sys.stdin:
        if line.startswith("+"):
            watched.add(int(line[1:]))
        elif line.startswith("-"):
            watched.discard(int(line[1:]))
    for pid in watched:
        _end(pid)
    if len(sys.argv) > 1:
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
