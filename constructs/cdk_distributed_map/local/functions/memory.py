"""How much memory a process holds and held at most."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
MEGABYTE = 1024 * 1024


class MemoryMeter:
    """Reads the memory of one process, in MB.

    Linux tells it in ``/proc``, peaks included. Elsewhere psutil tells the present use where it is installed;
    without it nothing is measured, and no limit is enforced.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._status = -1
        self._statm = -1
        self._reset = -1
        self._other: Any = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
                self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
                self._reset = os.open(f"/proc/{pid}/clear_refs", os.O_WRONLY)
            return
        with contextlib.suppress(ImportError, OSError):
            psutil = import_module("psutil")
            with contextlib.suppress(psutil.Error):
                self._other = psutil.Process(pid)

    def reset_peak(self) -> None:
        """Measure the peak anew from here on, where the platform can."""
        if self._reset >= 0:
            with contextlib.suppress(OSError):
                # 5 resets the high water mark: proc_pid_clear_refs(5).
                os.write(self._reset, b"5")

    def peak(self) -> float | None:
        """Return the most it held since the last reset; None where the platform doesn't tell."""
        if self._status < 0:
            return self.now()
        with contextlib.suppress(OSError, ValueError):
            text = os.pread(self._status, 4096, 0)
            start = text.index(b"VmHWM:") + 6
            return int(text[start : text.index(b"kB", start)]) / 1024
        return None

    def now(self) -> float | None:
        """Return what it holds; None where the platform doesn't tell, or the process has ended."""
        if self._statm >= 0:
            with contextlib.suppress(OSError, ValueError, IndexError):
                return int(os.pread(self._statm, 256, 0).split()[1]) * PAGE / MEGABYTE
        if self._other is not None:
            try:
                return float(self._other.memory_info().rss) / MEGABYTE
            except Exception:  # noqa: BLE001 - psutil's own errors; the process has ended
                return None
        return None

    def close(self) -> None:
        """Let go of the process."""
        for handle in (self._status, self._statm, self._reset):
            if handle >= 0:
                os.close(handle)
        self._status = self._statm = self._reset = -1
        self._other = None
