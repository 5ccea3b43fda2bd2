"""Runs in the guardian's process: see `_guardian`. It imports nothing of the engine, to start fast and stay small.

A process of a function may have started others in sessions of their own, which no group holds together. They have its
environment, and with it the name of the engine's temporary folder, which no other process on this machine has: by that
they are found, where the system tells the environment of processes.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

_PASSES = 100


def _end(pid: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)


def _end_all_of(folder: str) -> None:
    """End every process whose environment names a folder, and those that they start meanwhile."""
    for _ in range(_PASSES):
        found = False
        for process in Path("/proc").glob("[0-9]*"):
            # They come and go meanwhile, and some are somebody else's.
            with contextlib.suppress(OSError):
                if folder.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)
                    found = True
        if not found:
            return


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
        _end_all_of(sys.argv[1])
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
