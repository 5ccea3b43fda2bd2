"""Why children took another attempt: what the histories of the slowest tell, or the log of the state machine.

Express children have no histories. The log has the attempts that failed of all of them, where it is on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws.sessions import errors
from cdk_distributed_map.runs.errors import AwsError, RunsError
from cdk_distributed_map.runs.report.log_lines import Lines, entry_of
from cdk_distributed_map.runs.report.timeline import Timeline

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.definition import MapDefinition
    from cdk_distributed_map.runs.find.handles import RunHandle

CHILDREN: Final = 40
"""Children whose histories are read: AWS allows an account 20 such calls a second in the long run."""

_GONE: Final = "the histories of its slowest children are gone, which AWS keeps for 90 days"
_FAILED: Final = frozenset(
    {
        *("TaskFailed", "TaskTimedOut", "TaskStartFailed", "TaskSubmitFailed"),
        *(
            "LambdaFunctionFailed",
            "LambdaFunctionTimedOut",
            "LambdaFunctionScheduleFailed",
            "LambdaFunctionStartFailed",
        ),
    }
)
_BEGUN: Final = frozenset({"TaskScheduled", "LambdaFunctionScheduled"})
_THROTTLED: Final = ("TooManyRequests", "Throttl", "SlowDown", "RateExceeded", "LimitExceeded")


@dataclass
class Retries:
    """What the children that were looked at tried again."""

    children: int = 0
    """How many were looked at; none where the log of the state machine tells it."""
    tried_again: int = 0
    """How many of them needed another attempt."""
    errors: dict[str, int] = field(default_factory=dict)
    """Attempts that were followed by another, by what they failed with."""
    throttled: int = 0
    """Of these, those that were throttled."""
    waited: float = 0.0
    """Seconds from attempts that failed to those after them."""
    why: str | None = None
    """Why nothing is known; None where something is."""

    def add(self, error: str, at: float, timeline: Timeline) -> None:
        """Add an attempt that failed."""
        throttled = any(word in error for word in _THROTTLED)
        self.errors[error] = self.errors.get(error, 0) + 1
        self.throttled += throttled
        timeline.add(at, "throttles" if throttled else "other retries")


def retries(run: RunHandle, children: Iterable[str], timeline: Timeline) -> Retries:
    """Return what some children tried again, and add it to the timeline of their run."""
    found = Retries()
    for child in children:
        try:
            with errors(f"reading the history of {child}"):
                pages = run.aws.sfn().get_paginator("get_execution_history").paginate(executionArn=child)
                events = [event for page in pages for event in page["events"]]
        except AwsError as error:
            if not found.children:
                found.why = _GONE if error.code == "ExecutionDoesNotExist" else str(error)
            break
        found.children += 1
        _look(events, found, timeline)
    return found


def retries_in_log(lines: Lines, timeline: Timeline) -> Retries:
    """Return the attempts of Express children that failed, and add them to the timeline of their run.

    The log doesn't tell the children of one run from those of another at the same time.
    """
    run = lines.run
    group = run.pipeline.log_group
    if group is None:
        return Retries(why="Express children have no histories, and the state machine has no log")
    found = Retries()
    kinds = " || ".join(f'$.type = "{kind}"' for kind in sorted(_FAILED))
    children = tuple(f":express:{run.pipeline.name}/{each.label}:" for each in _maps(run) if each.label)
    try:
        for at, text in lines.read(group, f"{{ {kinds} }}"):
            entry = entry_of(text)
            if entry.get("type") in _FAILED and any(each in str(entry.get("execution_arn")) for each in children):
                details: Any = entry.get("details")
                found.add(
                    str((details if isinstance(details, dict) else {}).get("error") or entry["type"]), at, timeline
                )
    except RunsError as error:
        return Retries(why=str(error))
    return found


def _maps(run: RunHandle) -> tuple[MapDefinition, MapDefinition]:
    return run.pipeline.definition.source, run.pipeline.definition.item_file


def _look(events: list[Any], found: Retries, timeline: Timeline) -> None:
    failed: Any = None
    any_again = False
    for event in events:
        if event["type"] in _FAILED:
            failed = event
        elif event["type"] in _BEGUN and failed is not None:
            found.add(_error(failed), failed["timestamp"].timestamp(), timeline)
            found.waited += (event["timestamp"] - failed["timestamp"]).total_seconds()
            any_again, failed = True, None
    found.tried_again += any_again


def _error(event: dict[str, Any]) -> str:
    details: Any = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
    return str(details.get("error") or ("States.Timeout" if "TimedOut" in event["type"] else "States.TaskFailed"))
