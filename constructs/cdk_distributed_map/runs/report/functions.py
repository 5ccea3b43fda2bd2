"""The functions that children call: how they are set up, and how their invocations went, by Lambda's REPORT lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import RunsError
from cdk_distributed_map.runs.report.lambda_report import LambdaReport, report_of
from cdk_distributed_map.runs.report.log_lines import Lines, entry_of
from cdk_distributed_map.runs.report.timeline import Timeline

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle

NEAR_MEMORY: Final = 0.9
NEAR_TIMEOUT: Final = 0.8
"""Shares of a limit from which something is near it."""

_LATE: Final = 5.0
"""Seconds after the end of a map in which Lambda writes what it reports of its invocation."""
_REPORT: Final = '"REPORT RequestId"'
_REPORT_JSON: Final = '{ $.type = "platform.report" }'


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that children call."""

    name: str
    memory_mb: int
    timeout: float
    """In seconds."""
    architecture: str
    runtime: str
    log_group: str
    json_logs: bool = False


@dataclass
class Invocations:
    """How the invocations of a run went."""

    number: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Those that didn't succeed, by Lambda's status."""
    cold: int = 0
    cold_ms: float = 0.0
    longest_ms: float = 0.0
    most_mb: float = 0.0
    memory_mb: float = 0.0
    near_memory: int = 0
    near_timeout: int = 0
    billed_ms: float = 0.0
    complete: bool = True
    """Whether all lines were read."""
    why: str | None = None
    """Why they are not known; None where they are."""

    def add(self, report: LambdaReport, timeout: float) -> None:
        """Add an invocation; one whose line doesn't tell enough is left out."""
        if report.duration_ms is None or report.billed_ms is None or report.memory_mb is None:
            return
        self.number += 1
        self.billed_ms += report.billed_ms
        self.longest_ms = max(self.longest_ms, report.duration_ms)
        self.memory_mb = max(self.memory_mb, report.memory_mb)
        self.near_timeout += bool(timeout) and report.duration_ms >= timeout * 1000 * NEAR_TIMEOUT
        if report.max_memory_mb is not None:
            self.most_mb = max(self.most_mb, report.max_memory_mb)
            self.near_memory += report.max_memory_mb >= report.memory_mb * NEAR_MEMORY
        if report.init_ms is not None:
            self.cold += 1
            self.cold_ms += report.init_ms
        if not report.succeeded:
            self.failed[report.status] = self.failed.get(report.status, 0) + 1


def functions_of(run: RunHandle) -> list[Function]:
    """Return the functions that the children of a run call, as far as they can be described."""
    return [function for name in run.pipeline.definition.item_file.functions if (function := _describe(run, name))]


def _describe(run: RunHandle, name: str) -> Function | None:
    try:
        with errors(f"describing the function {name!r}"):
            configuration = run.aws.functions().get_function_configuration(FunctionName=name)
    except RunsError:
        # It may be gone, or not for this user to see: a report does without.
        return None
    logging: Any = configuration.get("LoggingConfig", {})
    called = str(configuration.get("FunctionName", name))
    return Function(
        name=called,
        memory_mb=configuration["MemorySize"],
        timeout=configuration.get("Timeout", 0),
        architecture=str(next(iter(configuration.get("Architectures") or ["x86_64"]))),
        runtime=str(configuration.get("Runtime", "container image")),
        log_group=logging.get("LogGroup", f"/aws/lambda/{called}"),
        json_logs=logging.get("LogFormat") == "JSON",
    )


def invocations(
    lines: Lines, functions: Iterable[Function], timeline: Timeline, *, while_: tuple[float, float]
) -> Invocations:
    """Return how the invocations of a run went, and add cold starts and failures to its timeline.

    They are those that the runtime's own lines name, one for each batch; and those that ended badly before such a line
    was written, while its maps ran, if no other run's line names them.

    Args:
        lines: The lines of the run's time.
        functions: What its children call.
        timeline: The run's timeline.
        while_: When its first map began and its last one ended, in seconds since the epoch.
    """
    total = Invocations()
    try:
        for function in functions:
            own, foreign = _requests(lines, function)
            for at, report in _reports(lines, function):
                unnamed = not report.succeeded and report.request not in foreign
                unnamed = unnamed and while_[0] <= at <= while_[1] + _LATE
                if report.request in own or unnamed:
                    total.add(report, function.timeout)
                    if report.init_ms is not None:
                        timeline.add(at, "cold starts")
                    if not report.succeeded:
                        timeline.add(at, "failed invocations")
    except RunsError as error:
        return Invocations(why=str(error))
    total.complete = lines.left > 0
    if not total.number:
        total.why = (
            "its functions have no lines of it in their logs: they don't use distmap, or logs are kept no longer"
        )
    return total


def _requests(lines: Lines, function: Function) -> tuple[set[str], set[str]]:
    """Return the requests of a run, and those of others, by the lines that the runtime writes."""
    own: set[str] = set()
    foreign: set[str] = set()
    for _, text in lines.read(function.log_group, '{ $.message = "items processed" }'):
        entry = entry_of(text)
        request = entry.get("requestId")
        if isinstance(request, str) and "run" in entry:
            (own if entry["run"] == lines.run.name else foreign).add(request)
    return own, foreign


def _reports(lines: Lines, function: Function) -> Iterator[tuple[float, LambdaReport]]:
    for at, text in lines.read(function.log_group, _REPORT_JSON if function.json_logs else _REPORT):
        report = report_of(text)
        if report is not None:
            yield at, report
