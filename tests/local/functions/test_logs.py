"""Logs of functions: the latest lines are kept, and what was dropped is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cdk_distributed_map.local.functions.logs import LogWriter
from cdk_distributed_map.local.server import LocalAws


def test_the_latest_lines_of_a_log_are_kept_and_what_was_dropped_is_said(local: LocalAws) -> None:
    client = local.client("logs")
    said: list[str] = []
    writer = LogWriter(lambda _: client, warn=said.append, most_lines=20)
    # Its thread has ended: what is written from here on is written by the test.
    writer.close()
    config: Any = SimpleNamespace(log_group="/aws/lambda/talks")
    for first in range(0, 60, 10):
        for number in range(first, first + 10):
            result: Any = SimpleNamespace(log=f"line {number}\nend {number}")
            writer.write(config, result)
        writer.flush()
    streams = client.describe_log_streams(logGroupName="/aws/lambda/talks")["logStreams"]
    assert len(streams) == 2
    events = client.filter_log_events(logGroupName="/aws/lambda/talks")["events"]
    lines = [event["message"] for event in events]
    assert "end 59" in lines
    assert "line 0" not in lines
    assert 20 <= len(lines) <= 2 * (20 + 20 + 1)
    assert any(
        line.startswith("earlier lines were dropped: the local AWS keeps the last 20 of a log") for line in lines
    )
    assert said == []
