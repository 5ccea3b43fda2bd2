"""A clock that doesn't wait: minutes of backoff pass at once when nothing real is running.

The engine's event loop asks the clock before it would block. While an operation outside the engine is under way
(a Lambda invocation, an S3 call, a task waiting for its token) time passes as it does; otherwise the clock jumps to
the earliest sleeper. No library has this for a loop that also does real input and output: those that exist either
freeze time or skip over running operations.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_PURGE_AT: Final = 1_024
GRACE_SECONDS: Final = 0.01
_LONGEST_WAIT: Final = 3_600.0


class Timer:
    """A call that is due at some time.

    Args:
        callback: What is called.
    """

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Don't call."""
        self.callback = None

    def fire(self) -> None:
        """Call, once."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class _Outside:
    """Counts the operations outside the engine. One object for all: a generator for each takes longer to make."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations = 0

    def __enter__(self) -> None:
        self.operations += 1

    def __exit__(self, *_: object) -> None:
        self.operations -= 1


class Clock:
    """Time of the engine.

    Args:
        virtual: Whether waits pass at once when nothing real is running. Default: they do.
    """

    _grace = GRACE_SECONDS

    def __init__(self, *, virtual: bool = True) -> None:
        self.virtual = virtual
        self._offset = time.time() - time.monotonic()
        self._sleepers: list[tuple[float, int, Timer]] = []
        self._ids = itertools.count()
        self._outside = _Outside()
        self._purge_at = _PURGE_AT

    def now(self) -> float:
        """Return seconds since the epoch, skipped waits included."""
        return time.monotonic() + self._offset

    async def sleep(self, seconds: float) -> None:
        """Wait in the engine's time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if future.done() else future.set_result(None))
        try:
            await future
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call back in the engine's time, unless the timer is cancelled before."""
        if len(self._sleepers) >= self._purge_at:
            # Timers of tasks that ended in time: without this there would be one for each child of a long map.
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[2].callback is not None]
            heapq.heapify(self._sleepers)
            self._purge_at = max(_PURGE_AT, 2 * len(self._sleepers))
        timer = Timer(callback)
        heapq.heappush(self._sleepers, (self.now() + seconds, next(self._ids), timer))
        return timer

    def real(self) -> AbstractContextManager[object]:
        """Mark an operation outside the engine: until it ends, time is not skipped."""
        return self._outside

    def invocation(self) -> AbstractContextManager[object]:
        """Mark an invocation of a function: a process of its own, for which time passes as it does."""
        return self.real()

    def next_due(self) -> float | None:
        """Return the seconds until the earliest sleeper, 0 where the clock can jump to it; None without sleepers."""
        earliest = self._earliest()
        if earliest is None:
            return None
        due = earliest - self.now()
        if due > 0 and self.virtual and not self._outside.operations:
            self._offset += due
            return 0
        return max(due, 0)

    def _earliest(self) -> float | None:
        """Return when the earliest sleeper is due; None without sleepers."""
        while self._sleepers and self._sleepers[0][2].callback is None:
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def wake(self) -> None:
        """Wake the sleepers whose time has come, those due within a blink with them."""
        now = self.now() + self._grace
        while self._sleepers and self._sleepers[0][0] <= now:
            heapq.heappop(self._sleepers)[2].fire()


class SimulatedClock(Clock):
    """A clock that only jumps: what the engine itself takes, on a slow machine perhaps, is no time.

    For runs in which everything that takes time waits on this clock, so that the same seed gives the same times.
    """

    _grace = 0.0

    def __init__(self) -> None:
        super().__init__(virtual=True)
        self._now = time.time()

    def now(self) -> float:
        """Return seconds since the epoch, by the last jump."""
        return self._now

    def invocation(self) -> AbstractContextManager[object]:
        """Mark nothing: what functions take is waited for on this clock."""
        return nullcontext()

    def next_due(self) -> float | None:
        """Jump to the earliest sleeper and return 0; None without sleepers, or while something real is under way."""
        earliest = self._earliest()
        if earliest is None or self._outside.operations:
            return None
        self._now = max(self._now, earliest)
        return 0


class ClockSelector(selectors.DefaultSelector):
    """The selector of the engine's loop, which lets the clock jump where the loop would block.

    Args:
        clock: The clock.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; waits no longer than until the earliest sleeper."""
        if timeout is not None and timeout <= 0:
            self._clock.wake()
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        due = self._clock.next_due()
        if due is not None and due <= 0:
            self._clock.wake()
            return ready
        if due is not None:
            # A selector takes no wait of a year.
            timeout = min(_LONGEST_WAIT, due if timeout is None else min(timeout, due))
        ready = super().select(timeout)
        self._clock.wake()
        return ready


def new_loop(clock: Clock) -> asyncio.AbstractEventLoop:
    """Return an event loop that runs on the clock."""
    return asyncio.SelectorEventLoop(ClockSelector(clock))


def iso(seconds: float) -> str:
    """Return a time as Step Functions writes it: ``2026-11-21T02:17:31.123Z``."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03d}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
