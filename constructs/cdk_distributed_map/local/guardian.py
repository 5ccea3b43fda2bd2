"""Sees to it that nothing survives the engine, however the engine ends.

A small process of its own reads from a pipe that only the engine holds open. When the pipe closes, be it that the
engine closed it, crashed or was killed, it ends every process group it was told about and removes the engine's
temporary folder. Kernels that end children with their parent end neither grandchildren nor, outside Linux, anything.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path


class GuardianError(RuntimeError):
    """The guardian has ended before its engine."""


class Guardian:
    """Watches over the processes of an engine.

    Args:
        scratch: Folder to remove in the end; None for none.
    """

    def __init__(self, *, scratch: Path | None = None) -> None:
        command = [sys.executable, "-S", "-E", str(Path(__file__).with_name("guardian_main.py"))]
        if scratch is not None:
            command.append(str(scratch))
        # A session of its own: what is sent to the engine's terminal must not end it before its work is done.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            GuardianError: It has ended.
        """
        code = self._process.poll()
        if code is not None:
            message = (
                f"the guardian, process {self.pid}, has ended with code {code}: without it a crash leaves processes"
            )
            raise GuardianError(message)

    def watch(self, pid: int) -> None:
        """End a process, which must lead its group, with the engine."""
        self._tell(f"+{pid}\n")

    def release(self, pid: int) -> None:
        """Stop watching a process that has ended."""
        self._tell(f"-{pid}\n")

    def close(self) -> None:
        """End what is still watched, and the guardian."""
        with self._lock, contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._process.stdin is None or self._process.stdin.closed:
                return
            # Of one that was killed nobody hears here, as a process is on its way; whoever watches the engine does.
            with contextlib.suppress(BrokenPipeError):
                # One write, so that a line is there whole or not at all.
                os.write(self._process.stdin.fileno(), line.encode())
