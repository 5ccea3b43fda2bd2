"""``states:startExecution``: another state machine, waited for or not."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local._errors import (
    TASK_FAILED,
    ApiError,
    ExecutionStoppedError,
    StateError,
    UnsupportedError,
    runtime,
)
from cdk_distributed_map.local._json import Json, dumps
from cdk_distributed_map.local._runner import stop_execution
from cdk_distributed_map.local.tasks._integration import Call, Integration, fitting, text_of

_PARAMETERS = {"StateMachineArn", "Name", "Input", "TraceHeader"}
_FORMS = ("startExecution", "startExecution.sync", "startExecution.sync:2", "startExecution.waitForTaskToken")


class StartExecution(Integration):
    """``arn:aws:states:::states:startExecution`` with ``.sync``, ``.sync:2``, ``.waitForTaskToken`` or neither."""

    def __init__(self, resource: str) -> None:
        super().__init__(resource, "states")
        if resource not in _FORMS:
            raise UnsupportedError(f"states:{resource} is not an integration: use one of {', '.join(_FORMS)}")

    async def run(self, arguments: Json, call: Call) -> Json:
        """Start the execution and, where asked, wait for its end."""
        if not isinstance(arguments, Mapping) or not isinstance(arguments.get("StateMachineArn"), str):
            raise runtime(f"states:startExecution needs a StateMachineArn, got: {dumps(arguments)}")
        unknown = sorted(set(arguments) - _PARAMETERS)
        if unknown:
            raise runtime(f"The field '{unknown[0]}' is not supported by Step Functions")
        machine = arguments["StateMachineArn"]
        call.refuse_elsewhere("StateMachineArn", machine)
        denied = call.denied("states:StartExecution", machine)
        if denied is not None:
            raise StateError("StepFunctions.AWSStepFunctionsException", _refusal(denied, "AccessDeniedException"))
        given = arguments.get("Input")
        given = {} if given is None else given
        starter = call.frame.services.starter
        assert starter is not None  # noqa: S101 - an engine sets it before it runs anything
        try:
            started = await starter.start(machine, arguments.get("Name"), text_of(given), role=call.role)
        except ApiError as error:
            raise StateError(f"StepFunctions.{error.code}Exception", _refusal(error.message, error.code)) from error
        answer = {
            "ExecutionArn": started.arn,
            "StartDate": round(started.started * 1000),
            "SdkHttpMetadata": {"HttpStatusCode": 200},
            "SdkResponseMetadata": {"RequestId": str(uuid.uuid4())},
        }
        if self.resource == "startExecution":
            return answer
        call.submitted(answer)
        if self.token:
            return await call.answered()
        await _ended(started)
        described = self._described(started)
        if started.status != "SUCCEEDED":
            raise StateError(TASK_FAILED, dumps(described))
        return fitting(self, described)

    def _described(self, execution: Any) -> dict[str, Any]:
        parsed = self.resource.endswith(":2")

        def shown(value: Json) -> Json:
            return json.loads(dumps(value)) if parsed else dumps(value)

        described = {
            "ExecutionArn": execution.arn,
            "Input": shown(execution.input),
            "InputDetails": {"Included": True},
            "Name": execution.name,
            "StartDate": round(execution.started * 1000),
            "StateMachineArn": execution.machine.arn,
            "Status": execution.status,
            "StopDate": round((execution.stopped or 0) * 1000),
        }
        if execution.status == "SUCCEEDED":
            described |= {"Output": shown(execution.output), "OutputDetails": {"Included": True}}
        if execution.error is not None:
            described["Error"] = execution.error
        if execution.cause is not None:
            described["Cause"] = execution.cause
        return described


async def _ended(execution: Any) -> None:
    """Wait for an execution's end; who is cancelled meanwhile stops it."""
    # Not awaited itself: it would take the cancellation, and end as if nothing had happened.
    try:
        await asyncio.wait({execution.task})
    except asyncio.CancelledError:
        stop_execution(execution, ExecutionStoppedError("ABORTED"))
        await asyncio.wait({execution.task})
        raise


def _refusal(message: str, code: str) -> str:
    return f"{message} (Service: AWSStepFunctions; Status Code: 400; Error Code: {code})"
