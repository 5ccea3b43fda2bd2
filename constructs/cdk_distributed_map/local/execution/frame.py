"""Executions, and execution frames: sequences of states in them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.errors import StateError
from cdk_distributed_map.local.execution.clock import iso
from cdk_distributed_map.local.execution.history import History, text
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.progress import Checkpoint, Path, Progress
from cdk_distributed_map.local.execution.services import Services


class Execution:
    """One execution.

    Args:
        arn: Its ARN.
        name: Its name.
        machine: What it runs.
        input: Its input.
        services: What it needs from outside.
        map_run: ARN of the map run it is a child of, if any.
    """

    __slots__ = (
        "arn",
        "cause",
        "error",
        "history",
        "input",
        "machine",
        "map_run",
        "name",
        "output",
        "progress",
        "redrive_count",
        "redriven",
        "resumed_runs",
        "services",
        "started",
        "status",
        "stopped",
        "task",
    )

    def __init__(
        self, *, arn: str, name: str, machine: Machine, input: Json, services: Services, map_run: str | None = None
    ) -> None:
        self.arn = arn
        self.name = name
        self.machine = machine
        self.input = input
        self.services = services
        self.map_run = map_run
        self.history = History(kept=not machine.express)
        self.status = "RUNNING"
        self.started = services.clock.now()
        self.stopped: float | None = None
        self.output: Json = None
        self.error: str | None = None
        self.cause: str | None = None
        self.redrive_count = 0
        self.redriven: float | None = None
        self.progress = Progress()
        self.resumed_runs: dict[Path, Any] = {}
        self.task: asyncio.Task[None] | None = None

    def context(self) -> dict[str, Any]:
        """Return the context object as far as it is the same for all states."""
        again = {} if self.redriven is None else {"RedriveTime": iso(self.redriven)}
        return {
            "Execution": {
                "Id": self.arn,
                "Input": self.input,
                "StartTime": iso(self.started),
                "Name": self.name,
                "RoleArn": self.machine.role,
                "RedriveCount": self.redrive_count,
                **again,
            },
            "StateMachine": {"Id": self.machine.arn, "Name": self.machine.name},
        }


class ExecutionFrame:
    """A sequence of states of an execution: its top level, a branch, or an iteration.

    Args:
        execution: The execution.
        context: Context object without the state.
        variables: Variables it starts with.
        last: Id of the event before it.
        path: Where it is in the execution, empty at the top level.
    """

    __slots__ = ("context", "execution", "last", "path", "resumed", "state", "variables")

    def __init__(
        self,
        execution: Execution,
        context: Mapping[str, Any],
        *,
        variables: Mapping[str, Json] | None = None,
        last: int = 0,
        path: Path = (),
    ) -> None:
        self.execution = execution
        self.context = context
        self.variables: dict[str, Json] = dict(variables or {})
        self.last = last
        self.path = path
        self.state: str | None = None
        """Type of the state that is running, None between states."""
        self.resumed: Checkpoint | None = None
        """Where a redrive goes on, until the state there has."""

    @property
    def services(self) -> Services:
        """What the execution needs from outside."""
        return self.execution.services

    def event(self, type: str, details: dict[str, Any] | None = None) -> int:
        """Add an event after the frame's last one."""
        execution = self.execution
        self.last = execution.history.add(type, self.last, execution.services.clock.now(), details)
        return self.last

    def inner(self, state: str, number: int, *, context: Mapping[str, Any] | None = None) -> ExecutionFrame:
        """Return a frame for a branch or an iteration of a state: it sees the variables, and assigns its own."""
        merged = self.context if context is None else {**self.context, **context}
        path = (*self.path, state, number)
        return ExecutionFrame(self.execution, merged, variables=self.variables, last=self.last, path=path)

    def evaluation_failed(self, error: StateError, state: str) -> None:
        """Add the event of a JSONata error."""
        if error.location is not None:
            details = {"error": error.error, "cause": error.cause, "location": error.location or None, "state": state}
            self.event("EvaluationFailed", details)


def entered(frame: ExecutionFrame, type: str, name: str, input: Json) -> tuple[int, float]:
    """Add the event of a state that begins, which is not there again where a redrive goes on in it.

    Returns:
        Id of the event, and when the state was entered.
    """
    resumed, frame.resumed = frame.resumed, None
    if resumed is not None:
        # Recorded: what a Fail state does follows the redrive's own event.
        frame.last = frame.last if type == "Fail" else resumed.number
        return resumed.number, resumed.entered
    # Execution events have no previous one: the first state follows 0, not ExecutionStarted.
    if not frame.path and frame.last == 1:
        frame.last = 0
    number = frame.event(f"{type}StateEntered", {"name": name, "input": text(input)})
    now = frame.services.clock.now()
    frame.execution.progress.reached(frame.path, Checkpoint(name, input, frame.variables, number, now))
    return number, now
