"""Runs one execution from its first event to its last."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.errors import ExecutionStoppedError, StateError
from cdk_distributed_map.local.execution.frame import Execution, ExecutionFrame
from cdk_distributed_map.local.execution.history import text
from distmap import limits


class Program(Protocol):
    """A compiled state machine, or the states of a map's child."""

    timeout: int | None

    async def run(self, input: Json, frame: ExecutionFrame) -> Json:
        """Run it and return its output."""


async def run_execution(execution: Execution, program: Program) -> None:
    """Run an execution, or go on with one that is redriven; afterwards it has its status, output and error."""
    frame = ExecutionFrame(execution, execution.context())
    if execution.progress.checkpoints:
        frame.last = execution.history.last_id
        frame.event("ExecutionRedriven", {"redriveCount": execution.redrive_count})
    else:
        details = {"input": text(execution.input), "roleArn": execution.machine.role}
        frame.event("ExecutionStarted", details)
    _tell(execution)
    try:
        await _run(execution, program, frame)
    finally:
        execution.stopped = execution.services.clock.now()
        _tell(execution)


def _tell(execution: Execution) -> None:
    if execution.services.status_changed is not None:
        execution.services.status_changed(execution)


async def _run(execution: Execution, program: Program, frame: ExecutionFrame) -> None:
    try:
        execution.output = await program.run(execution.input, frame)
        execution.status = "SUCCEEDED"
        frame.event("ExecutionSucceeded", {"output": text(execution.output)})
    except StateError as error:
        _end(execution, "FAILED", error.error, error.cause)
        frame.event("ExecutionFailed", {"error": error.error, "cause": error.cause})
    except asyncio.CancelledError as cancelled:
        stopped = cancelled.args[0] if cancelled.args else None
        if not isinstance(stopped, ExecutionStoppedError):
            stopped = ExecutionStoppedError("ABORTED")
        _end(execution, stopped.status, stopped.error, stopped.cause)
        timed_out = stopped.status == "TIMED_OUT"
        # Recorded of a task and a wait that are stopped: nothing but the execution's own event, which follows none.
        if frame.state in {"Map", "Parallel"} or (timed_out and frame.state in {"Task", "Wait"}):
            frame.event(f"{frame.state}StateAborted")
        frame.last = frame.last if timed_out else 0
        ended = "TimedOut" if timed_out else "Aborted"
        frame.event(f"Execution{ended}", {"error": stopped.error, "cause": stopped.cause})
    except Exception as error:  # noqa: BLE001 - a defect of the engine must end the execution, and say so
        _end(execution, "FAILED", errors.RUNTIME, f"the local engine failed: {type(error).__name__}: {error}")
        frame.event("ExecutionFailed", {"error": execution.error, "cause": execution.cause})
        asyncio.get_running_loop().call_exception_handler({"message": "the engine failed", "exception": error})


def _end(execution: Execution, status: str, error: str | None, cause: str | None) -> None:
    execution.status = status
    execution.error = error
    execution.cause = cause


def time_limit(execution: Execution, program: Program) -> int:
    """Return the most seconds that an execution may take."""
    most = limits.MAX_EXPRESS_SECONDS if execution.machine.express else limits.MAX_EXECUTION_SECONDS
    return most if program.timeout is None else min(most, program.timeout)


def start_execution(execution: Execution, program: Program) -> asyncio.Task[None]:
    """Start an execution on the running loop, with its time limit."""
    loop = asyncio.get_running_loop()
    task: asyncio.Task[None] = loop.create_task(run_execution(execution, program))
    execution.task = task
    watch = loop.create_task(_watch(execution, time_limit(execution, program)))
    task.add_done_callback(lambda _: watch.cancel())
    return task


async def _watch(execution: Execution, seconds: float) -> None:
    await execution.services.clock.sleep(seconds)
    # As recorded: the status says it, and there is no error beside it.
    stop_execution(execution, ExecutionStoppedError("TIMED_OUT"))


def stop_execution(execution: Execution, why: ExecutionStoppedError) -> None:
    """End an execution from outside."""
    task: Any = execution.task
    if task is not None and not task.done():
        task.cancel(why)
