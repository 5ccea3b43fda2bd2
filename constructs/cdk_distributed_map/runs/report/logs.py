"""Log lines of a run: those of the state machine, and of the functions its children call."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.sessions import error_code, errors
from cdk_distributed_map.runs.errors import InputError

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle

_MARGIN: Final = timedelta(minutes=1)
_TELLING: Final = frozenset({"TaskSucceeded", "TaskFailed", "LambdaFunctionSucceeded", "LambdaFunctionFailed"})
"""Events that hold Lambda's answer, and with it the id of the request."""
_REQUEST: Final = re.compile(r"[Rr]equest ?[Ii]d\W{1,8}([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, order=True)
class LogLine:
    """A line of a log."""

    time: datetime
    group: str
    text: str


def lines(run: RunHandle, *, child: str | None = None, limit: int = 200) -> Iterator[LogLine]:
    """Yield the log lines of a run in the order of time, at most ``limit``.

    Args:
        run: The run.
        child: ARN of a child: only its lines, and those of the very invocations it made. Express children have no
            history that names those: for them it is all lines of the run while the child ran.
        limit: How many at most.

    Raises:
        InputError: The child is none of this run's pipeline.
        AwsError: AWS refused a call.
    """
    described = run.describe()
    start, end = described.started, described.stopped
    arn = run.arn
    if child is not None:
        parsed = arns.parse(child)
        if parsed.machine_arn() != run.pipeline.arn or not parsed.label:
            raise InputError(f"{child} is no child of a map of {run.pipeline.name!r}: see `distmap failures`")
        arn = child
        with errors(f"describing the child {child}"):
            answer = run.aws.sfn().describe_execution(executionArn=child)
        start, end = answer["startDate"], answer.get("stopDate")
    sources = []
    if run.pipeline.log_group is not None:
        sources.append(_filtered(run, run.pipeline.log_group, f'{{ $.execution_arn = "{arn}" }}', start, end))
    if child is not None and not is_express(child):
        requests = _requests(run, child)
        sources += [_invocations(run, group, requests, start, end) for group in _function_groups(run)]
    else:
        # The runtime writes a line for each batch, with the name of the run in it.
        pattern = f'{{ $.run = "{run.name}" }}'
        sources += [_filtered(run, group, pattern, start, end) for group in _function_groups(run)]
    for count, line in enumerate(heapq.merge(*sources)):
        if count >= limit:
            return
        yield line


def is_express(child: str) -> bool:
    """Tell whether a child is an Express one, which has no history.

    Raises:
        InputError: It is no ARN of Step Functions.
    """
    return arns.parse(child).kind == "express"


def _requests(run: RunHandle, child: str) -> list[str]:
    """Return the ids of the Lambda requests that a child's history tells, attempts that failed included."""
    found: dict[str, None] = {}
    with errors(f"reading the history of the child {child}"):
        for page in run.aws.sfn().get_paginator("get_execution_history").paginate(executionArn=child):
            for event in page["events"]:
                if event["type"] in _TELLING:
                    found.update(dict.fromkeys(_REQUEST.findall(json.dumps(event, default=str))))
    return list(found)


def _invocations(
    run: RunHandle, group: str, requests: list[str], start: datetime, end: datetime | None
) -> Iterator[LogLine]:
    """Yield every line of some invocations: what stands between the first and the last line that names one.

    An execution environment has a log stream of its own, and one invocation at a time.
    """
    streams: dict[tuple[str, str], list[int]] = {}
    begins, ends = _bounds(start, end)
    for request in requests:
        with errors(f"reading the log group {group!r}"):
            try:
                options: dict[str, Any] = {"logGroupName": group, "filterPattern": f'"{request}"', **begins, **ends}
                for page in run.aws.logs().get_paginator("filter_log_events").paginate(**options):
                    for event in page["events"]:
                        streams.setdefault((event["logStreamName"], request), []).append(event["timestamp"])
            except Exception as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
    found = [
        line for (stream, request), times in streams.items() for line in _between(run, group, stream, request, times)
    ]
    yield from sorted(found, key=lambda line: line.time)


def _between(run: RunHandle, group: str, stream: str, request: str, times: list[int]) -> Iterator[LogLine]:
    """Yield the lines of a stream from the first to the last that names a request."""
    waiting: list[LogLine] = []
    begun = False
    options: dict[str, Any] = {"logGroupName": group, "logStreamNames": [stream]}
    options |= {"startTime": min(times), "endTime": max(times) + 1}
    with errors(f"reading the log stream {stream!r}"):
        for page in run.aws.logs().get_paginator("filter_log_events").paginate(**options):
            for event in page["events"]:
                begun = begun or request in event["message"]
                if begun:
                    waiting.append(_line(group, event))
                if request in event["message"]:
                    yield from waiting
                    waiting = []


def _bounds(start: datetime, end: datetime | None) -> tuple[dict[str, int], dict[str, int]]:
    begins = {"startTime": int((start - _MARGIN).timestamp() * 1000)}
    return begins, {} if end is None else {"endTime": int((end + _MARGIN).timestamp() * 1000)}


def _line(group: str, event: Any) -> LogLine:
    return LogLine(datetime.fromtimestamp(event["timestamp"] / 1000, UTC), group, event["message"].rstrip("\n"))


def _filtered(run: RunHandle, group: str, pattern: str, start: datetime, end: datetime | None) -> Iterator[LogLine]:
    begins, ends = _bounds(start, end)
    options: dict[str, Any] = {"logGroupName": group, "filterPattern": pattern, **begins, **ends}
    with errors(f"reading the log group {group!r}"):
        try:
            for page in run.aws.logs().get_paginator("filter_log_events").paginate(**options):
                for event in page["events"]:
                    yield _line(group, event)
        except Exception as error:
            # A function that never ran may have no log group yet.
            if error_code(error) != "ResourceNotFoundException":
                raise


def _function_groups(run: RunHandle) -> list[str]:
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
