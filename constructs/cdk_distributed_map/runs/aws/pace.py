"""How often a watcher asks: slow enough for five of them in one account.

DescribeMapRun and ListMapRuns allow bursts of 200 and 100 calls and refill by one call a second, for everybody in the
account and Region together (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html). So a watcher
keeps buckets of its own, a fifth of the refill and a small part of the burst; and where AWS throttles it all the
same, because somebody else polls too, it halves its rate until the answers come again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_SLOWEST: Final = 32.0
_RECOVERY: Final = 0.8


@dataclass(kw_only=True)
class Pace:
    """A token bucket over one kind of call.

    Args:
        burst: Calls that can be made at once after a rest.
        every: Seconds for each call after that.
        gap: Shortest time between two calls, in seconds, whatever the burst.
    """

    burst: float
    every: float
    gap: float = 1.0
    _tokens: float = field(init=False)
    _filled: float = field(init=False, default=0.0)
    _earliest: float = field(init=False, default=0.0)
    _slowed: float = field(init=False, default=1.0)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def due(self, now: float) -> float:
        """Return when the next call may be made: ``now`` where it may be made at once."""
        self._fill(now)
        wait = max(0.0, 1.0 - self._tokens) * self.every * self._slowed
        return max(now + wait, self._earliest)

    def take(self, now: float) -> None:
        """Note a call."""
        self._fill(now)
        self._tokens -= 1.0
        self._earliest = now + self.gap * self._slowed

    def went_well(self) -> None:
        """Note an answer: after throttling, go slowly back to the usual rate."""
        self._slowed = max(1.0, self._slowed * _RECOVERY)

    def was_throttled(self, now: float) -> None:
        """Note that AWS throttled the call: halve the rate and give up the burst."""
        self._slowed = min(_SLOWEST, self._slowed * 2)
        self._tokens = min(self._tokens, 0.0)
        self._earliest = max(self._earliest, now + self.every * self._slowed)

    def _fill(self, now: float) -> None:
        passed = max(0.0, now - self._filled)
        self._tokens = min(self.burst, self._tokens + passed / (self.every * self._slowed))
        self._filled = max(now, self._filled)


def map_run_pace() -> Pace:
    """Return the pace of DescribeMapRun for one watcher: 10 at once, then one in 5 seconds."""
    return Pace(burst=10, every=5, gap=1)


def list_map_runs_pace() -> Pace:
    """Return the pace of ListMapRuns for one watcher: 8 at once, then one in 5 seconds."""
    return Pace(burst=8, every=5, gap=1)


def list_executions_pace() -> Pace:
    """Return the pace of ListExecutions for one watcher; its quota is 100 at once and 2 a second."""
    return Pace(burst=5, every=5, gap=1)


def execution_pace() -> Pace:
    """Return the pace of DescribeExecution for one watcher; its quota is 15 a second."""
    return Pace(burst=5, every=2, gap=1)


@dataclass(frozen=True, kw_only=True)
class Paces:
    """How often one watcher asks what."""

    map_run: Pace = field(default_factory=map_run_pace)
    map_runs: Pace = field(default_factory=list_map_runs_pace)
    executions: Pace = field(default_factory=list_executions_pace)
    execution: Pace = field(default_factory=execution_pace)


def local_paces() -> Paces:
    """Return the paces at an endpoint of this machine, which nobody else asks: 20 calls of each kind a second."""
    return Paces(**{name: Pace(burst=1, every=0.05, gap=0.05) for name in Paces.__dataclass_fields__})
