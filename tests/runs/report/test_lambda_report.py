"""What Lambda reports of an invocation, read from its lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk_distributed_map.runs.report.functions import Invocations
from cdk_distributed_map.runs.report.lambda_report import LambdaReport, report_of
from tests.runs.report.scene import report_line

METRICS = {"durationMs": 2.5, "billedDurationMs": 3, "memorySizeMB": 128, "maxMemoryUsedMB": 64}
SNAPSHOT = "REPORT RequestId: d\tDuration: 5.00 ms\tRestore Duration: 300.00 ms\tBilled Restore Duration: 9 ms\t"


def as_json(**record: Any) -> str:
    return json.dumps({"type": "platform.report", "record": record})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            report_line("a", took=19_000, used=180),
            {"durationMs": 19_000, "billedMs": 19_000, "memoryMb": 512, "maxMemoryMb": 180},
            id="text",
        ),
        pytest.param(
            report_line("b", took=1.5, used=512, cold=300.25, status="Status: timeout"),
            {"durationMs": 1.5, "billedMs": 302, "memoryMb": 512, "maxMemoryMb": 512}
            | {"initMs": 300.25, "status": "timeout"},
            id="timeout",
        ),
        pytest.param(
            as_json(requestId="c", status="error", errorType="Runtime.ExitError", metrics=METRICS),
            {"durationMs": 2.5, "billedMs": 3, "memoryMb": 128, "maxMemoryMb": 64}
            | {"status": "error", "errorType": "Runtime.ExitError"},
            id="json",
        ),
        pytest.param(SNAPSHOT, {"durationMs": 5}, id="restored from a snapshot"),
        pytest.param(as_json(requestId="e", status=None, metrics=[7.5]), {}, id="metrics that are no object"),
        pytest.param(
            as_json(requestId="f", metrics={"durationMs": "7", "initDurationMs": True}), {}, id="figures that are none"
        ),
    ],
)
def test_report_lines_are_read(line: str, told: dict[str, Any]) -> None:
    found = report_of(line)
    assert found is not None
    assert found.to_json() == told
    assert found.request == (json.loads(line)["record"]["requestId"] if line[0] == "{" else line[18])


@pytest.mark.parametrize(
    "line",
    [
        *["", "REPORT RequestId:", "START RequestId: x", "{", "[1]", '{"type": "platform.report"}', '{"type": {}}'],
        *['{"type": "platform.report", "record": []}', "my platform.report"],
    ],
)
def test_other_lines_are_no_reports(line: str) -> None:
    assert report_of(line) is None


def test_invocation_of_which_too_little_is_told_is_not_counted() -> None:
    found = Invocations()
    found.add(LambdaReport(request="a", duration_ms=1), timeout=3)
    assert found == Invocations()
