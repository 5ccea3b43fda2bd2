"""How much time is left, and how much the next item is likely to take."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any, Final

# What was slow once may be slow again, and a function that is ended at its deadline loses its whole batch. After 45
# pieces half of it is forgotten, or one outlier would keep the end of a long batch from being done.
_FORGETTING: Final = 63 / 64


class Deadline:
    """The moment when an invocation must stop taking work, and the time one more piece of work is expected to take.

    That is the time of the slowest piece lately. What was begun before any piece had ended (the first one, or the first
    one of each thread) often loads what all others use, a model or a client: it counts only until one that was begun
    later has ended.

    Attributes:
        ends: That moment, on the clock of ``time.monotonic``; infinite where the context has no deadline.
        reserve: Seconds kept for what comes after the work.
        at_start: Seconds that were left at the start; infinite where the context has no deadline.
        expected: Seconds that the next piece of work is expected to take; 0 until one was measured.
    """

    __slots__ = ("_first_ended", "_knows_usual", "at_start", "ends", "expected", "reserve")

    def __init__(
        self,
        context: Any,
        *,
        reserve: float | None,
        share: float,
        most: float,
    ) -> None:
        """Read the deadline from the Lambda context.

        Args:
            context: The Lambda context, or None where there is none, as in a plain call from a test.
            reserve: Seconds to keep; None keeps ``share`` of the time left now, but never over ``most`` seconds.
            share: See ``reserve``.
            most: See ``reserve``.
        """
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        self.at_start: float = inf if remaining is None else remaining() / 1000
        self.reserve: float = min(self.at_start * share, most) if reserve is None else reserve
        self.ends: float = monotonic() + self.at_start - self.reserve
        self.expected: float = 0.0
        self._first_ended = inf
        self._knows_usual = False

    def learn(self, started: float, ended: float) -> None:
        """Take a finished piece of work into account.

        Args:
            started: When it began, on the clock of ``time.monotonic``.
            ended: When it ended.
        """
        seconds = ended - started
        if self._knows_usual:
            if started >= self._first_ended:
                remembered = self.expected * _FORGETTING
                self.expected = seconds if seconds > remembered else remembered  # max() takes three times as long
        elif self._first_ended == inf:
            self._first_ended, self.expected = ended, seconds
        elif started >= self._first_ended:
            self._knows_usual, self.expected = True, seconds
        else:
            self.expected = max(seconds, self.expected)

    def is_near(self) -> bool:
        """Whether another piece of work would not end in time."""
        return monotonic() + self.expected >= self.ends


def check_reserve(reserve_seconds: float | None) -> None:
    """Check a reserve that a user set.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative.
    """
    if reserve_seconds is not None and (
        isinstance(reserve_seconds, bool) or not isinstance(reserve_seconds, (int, float))
    ):
        message = f"reserve_seconds must be a number of seconds, got {reserve_seconds!r}"
        raise TypeError(message)
    if reserve_seconds is not None and not reserve_seconds >= 0:
        message = f"reserve_seconds must be 0 or more, got {reserve_seconds!r}"
        raise ValueError(message)


class Endless(Deadline):
    """A deadline that never comes, for what must be done in one piece."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, reserve=0, share=0, most=0)
