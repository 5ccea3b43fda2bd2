"""The path that an execution took, from its history: states, attempts, map runs and their children."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cdk_distributed_map import arns

_FAILURES: Final = ("Failed", "TimedOut", "StartFailed", "ScheduleFailed", "SubmitFailed")
_CALLS: Final = ("TaskScheduled", "LambdaFunctionScheduled")


@dataclass(kw_only=True)
class Attempt:
    """One call of a task.

    .. versionadded:: 0.1.0

    Attributes:
        input: What was sent: the arguments of an integration, or the event of a function.
        output: What was answered, None where it failed or hasn't ended.
        error: Name of the error, None without.
        cause: Its cause, None without.
    """

    input: Any
    output: Any = None
    error: str | None = None
    cause: str | None = None


@dataclass(kw_only=True)
class Visit:
    """A state that was entered.

    .. versionadded:: 0.1.0

    Attributes:
        state: Its name.
        type: Its type, such as ``Task``.
        input: Its input.
        output: Its output, None where it failed or hasn't ended.
        attempts: Its calls, of a task.
    """

    state: str
    type: str
    input: Any
    output: Any = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def errors(self) -> list[str | None]:
        """The error of each attempt, None of one that succeeded."""
        return [each.error for each in self.attempts]


@dataclass(kw_only=True)
class MapRunPath:
    """A run of a Distributed Map.

    .. versionadded:: 0.1.0

    Attributes:
        arn: Its ARN.
        status: ``SUCCEEDED``, ``FAILED`` ...
        label: Label of the map.
        items: Its items by status: ``total``, ``succeeded``, ``failed`` ...
        children: Its children in the order in which they began.
    """

    arn: str
    status: str
    label: str
    items: Mapping[str, int]
    children: list[ExecutionPath]

    @property
    def batches(self) -> list[int]:
        """The number of items that each child got."""
        return [len(each.items) for each in self.children]


@dataclass(kw_only=True)
class ExecutionPath:
    """The path that an execution took.

    .. versionadded:: 0.1.0

    Attributes:
        arn: ARN of the execution.
        status: ``SUCCEEDED``, ``FAILED`` ...
        input: Its input.
        output: Its output, None without.
        error: Name of its error, None without.
        cause: Cause of its error, None without.
        visits: The states that it entered, in order; none of an Express execution, which has no history.
        map_runs: Its runs of Distributed Maps, in order.
    """

    arn: str
    status: str
    input: Any
    output: Any = None
    error: str | None = None
    cause: str | None = None
    visits: list[Visit] = field(default_factory=list)
    map_runs: list[MapRunPath] = field(default_factory=list)

    @property
    def states(self) -> list[str]:
        """The names of the states that it entered, in order."""
        return [each.state for each in self.visits]

    @property
    def items(self) -> list[Any]:
        """The items that it got as a child: those of a batch, or its whole input."""
        if isinstance(self.input, dict) and isinstance(self.input.get("Items"), list):
            return list(self.input["Items"])
        return [self.input]

    def visit(self, state: str) -> Visit:
        """Return the only visit of a state.

        Raises:
            AssertionError: It was entered never, or more than once; the message has the states that were.
        """
        found = [each for each in self.visits if each.state == state]
        if len(found) != 1:
            message = f"the state {state!r} was entered {len(found)} times; the path is {' → '.join(self.states)}"
            raise AssertionError(message)
        return found[0]


def execution_path(sfn: Any, execution: str) -> ExecutionPath:
    """Return the path of an execution and of the children of its maps, of nested ones too.

    Args:
        sfn: A client of Step Functions.
        execution: ARN of the execution.
    """
    described = sfn.describe_execution(executionArn=execution)
    express = ":express:" in execution
    return ExecutionPath(
        arn=execution,
        status=described["status"],
        input=_value(described.get("input")),
        output=_value(described.get("output")),
        error=described.get("error"),
        cause=described.get("cause"),
        visits=[] if express else _visits(_pages(sfn, "get_execution_history", "events", executionArn=execution)),
        map_runs=[] if express else _map_runs(sfn, execution),
    )


def _map_runs(sfn: Any, execution: str) -> list[MapRunPath]:
    listed = [each["mapRunArn"] for each in _pages(sfn, "list_map_runs", "mapRuns", executionArn=execution)]
    found = []
    for arn in reversed(listed):
        described, parsed = sfn.describe_map_run(mapRunArn=arn), arns.split_states(arn)
        children = list(_pages(sfn, "list_executions", "executions", mapRunArn=arn))
        children.sort(key=lambda child: child["startDate"])
        found.append(
            MapRunPath(
                arn=arn,
                status=described["status"],
                label="" if parsed is None else parsed.label,
                items=described["itemCounts"],
                children=[execution_path(sfn, child["executionArn"]) for child in children],
            )
        )
    return found


def _pages(sfn: Any, operation: str, member: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    for page in sfn.get_paginator(operation).paginate(**parameters):
        yield from page[member]


def _visits(events: Iterable[Mapping[str, Any]]) -> list[Visit]:
    """Return the states of a history, whose branches and iterations are told apart by the event before each."""
    visits: list[Visit] = []
    # After each event: the state that is being run, the ones around it before.
    within: dict[int, tuple[Visit, ...]] = {}
    for event in events:
        kind, around = event["type"], within.get(event["previousEventId"], ())
        if kind.endswith("StateEntered"):
            details = event["stateEnteredEventDetails"]
            entered = _value(details.get("input"))
            visits.append(Visit(state=details["name"], type=kind.removesuffix("StateEntered"), input=entered))
            around = (*around, visits[-1])
        elif kind.endswith("StateExited") and around:
            around[-1].output = _value(event["stateExitedEventDetails"].get("output"))
            around = around[:-1]
        elif around:
            _note(around[-1], kind, event)
        within[event["id"]] = around
    return visits


def _note(visit: Visit, kind: str, event: Mapping[str, Any]) -> None:
    details: Mapping[str, Any] = event.get(f"{kind[:1].lower()}{kind[1:]}EventDetails", {})
    if kind in _CALLS:
        visit.attempts.append(Attempt(input=_value(details.get("parameters", details.get("input")))))
    elif kind in {"TaskSucceeded", "LambdaFunctionSucceeded"} and visit.attempts:
        visit.attempts[-1].output = _value(details.get("output"))
    elif kind.startswith(("Task", "LambdaFunction")) and kind.endswith(_FAILURES) and visit.attempts:
        visit.attempts[-1].error, visit.attempts[-1].cause = details.get("error"), details.get("cause")


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
