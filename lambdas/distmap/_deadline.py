"""How much time is left, and how much the next item is likely to take."""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Any, Final

# RFC 6298, section 2: smoothed mean and deviation of what was measured, and four deviations for safety. It is how
# TCP learns how long to wait for an answer: it adapts in a few samples, and forgets an outlier as quickly.
_MEAN_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 4
_DEVIATIONS: Final = 4


class Deadline:
    """The moment when an invocation must stop taking work, and the time one more piece of work is expected to take.

    Attributes:
        ends: That moment, on the clock of ``time.monotonic``; infinite where the context has no deadline.
        reserve: Seconds kept for what comes after the work.
        at_start: Seconds that were left at the start; infinite where the context has no deadline.
        expected: Seconds that the next piece of work is expected to take; 0 until one was measured.
    """

    __slots__ = ("_deviation", "_mean", "at_start", "ends", "expected", "reserve")

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
        self._mean: float | None = None
        self._deviation = 0.0

    def learn(self, seconds: float) -> None:
        """Take the time of a finished piece of work into account."""
        mean = self._mean
        if mean is None:
            mean = seconds
            self._deviation = seconds / 2
        else:
            self._deviation += (abs(seconds - mean) - self._deviation) * _DEVIATION_GAIN
            mean += (seconds - mean) * _MEAN_GAIN
        self._mean = mean
        self.expected = mean + _DEVIATIONS * self._deviation

    def is_near(self) -> bool:
        """Whether another piece of work would not end in time."""
        return monotonic() + self.expected >= self.ends


def check_reserve(reserve_seconds: float | None) -> None:
    """Check a reserve that a user set.

    Raises:
        ValueError: It is negative.
    """
    if reserve_seconds is not None and not reserve_seconds >= 0:
        message = f"reserve_seconds must be 0 or more, got {reserve_seconds!r}"
        raise ValueError(message)
