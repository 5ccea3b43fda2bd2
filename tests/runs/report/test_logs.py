"""Which lines of a log are a run's own, which tell of errors, and what Lambda reports with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdk_distributed_map.runs import InputError
from cdk_distributed_map.runs.report.invocations import LogLine, of_requests, only_errors
from cdk_distributed_map.runs.report.logs import parse_since

OURS, THEIRS = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
REPORT = (
    "REPORT RequestId: {}\tDuration: 12.50 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 64 MB\t"
    "Init Duration: 310.25 ms\t"
)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def events(*lines: tuple[str, str]) -> list[Any]:
    return [
        {"timestamp": 1_000 * number, "logStreamName": stream, "message": f"{text}\n"}
        for number, (stream, text) in enumerate(lines)
    ]


def invocation(stream: str, request: str, *lines: str) -> list[tuple[str, str]]:
    framed = [f"START RequestId: {request} Version: 1", *lines, f"END RequestId: {request}", REPORT.format(request)]
    return [(stream, text) for text in framed]


def test_lines_of_other_invocations_are_left_out_whatever_they_say() -> None:
    ours = invocation("a", OURS, "mine", f'{{"runId": "arn", "requestId": "{OURS}"}}')
    theirs = invocation("b", THEIRS, f"I know of RequestId: {OURS}")
    again = invocation("a", THEIRS, "theirs too")
    woven = [line for pair in zip(ours, theirs + theirs[-1:], strict=True) for line in pair]
    found = list(of_requests("group", events(*woven, ("a", "INIT_START Runtime Version: x"), *again), {OURS}))
    assert [line.text for line in found] == [text for _, text in ours]
    assert {line.request for line in found} == {OURS}
    figures = {"durationMs": 12.5, "billedMs": 13, "memoryMb": 128, "maxMemoryMb": 64, "initMs": 310.25}
    assert [line.report and line.report.to_json() for line in found] == [figures] * len(ours)
    assert len({line.id for line in found}) == len(ours)


def test_reports_of_functions_that_log_json_are_read() -> None:
    metrics = {"durationMs": 7.1, "billedDurationMs": 8, "memorySizeMB": 256, "maxMemoryUsedMB": 90}
    lines = [
        {"type": "platform.start", "record": {"requestId": OURS}},
        {"level": "INFO", "message": "mine", "requestId": OURS},
        {"type": "platform.report", "record": {"requestId": OURS, "metrics": metrics, "status": "timeout"}},
        {"type": "platform.start", "record": {"requestId": THEIRS}},
        {"level": "INFO", "message": "theirs"},
    ]
    found = list(of_requests("group", events(*(("a", json.dumps(line)) for line in lines)), {OURS}))
    assert len(found) == 3
    figures = {"durationMs": 7.1, "billedMs": 8, "memoryMb": 256, "maxMemoryMb": 90, "status": "timeout"}
    assert found[0].report is not None
    assert found[0].report.to_json() == figures


def test_invocation_that_goes_on_has_no_report_yet() -> None:
    found = list(of_requests("group", events(*invocation("a", OURS, "at work")[:2]), {OURS}))
    assert [(line.text[:5], line.report) for line in found] == [("START", None), ("at wo", None)]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("[ERROR]\t2026-11-29T12:00:00Z\tno luck", True),
        ('{"level": "ERROR", "message": "no luck"}', True),
        ('{"level": "INFO", "message": "items processed", "succeeded": 9, "failed": 1}', True),
        ('{"level": "INFO", "message": "items processed", "succeeded": 9, "failed": 0, "unprocessed": 0}', False),
        ('{"level": "INFO", "message": "items processed", "failed": 0, "unprocessed": 12}', True),
        ("2026-11-29T12:00:00Z x Task timed out after 3.00 seconds", True),
        (REPORT.format(OURS) + "Status: timeout", True),
        (REPORT.format(OURS), False),
        ("ValueError: no luck", True),
        ("no errors so far", False),
        ("START RequestId: x Version: 1", False),
    ],
    ids=[
        "text",
        "JSON",
        "failed item",
        "well",
        "unprocessed",
        "timeout",
        "bad report",
        "report",
        "raised",
        "word",
        "start",
    ],
)
def test_errors_are_told_from_other_lines(text: str, bad: Any) -> None:
    line = LogLine(NOW, "group", text)
    assert list(only_errors([line])) == ([line] if bad else [])


def test_an_error_goes_on_over_the_lines_that_are_indented() -> None:
    texts = [
        "at work",
        "Traceback (most recent call last):",
        '  File "handler.py"',
        "    raise",
        "ValueError: no",
        "on",
    ]
    found = only_errors(LogLine(NOW, "group", text) for text in texts)
    assert [line.text for line in found] == texts[1:-1]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("10m", NOW - timedelta(minutes=10)),
        ("1.5h", NOW - timedelta(minutes=90)),
        (" 2 d ", NOW - timedelta(days=2)),
        ("2026-11-28T10:00:00+00:00", datetime(2026, 11, 28, 10, tzinfo=UTC)),
    ],
    ids=["seconds", "minutes", "part of hours", "days", "ISO"],
)
def test_times_are_read_as_they_are_meant(text: str, time: datetime) -> None:
    assert parse_since(text, now=NOW) == time


@pytest.mark.parametrize(
    "text", ["", "yesterday", "10", "-5m", "99999999999d"], ids=["empty", "word", "number", "less", "long"]
)
def test_fails_when_a_time_is_none(text: str) -> None:
    with pytest.raises(InputError, match="how long ago, as in 90s, 10m, 2h or 1d, or an ISO 8601 time, got"):
        parse_since(text, now=NOW)
