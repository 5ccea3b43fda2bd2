"""Items whose function waits: the event loop of ``async def`` functions, and the time limit of one item."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar

from distmap._errors import DistmapError, ItemTimeout

_T = TypeVar("_T")
_AGAIN_SECONDS: Final = 1.0
"""How soon an item is interrupted again that took the interruption for an error of its own."""


class EventLoop:
    """One event loop for all invocations of a process: what a function keeps between them may belong to it."""

    def __init__(self) -> None:
        """Make none yet: a cold start pays for it only where a function is ``async``."""
        self._runner: Any = None

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end."""
        if self._runner is None:
            import asyncio  # noqa: PLC0415 - see __init__

            self._runner = asyncio.Runner()
        # The caller's own context variables reach the items.
        try:
            result: _T = self._runner.run(coroutine, context=copy_context())
        except (KeyboardInterrupt, SystemExit):
            # They leave the loop with tasks in it, which would raise them once more in the next invocation.
            runner, self._runner = self._runner, None
            with suppress(BaseException):
                runner.close()
            raise
        return result


event_loop: Final = EventLoop()


def check_item_timeout(item_timeout: float | None) -> None:
    """Check a time limit that a user set.

    Raises:
        TypeError: It is no number.
        ValueError: It isn't over 0, or more than a timer takes.
    """
    if item_timeout is None:
        return
    if isinstance(item_timeout, bool) or not isinstance(item_timeout, (int, float)):
        message = f"item_timeout must be a number of seconds, got {item_timeout!r}"
        raise TypeError(message)
    if item_timeout >= threading.TIMEOUT_MAX:
        message = (
            f"item_timeout must be below {threading.TIMEOUT_MAX:,.0f} seconds, got {item_timeout!r}; None sets no limit"
        )
        raise ValueError(message)
    if not item_timeout > 0:
        message = f"item_timeout must be over 0 seconds, got {item_timeout!r}; None sets no limit"
        raise ValueError(message)


def timed_out(seconds: float) -> ItemTimeout:
    """Return the error of an item that took too long."""
    return ItemTimeout(f"the item took longer than its {seconds:g} s")


class Alarm(AbstractContextManager["Alarm"]):
    """Interrupts items that take too long, by a signal, which Python delivers to the main thread alone."""

    def __init__(self, seconds: float) -> None:
        """Take the limit of each item."""
        self._seconds = seconds
        self._armed = False

    def __enter__(self) -> Alarm:
        """Begin to listen.

        Raises:
            DistmapError: This isn't the main thread, or the system has no such signal.
        """
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            message = (
                "item_timeout interrupts an item by a signal, which only the main thread of Linux and macOS gets: call "
                "the handler there, make the function async def, or leave item_timeout out"
            )
            raise DistmapError(message)
        self._before = signal.signal(signal.SIGALRM, self._ring)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave everything as it was."""
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def limit(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return ``call`` with the limit on it."""

        def limited(value: Any) -> Any:
            self._armed = True
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, self._seconds, _AGAIN_SECONDS)
                    return call(value)
                finally:
                    self._armed = False
            finally:
                # The signal may have come before the line above.
                self._armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)

        return limited

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            raise timed_out(self._seconds)


def limited_coroutine(call: Callable[[Any], Any], seconds: float | None) -> Callable[[Any], Any]:
    """Return a coroutine function with a limit on it: the item is cancelled where it waits, until it ends."""
    if seconds is None:
        return call
    import asyncio  # noqa: PLC0415 - see EventLoop

    async def limited(value: Any) -> Any:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - as in any coroutine that is awaited
        before, rings = task.cancelling(), 0

        def ring() -> None:
            nonlocal rings
            rings += 1
            task.cancel()
            timers.append(loop.call_later(_AGAIN_SECONDS, ring))

        timers = [loop.call_later(seconds, ring)]
        try:
            return await call(value)
        except asyncio.CancelledError as error:
            if rings and task.cancelling() - rings <= before:
                raise timed_out(seconds) from error
            raise
        finally:
            timers[-1].cancel()
            for _ in range(rings):
                task.uncancel()

    return limited
