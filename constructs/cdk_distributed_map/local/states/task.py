"""Task."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.errors import StateError, UnsupportedError
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.attempts import AttemptingState
from cdk_distributed_map.local.states.number_rules import NumberField
from cdk_distributed_map.local.tasks.integration import Call, Integration
from cdk_distributed_map.local.tasks.scripted import answered


class TaskState(AttemptingState):
    """Calls something outside the state machine.

    Args:
        name: Its name.
        fields: Its fields.
        language: Its query language.
        integration: What makes an integration of a resource.
    """

    type = "Task"
    fields = AttemptingState.attempt_fields | {"Resource", "TimeoutSeconds", "HeartbeatSeconds", "Credentials"}
    json_path_fields = frozenset(
        {
            "InputPath",
            "OutputPath",
            "Parameters",
            "ResultPath",
            "ResultSelector",
            "TimeoutSecondsPath",
            "HeartbeatSecondsPath",
        }
    )
    jsonata_fields = frozenset({"Arguments", "Output"})

    def __init__(
        self, name: str, fields: Mapping[str, Any], language: str, integration: Callable[[str], Integration]
    ) -> None:
        super().__init__(name, fields, language)
        if "Credentials" in fields:
            raise UnsupportedError(
                f"state {name!r} has Credentials {fields['Credentials']!r}, which the local engine doesn't run: "
                "remove them and grant what they allow to the state machine's role"
            )
        resource = fields.get("Resource")
        if not isinstance(resource, str):
            raise UnsupportedError(f"state {name!r} has no Resource: give the ARN of what it calls")
        self._integration = integration(resource)
        self._timeout = NumberField(name, fields, "TimeoutSeconds", language, seconds=True)
        self._heartbeat = NumberField(name, fields, "HeartbeatSeconds", language, seconds=True)

    async def attempt(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Call once."""
        timeout = self._timeout.get(evaluation)
        heartbeat = self._heartbeat.get(evaluation)
        context = evaluation.context
        call = Call(frame=frame, integration=self._integration, timeout=timeout, heartbeat=heartbeat)
        if self._integration.has_token:
            token = call.new_token()
            evaluation = evaluation.with_context({**context, "Task": {"Token": token}})
        arguments = self.flow.arguments(evaluation, self._integration.default(evaluation.root))
        self._integration.check(arguments)
        call.scheduled(arguments)
        try:
            result = await _within(call, self._answer(arguments, call))
        except StateError as error:
            if error.error == errors.TIMEOUT and error.cause is None:
                call.ended("TimedOut", error)
            elif not error.terminal:
                call.ended("Failed", error)
            raise
        call.succeeded(result)
        return result

    def _answer(self, arguments: Json, call: Call) -> Coroutine[Any, Any, Json]:
        if call.frame.services.outcomes.scripts(self.name):
            return answered(self.name, self._integration, arguments, call)
        return self._integration.run(arguments, call)


_TOGETHER: Final = 0.1
"""How far apart, in seconds, calls begin that run out of time together though a second ends between them."""


class _OutOfTime:
    """Why a call was cancelled."""


async def _within(call: Call, work: Coroutine[Any, Any, Json]) -> Json:
    """Run a call in its time.

    Raises:
        StateError: ``States.Timeout``.
    """
    if call.timeout is None:
        return await work
    clock = call.frame.services.clock
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - coroutines of the engine run in tasks
    over = _OutOfTime()
    passed = clock.now() - call.frame.execution.started
    # AWS's timers go by the second: calls that began together run out of time together.
    timer = clock.call_later(math.ceil(passed + call.timeout - _TOGETHER) - passed, lambda: task.cancel(over))
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        if cancelled.args[:1] != (over,):
            raise
        task.uncancel()
        raise StateError(errors.TIMEOUT, None) from None
    finally:
        timer.cancel()
