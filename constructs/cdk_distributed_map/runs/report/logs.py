"""Log lines of a run: those of its state machine, and of the very invocations it made."""

from __future__ import annotations

import heapq
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.sessions import error_code, errors
from cdk_distributed_map.runs.errors import InputError
from cdk_distributed_map.runs.files import scan
from cdk_distributed_map.runs.ledger.own_account import failed_items
from cdk_distributed_map.runs.report.invocations import REQUEST, LogLine, line_of, of_requests, only_errors

if TYPE_CHECKING:
    from cdk_distributed_map.runs.find.handles import RunHandle

__all__ = ["LogLine", "follow", "is_express", "lines", "of_item", "parse_since"]

_MARGIN: Final = timedelta(minutes=1)
_LONGEST_INVOCATION: Final = timedelta(minutes=15)
_STREAMS_AT_ONCE: Final = 100
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
_TELLING: Final = frozenset({"TaskSucceeded", "TaskFailed", "LambdaFunctionSucceeded", "LambdaFunctionFailed"})
"""Events that hold Lambda's answer, and with it the id of the request."""
_SINCE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FOLLOW_SECONDS: Final = 5.0
_FOLLOW_LOCAL_SECONDS: Final = 0.5
_LAST_LOOKS: Final = 2
"""How often to look again after the end of a run: CloudWatch Logs has lines a few seconds late."""


class Window(NamedTuple):
    """From when to when lines are asked for."""

    start: datetime
    end: datetime | None

    def options(self) -> dict[str, Any]:
        """Return it as arguments of FilterLogEvents."""
        begins = {"startTime": int(self.start.timestamp() * 1000)}
        return begins if self.end is None else {**begins, "endTime": int(self.end.timestamp() * 1000)}


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """Return the time that a user means: so long ago (``10m``), or an ISO 8601 time, of this time zone by default.

    Raises:
        InputError: It is neither.
    """
    amount = _SINCE.fullmatch(text.strip())
    try:
        if amount is not None:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[amount[2]]: float(amount[1])})
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"a time is how long ago, as in 90s, 10m, 2h or 1d, or an ISO 8601 time, got {text!r}"
        ) from error


def lines(
    run: RunHandle,
    *,
    child: str | None = None,
    limit: int | None = 200,
    since: datetime | None = None,
    bad_only: bool = False,
) -> Iterator[LogLine]:
    """Yield the log lines of a run in the order of time, at most ``limit``.

    They are its own alone: a function's, those of the invocations that say they were made for this run, or that its
    failed children name.

    Args:
        run: The run.
        child: ARN of a child: only its lines, and those of the very invocations it made. Express children have no
            history that names those: for them it is all lines of the run while the child ran.
        limit: How many at most. None: all.
        since: From when on. Default: from the start of the run.
        bad_only: Whether only lines are wanted that tell of errors.

    Raises:
        InputError: The child is none of this run's pipeline.
        AwsError: AWS refused a call.
    """
    described = run.describe()
    start, end, arn = described.started, described.stopped, run.arn
    if child is not None:
        parsed = arns.parse(child)
        if parsed.machine_arn() != run.pipeline.arn or not parsed.label:
            raise InputError(f"{child} is no child of a map of {run.pipeline.name!r}: see `distmap failures`")
        arn = child
        with errors(f"describing the child {child}"):
            answer = run.aws.sfn().describe_execution(executionArn=child)
        start, end = answer["startDate"], answer.get("stopDate")
    begin = start - _MARGIN if since is None else max(since, start - _MARGIN)
    window = Window(begin, None if end is None else end + _MARGIN)
    sources: list[Iterable[LogLine]] = []
    if run.pipeline.log_group is not None:
        sources.append(_of_machine(run, run.pipeline.log_group, window, arn))
    requests = _requests(run, child) if child is not None and not is_express(child) else None
    enough = None if bad_only else limit
    sources += [_of_function(run, group, window, requests, limit=enough) for group in _function_groups(run)]
    wanted = [sorted(only_errors(each) if bad_only else each, key=lambda line: line.time) for each in sources]
    chosen = (line for line in heapq.merge(*wanted) if since is None or line.time >= since)
    return itertools.islice(chosen, limit)


def of_item(run: RunHandle, index: int, *, limit: int | None = 200, bad_only: bool = False) -> Iterator[LogLine]:
    """Yield the log lines of the children that had an item, which are those of its whole batch.

    Args:
        run: The run.
        index: Index of the item.
        limit: How many at most. None: all.
        bad_only: Whether only lines are wanted that tell of errors.

    Raises:
        InputError: No child that has ended had it.
        AwsError: AWS refused a call.
    """
    children = list(dict.fromkeys(_children_of(run, index)))
    if not children:
        raise InputError(
            f"no result file of {run.name!r} has a child with the item {index:,}: it was not tried, is in none of "
            "several files that are indexed one by one, or Step Functions hasn't exported it yet"
        )
    lines_of_item = heapq.merge(*(lines(run, child=child, limit=None, bad_only=bad_only) for child in children))
    return itertools.islice(lines_of_item, limit)


