"""Log lines of a run: those of the state machine, and of the functions its children call."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs import _arns
from cdk_distributed_map.runs._aws import error_code, errors
from cdk_distributed_map.runs._errors import InputError

if TYPE_CHECKING:
    from cdk_distributed_map.runs._run import Run

_MARGIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, order=True)
class LogLine:
    """A line of a log."""

    time: datetime
    group: str
    text: str


def lines(run: Run, *, child: str | None = None, limit: int = 200) -> Iterator[LogLine]:
    """Yield the log lines of a run in the order of time, at most ``limit``.

    Args:
        run: The run.
        child: ARN of a child: only its lines, as far as they name it, and the functions' lines while it ran.
        limit: How many at most.

    Raises:
        InputError: The child is none of this run's pipeline.
        AwsError: AWS refused a call.
    """
    described = run.describe()
    start, end = described.started, described.stopped
    arn = run.arn
    if child is not None:
        parsed = _arns.parse(child)
        if parsed.machine_arn() != run.pipeline.arn or not parsed.label:
            raise InputError(f"{child} is no child of a map of {run.pipeline.name!r}: see `distmap failures`")
        arn = child
        with errors(f"describing the child {child}"):
            answer = run.aws.sfn().describe_execution(executionArn=child)
        start, end = answer["startDate"], answer.get("stopDate")
    sources = []
    if run.pipeline.log_group is not None:
        sources.append(_filtered(run, run.pipeline.log_group, f'{{ $.execution_arn = "{arn}" }}', start, end))
    # The runtime writes a line for each batch, with the name of the run in it.
    pattern = f'{{ $.run = "{run.name}" }}'
    sources += [_filtered(run, group, pattern, start, end) for group in _function_groups(run)]
    for count, line in enumerate(heapq.merge(*sources)):
        if count >= limit:
            return
        yield line


def _filtered(run: Run, group: str, pattern: str, start: datetime, end: datetime | None) -> Iterator[LogLine]:
    options: dict[str, Any] = {"logGroupName": group, "filterPattern": pattern}
    options["startTime"] = int((start - _MARGIN).timestamp() * 1000)
    if end is not None:
        options["endTime"] = int((end + _MARGIN).timestamp() * 1000)
    with errors(f"reading the log group {group!r}"):
        try:
            for page in run.aws.logs().get_paginator("filter_log_events").paginate(**options):
                for event in page["events"]:
                    yield LogLine(
                        datetime.fromtimestamp(event["timestamp"] / 1000, UTC), group, event["message"].rstrip("\n")
                    )
        except Exception as error:
            # A function that never ran may have no log group yet.
            if error_code(error) != "ResourceNotFoundException":
                raise


def _function_groups(run: Run) -> list[str]:
    """Return the log groups of the functions in the state machine."""
    with errors(f"describing the state machine {run.pipeline.name!r}"):
        text = run.aws.sfn().describe_state_machine(stateMachineArn=run.pipeline.arn)["definition"]
    groups: list[str] = []
    for name in dict.fromkeys(_functions(json.loads(text))):
        with errors(f"describing the function {name!r}"):
            configuration = run.aws.functions().get_function_configuration(FunctionName=name)
        groups.append(configuration.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}"))
    return list(dict.fromkeys(groups))


def _functions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        name = value.get("FunctionName")
        if isinstance(name, str) and not name.startswith("{%"):
            yield name
        for each in value.values():
            yield from _functions(each)
    elif isinstance(value, list):
        for each in value:
            yield from _functions(each)
