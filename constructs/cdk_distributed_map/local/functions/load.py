"""Whether the machine has time to spare."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from cdk_distributed_map.local.functions.settings import CPUS

SPARE_SHARE: Final = 0.15
_SPAN_SECONDS: Final = 0.2
_STAT: Final = Path("/proc/stat")


class Load:
    """Looks at how busy the CPUs are: on Linux over the last fifth of a second, elsewhere by the load average."""

    def __init__(self) -> None:
        self._times = _cpu_times()
        self.looked_at = time.monotonic()
        """When it last looked."""
        self._spare = True

    def look(self) -> None:
        """Take another look; does nothing where the last one was just now."""
        now = time.monotonic()
        if now - self.looked_at < _SPAN_SECONDS:
            return
        self.looked_at = now
        before, self._times = self._times, _cpu_times()
        if before is not None and self._times is not None:
            total = self._times[1] - before[1]
            self._spare = total > 0 and (self._times[0] - before[0]) / total >= SPARE_SHARE
        elif hasattr(os, "getloadavg"):
            self._spare = os.getloadavg()[0] < CPUS

    def has_time(self) -> bool:
        """Say whether one more process would find a CPU."""
        return self._spare


def _cpu_times() -> tuple[int, int] | None:
    """Return the ticks that all CPUs spent idle, and altogether; None where the kernel doesn't tell."""
    try:
        fields = [int(field) for field in _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    # Waiting for a disk is idle too: proc(5).
    return fields[3] + fields[4], sum(fields)