def _children_of(run: RunHandle, index: int) -> Iterator[str]:
    """Yield the ARNs of the children that had an item, of rounds too."""
    for item in failed_items(run) or ():
        if item["index"] == index and item["child"]:
            yield item["child"]
            return
    with errors(f"reading the results of {run.name!r}"):
        for place in [*scan.places(run), *(place for each in scan.rounds(run) for place in each.places)]:
            reader = scan.reader(run, place, report=lambda _: None)
            for file in scan.files(reader):
                for child in reader.children(file) if file.kind != "PENDING" else ():
                    if child.arn is not None and any(number == index for number, _ in child.identities()):
                        yield child.arn


def follow(
    run: RunHandle,
    *,
    since: datetime | None = None,
    bad_only: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """Yield the log lines of a run as they come, until it has ended: each once, a late one after others.

    Args:
        run: The run.
        since: From when on. Default: from the start of the run.
        bad_only: Whether only lines are wanted that tell of errors.
        sleep: Waits for so many seconds.
    """
    yielded: dict[str, datetime] = {}
    looks, begin = 0, since
    while looks <= _LAST_LOOKS:
        looks = looks + 1 if run.describe().ended else 0
        for line in lines(run, limit=None, since=begin, bad_only=bad_only):
            if line.id not in yielded:
                yielded[line.id] = line.time
                yield line
        if yielded:
            # An invocation is known by its last line, and begins up to 15 minutes before.
            begin = max(
                max(yielded.values()) - _LONGEST_INVOCATION - _MARGIN, since or datetime.min.replace(tzinfo=UTC)
            )
            yielded = {key: at for key, at in yielded.items() if at >= begin}
        if looks <= _LAST_LOOKS:
            sleep(_FOLLOW_LOCAL_SECONDS if run.aws.is_local else _FOLLOW_SECONDS)


def is_express(child: str) -> bool:
    """Tell whether a child is an Express one, which has no history.

    Raises:
        InputError: It is no ARN of Step Functions.
    """
    return arns.parse(child).kind == "express"


def _requests(run: RunHandle, child: str) -> list[str]:
    """Return the ids of the Lambda requests that a child's history tells, attempts that failed included."""
    requests: dict[str, None] = {}
    with errors(f"reading the history of the child {child}"):
        for page in run.aws.sfn().get_paginator("get_execution_history").paginate(executionArn=child):
            for event in page["events"]:
                if event["type"] in _TELLING:
                    requests.update(dict.fromkeys(REQUEST.findall(json.dumps(event, default=str))))
    return list(requests)


def _of_machine(run: RunHandle, group: str, window: Window, arn: str) -> Iterator[LogLine]:
    """Yield the lines that the state machine wrote of an execution."""
    for event in _events(run, group, window, filterPattern=f'{{ $.execution_arn = "{arn}" }}'):
        yield line_of(group, event)


def _of_function(
    run: RunHandle, group: str, window: Window, requests: list[str] | None, *, limit: int | None
) -> Iterator[LogLine]:
    """Yield the lines of a function that are of a run, or of requests that are known.

    Args:
        run: The run.
        group: The function's log group.
        window: From when to when.
        requests: The requests. None: those of the run, which its runtime names in a line of each.
        limit: How many requests are enough, as each has more lines than one. None: all.
    """
    # The runtime writes a line for each batch, with the run in it. A request that was cut off has none: it is in the
    # cause of its child's failure.
    patterns = [(f'{{ $.runId = "{run.arn}" }}', run.arn)] if requests is None else []
    patterns += [(f'"{request}"', request) for request in (_cut_off(run) if requests is None else requests)]
    wanted: set[str] = set()
    streams: dict[str, list[int]] = {}
    for pattern, words in patterns:
        for event in _events(run, group, window, filterPattern=pattern):
            match = REQUEST.search(event["message"])
            if match is not None and words in event["message"]:
                wanted.add(match[1])
                streams.setdefault(event["logStreamName"], []).append(event["timestamp"])
            if limit is not None and len(wanted) >= limit:
                break
    names = list(streams)
    for at in range(0, len(names), _STREAMS_AT_ONCE):
        part = names[at : at + _STREAMS_AT_ONCE]
        times = [datetime.fromtimestamp(each / 1000, UTC) for name in part for each in streams[name]]
        whole = Window(min(times) - _LONGEST_INVOCATION, max(times) + _MARGIN)
        yield from of_requests(group, _events(run, group, whole, logStreamNames=part), wanted)


def _cut_off(run: RunHandle) -> list[str]:
    """Return the requests that the causes of failed items name, as of functions that timed out or ended."""
    requests: dict[str, None] = {}
    for item in failed_items(run) or ():
        requests.update(dict.fromkeys(REQUEST.findall(item.get("cause") or "")))
        if len(requests) >= _STREAMS_AT_ONCE:
            break
    return list(requests)


def _events(run: RunHandle, group: str, window: Window, **what: Any) -> Iterator[Any]:
    with errors(f"reading the log group {group!r}"):
        try:
            options = {"logGroupName": group, **what, **window.options()}
            for page in run.aws.logs().get_paginator("filter_log_events").paginate(**options):
                yield from page["events"]
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
