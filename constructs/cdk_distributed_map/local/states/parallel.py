"""Parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.errors import StateError, UnsupportedError
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.attempts import AttemptingState

ABORTABLE = frozenset({"Task", "Wait", "Parallel", "Map"})
FAILS_AS_ABORTED = frozenset({"Task", "Wait"})


class Runnable(Protocol):
    """A compiled graph of states."""

    async def run(self, input: Json, frame: ExecutionFrame) -> Json:
        """Run it and return its output."""


class ParallelState(AttemptingState):
    """Runs branches side by side.

    Args:
        name: Its name.
        fields: Its fields.
        language: Its query language.
        compile: What compiles a branch.
    """

    type = "Parallel"
    fields = AttemptingState.attempt_fields | {"Branches"}
    json_path_fields = frozenset({"InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector"})
    jsonata_fields = frozenset({"Arguments", "Output"})
    failed_event = "ParallelStateFailed"

    def __init__(
        self, name: str, fields: Mapping[str, Any], language: str, compile: Callable[[Mapping[str, Any]], Runnable]
    ) -> None:
        super().__init__(name, fields, language)
        branches = fields.get("Branches")
        if not isinstance(branches, list) or not branches:
            raise UnsupportedError(f"state {name!r} has no Branches: give at least one")
        self._branches = [compile(branch) for branch in branches]

    async def attempt(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Run all branches; the first that fails ends the others."""
        value = self.flow.arguments(evaluation, evaluation.root)
        if not frame.execution.progress.is_inside((*frame.path, self.name)):
            frame.event("ParallelStateStarted")
        frames = [frame.inner(self.name, at) for at in range(len(self._branches))]
        pairs = zip(self._branches, frames, strict=True)
        tasks = [asyncio.ensure_future(branch.run(value, inner)) for branch, inner in pairs]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            failed = [task for task in tasks if task.done() and task.exception() is not None]
            if failed:
                await stop(tasks)
                for task, inner in zip(tasks, frames, strict=True):
                    aborted(inner, failed=task in failed, frame=frame)
                raise from_inside(failed[0])
        except asyncio.CancelledError:
            await stop(tasks)
            for inner in frames:
                aborted(inner, failed=False, frame=frame)
            raise
        finally:
            await stop(tasks)
        frame.last = max(inner.last for inner in frames)
        frame.event("ParallelStateSucceeded")
        return [task.result() for task in tasks]


def aborted(inner: ExecutionFrame, *, failed: bool, frame: ExecutionFrame) -> None:
    """Add the event of a state that was ended from outside, or by its own failure."""
    if inner.state in (FAILS_AS_ABORTED if failed else ABORTABLE):
        frame.event(f"{inner.state}StateAborted")


def from_inside(failed: asyncio.Future[Json]) -> BaseException:
    """Return the error of a branch or an iteration."""
    error = failed.exception()
    if isinstance(error, StateError):
        error.inside = True
    return AssertionError("nothing failed") if error is None else error


async def stop(tasks: Sequence[asyncio.Future[Json]]) -> None:
    """Cancel what still runs and wait until it has ended."""
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in tasks:
        if not task.cancelled():
            # Asked for, so that asyncio doesn't report it as forgotten.
            task.exception()


__all__ = ["ParallelState", "Runnable", "aborted", "from_inside", "stop"]
