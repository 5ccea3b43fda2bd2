"""What AWS says of runs and Map Runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cdk_distributed_map.runs.aws import arns
from distmap._records import message_of

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
"""Statuses of a run that has ended."""


def seconds_between(started: datetime, stopped: datetime | None) -> float:
    """Return how long something took, up to now where it hasn't ended.

    Never less than nothing, which this machine's clock and AWS's would make of something that has just begun.
    """
    return max(0.0, ((datetime.now(UTC) if stopped is None else stopped) - started).total_seconds())


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in a list.

    .. versionadded:: 0.1.0
    """

    name: str
    arn: str
    status: str
    started: datetime
    stopped: datetime | None
    redrives: int = 0

    @property
    def seconds(self) -> float:
        """How long it has taken, up to now where it hasn't ended."""
        return seconds_between(self.started, self.stopped)

    @staticmethod
    def read(entry: Any) -> RunSummary:
        """Return an entry of ListExecutions."""
        return RunSummary(**_common(entry))


@dataclass(frozen=True, kw_only=True)
class RunDescription(RunSummary):
    """What DescribeExecution says of a run.

    .. versionadded:: 0.1.0
    """

    input: Any = None
    output: Any = None
    error: str | None = None
    cause: str | None = None
    redrive_status: str | None = None
    redrive_status_reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the run has ended; a redrive can make it go on."""
        return self.status in ENDED

    @staticmethod
    def read(entry: Any) -> RunDescription:
        """Return an answer of DescribeExecution."""
        return RunDescription(
            **_common(entry),
            input=_json_or_text(entry.get("input")),
            output=_json_or_text(entry.get("output")),
            error=entry.get("error"),
            cause=_own_message(entry.get("error"), entry.get("cause")),
            redrive_status=entry.get("redriveStatus"),
            redrive_status_reason=entry.get("redriveStatusReason"),
        )


def _own_message(error: str | None, cause: str | None) -> str | None:
    """Return the cause of a run that its account failed as a sentence: Lambda has made JSON with a traceback of it."""
    return message_of(cause) if cause is not None and (error or "").startswith("Distmap.") else cause


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Item counts or execution counts of a Map Run.

    .. versionadded:: 0.1.0
    """

    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    aborted: int = 0
    total: int = 0
    results_written: int = 0

    @property
    def unsuccessful(self) -> int:
        """Failed, timed out and aborted."""
        return self.failed + self.timed_out + self.aborted

    @property
    def done(self) -> int:
        """Everything that has ended."""
        return self.succeeded + self.unsuccessful

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both together."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    @staticmethod
    def read(counts: Any) -> Counts:
        """Return ``itemCounts`` or ``executionCounts``."""
        return Counts(
            pending=counts["pending"],
            running=counts["running"],
            succeeded=counts["succeeded"],
            failed=counts["failed"],
            timed_out=counts["timedOut"],
            aborted=counts["aborted"],
            total=counts["total"],
            results_written=counts.get("resultsWritten", 0),
        )


@dataclass(frozen=True, kw_only=True)
class MapRun:
    """What DescribeMapRun says of a Map Run.

    .. versionadded:: 0.1.0
    """

    arn: str
    status: str
    items: Counts
    children: Counts
    max_concurrency: int
    tolerated_failure_percentage: float
    tolerated_failure_count: int
    redrives: int = 0
    started: datetime | None = None
    stopped: datetime | None = None
    label: str = field(default="")

    @staticmethod
    def read(described: Any) -> MapRun:
        """Return an answer of DescribeMapRun."""
        return MapRun(
            arn=described["mapRunArn"],
            status=described["status"],
            items=Counts.read(described["itemCounts"]),
            children=Counts.read(described["executionCounts"]),
            max_concurrency=described["maxConcurrency"],
            tolerated_failure_percentage=described["toleratedFailurePercentage"],
            tolerated_failure_count=described["toleratedFailureCount"],
            redrives=described.get("redriveCount", 0),
            started=described.get("startDate"),
            stopped=described.get("stopDate"),
            label=arns.parse(described["mapRunArn"]).label,
        )


def start_of(map_run: MapRun) -> tuple[float, str]:
    """Return what puts Map Runs in order: they are listed, and described, in no order that could be relied on."""
    return 0.0 if map_run.started is None else map_run.started.timestamp(), map_run.arn


def _common(entry: Any) -> dict[str, Any]:
    """Return what a list of runs and the description of one have in common."""
    return {
        "name": entry["name"],
        "arn": entry["executionArn"],
        "status": entry["status"],
        "started": entry["startDate"],
        "stopped": entry.get("stopDate"),
        "redrives": entry.get("redriveCount", 0),
    }


def _json_or_text(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
