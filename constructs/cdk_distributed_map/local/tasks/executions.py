"""``states:startExecution``: another state machine, waited for or not."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json, dumps, loads
from cdk_distributed_map.local.errors import (
    TASK_FAILED,
    ApiError,
    ExecutionStoppedError,
    StateError,
    UnsupportedError,
    runtime,
)
from cdk_distributed_map.local.execution import descriptions
from cdk_distributed_map.local.execution.runner import stop_execution
from cdk_distributed_map.local.tasks.http import of_json_service
from cdk_distributed_map.local.tasks.integration import Call, Integration, check_names, fitting, text_of

_PARAMETERS = frozenset({"StateMachineArn", "Name", "Input", "TraceHeader"})
_FORMS = ("startExecution", "startExecution.sync", "startExecution.sync:2", "startExecution.waitForTaskToken")
_MANAGED_RULE: Final = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
_OF_MANAGED_RULE: Final = ("events:DescribeRule", "events:PutRule", "events:PutTargets")


class StartExecution(Integration):
    """``arn:aws:states:::states:startExecution`` with ``.sync``, ``.sync:2``, ``.waitForTaskToken`` or neither."""

    def __init__(self, resource: str) -> None:
        super().__init__(resource, "states")
        if resource not in _FORMS:
            raise UnsupportedError(f"states:{resource} is not an integration: use one of {', '.join(_FORMS)}")
        self._waits = ".sync" in resource

    def check(self, arguments: Json) -> None:
        """Check the names of the arguments."""
        check_names(arguments, _PARAMETERS)

    async def run(self, arguments: Json, call: Call) -> Json:
        """Start the execution and, where asked, wait for its end."""
        if not isinstance(arguments.get("StateMachineArn"), str):
            raise runtime(f"states:startExecution needs a StateMachineArn, got: {dumps(arguments)}")
        machine = arguments["StateMachineArn"]
        call.refuse_elsewhere("StateMachineArn", machine)
        if self._waits:
            _check_managed_rule(call)
        denied = call.denied("states:StartExecution", machine)
        if denied is not None:
            raise StateError("StepFunctions.AWSStepFunctionsException", _refusal(denied, "AccessDeniedException"))
        execution_input = arguments.get("Input")
        execution_input = {} if execution_input is None else execution_input
        starter = call.frame.services.starter
        assert starter is not None  # noqa: S101 - an engine sets it before it runs anything
        try:
            started = await starter.start(machine, arguments.get("Name"), text_of(execution_input), role=call.role)
        except ApiError as error:
            name = f"{error.code.removesuffix('Exception')}Exception"
            raise StateError(f"StepFunctions.{name}", _refusal(error.message, error.code)) from error
        answer = {"ExecutionArn": started.arn, "StartDate": round(started.started * 1000)}
        answer |= of_json_service(answer, call.frame.services.clock.now())
        if self.resource == "startExecution":
            return answer
        call.submitted(answer)
        if self.token:
            return await call.answered()
        await _ended(started, call.frame.execution.arn)
        # As recorded: what has failed is told with its input as text, whichever the form.
        parsed = self.resource.endswith(":2") and started.status == "SUCCEEDED"
        described = _described(started, parsed=parsed)
        if started.status != "SUCCEEDED":
            raise StateError(TASK_FAILED, dumps(described))
        return fitting(self, described)


def _described(execution: Any, *, parsed: bool) -> dict[str, Any]:
    """Return DescribeExecution's answer as the SDK for Java has it: names in order, dates in milliseconds."""
    shown: dict[str, Any] = {}
    for key, value in sorted(descriptions.execution(execution).items()):
        described = value
        if key.endswith("Date"):
            described = round(value * 1000)
        elif key.endswith("Details"):
            described = {"Included": value["included"]}
        elif parsed and key in {"input", "output"}:
            described = loads(value)
        shown[f"{key[:1].upper()}{key[1:]}"] = described
    return shown


def _check_managed_rule(call: Call) -> None:
    """Check that the role may let AWS tell of the end of executions by its managed rule.

    https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html#sync-async-iam-policies

    Raises:
        StateError: ``States.Runtime``: it may not. AWS would have refused the state machine itself.
    """
    rule = call.frame.services.arn("events", _MANAGED_RULE)
    lacking = [action for action in _OF_MANAGED_RULE if call.denied(action, rule) is not None]
    if lacking:
        raise runtime(
            f"'{call.role}' is not authorized to create managed-rule, for which AWS refuses a state machine that waits "
            f"for executions: allow {', '.join(lacking)} on {rule}"
        )


async def _ended(execution: Any, by: str) -> None:
    """Wait for an execution's end; who is cancelled meanwhile stops it."""
    # Not awaited itself: it would take the cancellation, and end as if nothing had happened.
    try:
        await asyncio.wait({execution.task})
    except asyncio.CancelledError:
        cause = f"The Task state in AWS Step Functions execution [{by}] which was managing this resource was aborted"
        stop_execution(execution, ExecutionStoppedError("ABORTED", cause=cause))
        await asyncio.wait({execution.task})
        raise


def _refusal(message: str, code: str) -> str:
    return (
        f"{message} (Service: AWSStepFunctions; Status Code: 400; Error Code: {code}; Request ID: {uuid.uuid4()}; "
        "Proxy: null)"
    )
