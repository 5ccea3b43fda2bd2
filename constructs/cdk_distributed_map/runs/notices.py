"""Progress notices about what takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_FIRST_SECONDS: Final = 2.0
_SECONDS: Final = 5.0


class ProgressNotice:
    """Counts how far something is, and says so: after two seconds, and every five from then on.

    Args:
        notice: Called with the message. None: there are no notices.
        message: Returns it for how much has been done.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        notice: Callable[[str], None] | None,
        message: Callable[[int], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notice = notice
        self._message = message
        self._clock = clock
        self._next = clock() + _FIRST_SECONDS
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, amount: int) -> None:
        """Note that more has been done; S3's transfers do so from several threads."""
        with self._lock:
            self._done += amount
            now = self._clock()
            if self._notice is None or now < self._next:
                return
            self._next = now + _SECONDS
            text = self._message(self._done)
        self._notice(text)


def megabytes(number: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{number / 1e6:,.0f} MB"
