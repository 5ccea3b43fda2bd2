"""Executions and map runs that work through their items at a steady rate, by a clock that is the test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ACCOUNT = "arn:aws:states:us-east-1:123456789012"
EPOCH = 1_795_000_000.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """A token bucket as AWS documents it."""

    def __init__(self, size: float, refill: float) -> None:
        self.size, self.refill = size, refill
        self.tokens, self.at = float(size), 0.0
        self.lowest = float(size)

    def take(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.refill)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        self.lowest = min(self.lowest, self.tokens)
        return True


@dataclass
class FakeMap:
    """A Map Run that works through its items at a steady rate."""

    arn: str
    label: str
    total: int
    seconds: float
    failed: int = 0
    started: float = 0.0
    stopped: float | None = None
    batch: int = 1
    concurrency: int = 100
    tolerance: float = 0.0
    tolerated_count: int = 0
    redrives: int = 0

    def counts(self, now: float, *, per: int = 1) -> dict[str, int]:
        until = now if self.stopped is None else min(now, self.stopped)
        share = 1.0 if self.seconds == 0 else min(1.0, max(0.0, until - self.started) / self.seconds)
        total, failed = -(-self.total // per), -(-self.failed // per)
        done = int(total * share)
        bad = min(done, int(failed * share))
        running = min(total - done, 5) if self.stopped is None else 0
        return {
            "pending": total - done - running,
            "running": running,
            "succeeded": done - bad,
            "failed": bad,
            "timedOut": 0,
            "aborted": 0,
            "total": total,
            # Those that are pending are written too.
            "resultsWritten": total if share == 1 or self.stopped is not None else 0,
            "failuresNotRedrivable": 0,
            "pendingRedrive": 0,
        }

    def status(self, now: float) -> str:
        if self.stopped is not None:
            return "ABORTED"
        if now - self.started < self.seconds:
            return "RUNNING"
        allowed = max(self.tolerated_count, self.total * self.tolerance / 100)
        return "SUCCEEDED" if self.failed <= allowed else "FAILED"


@dataclass
class FakeExecution:
    """An execution, which ends with its map."""

    arn: str
    name: str
    machine: str
    input: str
    started: float
    map: FakeMap | None = None
    others: list[FakeMap] = field(default_factory=list)
    """Outermost maps beside the pipeline's, in a user's own state machine."""
    children: dict[str, list[FakeMap]] = field(default_factory=dict)
    output: Any = None
    ended: tuple[str, float] | None = None
    error: str | None = None
    redrivable: str = "REDRIVABLE"
    history: list[dict[str, Any]] = field(default_factory=list)

    def status(self, now: float) -> str:
        if self.ended is not None:
            return self.ended[0]
        return "RUNNING" if self.map is None else self.map.status(now)

    def stopped(self, now: float) -> float | None:
        if self.ended is not None:
            return self.ended[1]
        if self.map is None or self.status(now) == "RUNNING":
            return None
        return self.map.started + self.map.seconds
