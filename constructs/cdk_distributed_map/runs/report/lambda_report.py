"""What Lambda reports of an invocation in its log, as text or as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from cdk_distributed_map.runs.report.log_lines import entry_of

_REQUEST: Final = re.compile(r"REPORT RequestId: (\S+)")
# A tab before the name: "Restore Duration" is no duration.
_NUMBER: Final = re.compile(
    r"\t(Duration|Billed Duration|Memory Size|Max Memory Used|Init Duration): (\d+(?:\.\d+)?) (?:ms|MB)"
)
_STATUS: Final = re.compile(r"\tStatus: (\w+)")
_ERROR_TYPE: Final = re.compile(r"\tError Type: ([\w.]+)")
_SUCCESS: Final = "success"


@dataclass(frozen=True, kw_only=True)
class LambdaReport:
    """How an invocation went; None stands for what Lambda doesn't tell."""

    request: str
    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: float | None = None
    max_memory_mb: float | None = None
    init_ms: float | None = None
    """Of a cold start."""
    status: str = _SUCCESS
    error_type: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.status == _SUCCESS

    def to_json(self) -> dict[str, Any]:
        """Return what is told of it, but a success."""
        found: dict[str, Any] = {
            "durationMs": self.duration_ms,
            "billedMs": self.billed_ms,
            "memoryMb": self.memory_mb,
            "maxMemoryMb": self.max_memory_mb,
            "initMs": self.init_ms,
            "status": None if self.succeeded else self.status,
            "errorType": self.error_type,
        }
        return {name: value for name, value in found.items() if value is not None}


def report_of(text: str) -> LambdaReport | None:
    """Return what a line reports; None where it is no report."""
    match = _REQUEST.match(text)
    if match is None:
        return _of_json(text) if "platform.report" in text else None
    numbers = {name: _number(float(number)) for name, number in _NUMBER.findall(text)}
    status, error_type = _STATUS.search(text), _ERROR_TYPE.search(text)
    return LambdaReport(
        request=match[1],
        duration_ms=numbers.get("Duration"),
        billed_ms=numbers.get("Billed Duration"),
        memory_mb=numbers.get("Memory Size"),
        max_memory_mb=numbers.get("Max Memory Used"),
        init_ms=numbers.get("Init Duration"),
        status=_SUCCESS if status is None else status[1],
        error_type=None if error_type is None else error_type[1],
    )


def _of_json(text: str) -> LambdaReport | None:
    entry = entry_of(text)
    record = entry.get("record") if entry.get("type") == "platform.report" else None
    if not isinstance(record, dict) or "requestId" not in record:
        return None
    given = record.get("metrics")
    metrics = given if isinstance(given, dict) else {}
    return LambdaReport(
        request=str(record["requestId"]),
        duration_ms=_number(metrics.get("durationMs")),
        billed_ms=_number(metrics.get("billedDurationMs")),
        memory_mb=_number(metrics.get("memorySizeMB")),
        max_memory_mb=_number(metrics.get("maxMemoryUsedMB")),
        init_ms=_number(metrics.get("initDurationMs")),
        status=str(record.get("status") or _SUCCESS),
        error_type=None if record.get("errorType") is None else str(record["errorType"]),
    )


def _number(value: Any) -> float | None:
    """Return a number, whole where it is; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value
