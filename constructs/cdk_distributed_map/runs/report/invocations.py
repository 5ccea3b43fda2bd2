"""Invocations of functions in their logs: which lines are of which, and what Lambda reports of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cdk_distributed_map.runs.report.lambda_report import LambdaReport, report_of
from cdk_distributed_map.runs.report.log_lines import entry_of

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
REQUEST: Final = re.compile(rf"[Rr]equest ?[Ii]d\W{{1,8}}({_UUID})")
_START: Final = re.compile(rf"START RequestId: ({_UUID})")
_END: Final = re.compile(rf"END RequestId: ({_UUID})")
_BAD: Final = re.compile(
    r"\b(?:ERROR|CRITICAL|FATAL)\b|^Traceback |Task timed out|\bStatus: (?:error|timeout)\b"
    r"|^\s*[\w.]+(?:Error|Exception)\b"
    r'|"(?:failed|unprocessed)": ?[1-9]|"error": ?"|"status": ?"(?:error|timeout|failure)"'
)
_CONTINUED: Final = re.compile(r"\s+\S")


@dataclass(frozen=True, order=True)
class LogLine:
    """A line of a log."""

    time: datetime
    group: str
    text: str
    id: str = field(default="", compare=False)
    """What tells it from every other line, also of the same words at the same time."""
    request: str | None = field(default=None, compare=False)
    """Id of the request of the invocation that wrote it; None where that isn't known."""
    report: LambdaReport | None = field(default=None, compare=False)
    """What Lambda reports of that invocation, where it has ended."""


@dataclass(slots=True)
class _Open:
    """An invocation of which not every line has been seen."""

    request: str | None = None
    lines: list[LogLine] = field(default_factory=list)
    ended: bool = False


def line_of(group: str, event: Any) -> LogLine:
    """Return an event of CloudWatch Logs as a line."""
    text = event["message"].rstrip("\n")
    line_id = event.get("eventId") or f"{event['logStreamName']} {event['timestamp']} {text}"
    return LogLine(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), group, text, line_id)


def of_requests(group: str, events: Iterable[Any], wanted: set[str]) -> Iterator[LogLine]:
    """Yield the lines of some invocations, each invocation as soon as its last line is there.

    An execution environment has a log stream of its own and one invocation at a time, so that all lines between two
    that begin one are the first one's.

    Args:
        group: The log group.
        events: Its events, in the order of each stream.
        wanted: Ids of the requests.
    """
    streams: dict[str, _Open] = {}
    for event in events:
        stream, line = event["logStreamName"], line_of(group, event)
        begun = _started(line.text)
        invocation = streams.setdefault(stream, _Open())
        if begun is not None or (invocation.ended and not _belongs_to(line.text, invocation.request)):
            yield from _lines_of(invocation, wanted)
            invocation = streams[stream] = _Open(begun)
        invocation.lines.append(line)
        invocation.ended = invocation.ended or _END.match(line.text) is not None or report_of(line.text) is not None
    for invocation in streams.values():
        yield from _lines_of(invocation, wanted)


def _lines_of(invocation: _Open, wanted: set[str]) -> Iterator[LogLine]:
    """Yield the lines of an invocation, with what Lambda reports of it on each."""
    if invocation.request is None or invocation.request not in wanted:
        return
    report = next((parsed for line in invocation.lines if (parsed := report_of(line.text)) is not None), None)
    for line in invocation.lines:
        yield LogLine(line.time, line.group, line.text, line.id, invocation.request, report)


def _started(text: str) -> str | None:
    """Return the id of the request that a line begins; None where it begins none."""
    match = _START.match(text)
    if match is not None:
        return match[1]
    entry = entry_of(text) if "platform.start" in text else {}
    record = entry.get("record") if entry.get("type") == "platform.start" else None
    return record.get("requestId") if isinstance(record, dict) else None


def _belongs_to(text: str, request: str | None) -> bool:
    match = REQUEST.search(text)
    return match is not None and match[1] == request


def only_errors(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Yield the lines that tell of an error, those that go on with one, and of reports those of what ended badly.

    Args:
        lines: Lines, those of an invocation one after the other.
    """
    tells = False
    for line in lines:
        tells = (tells and _CONTINUED.match(line.text) is not None) or _BAD.search(line.text) is not None
        if tells:
            yield line
