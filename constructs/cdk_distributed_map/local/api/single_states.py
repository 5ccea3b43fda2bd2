"""TestState: one state, run by the engine once, with what it calls mocked or not.

https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from cdk_distributed_map.graphs import is_distributed, walk
from cdk_distributed_map.local.api import requests
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSON_PATH, JSONATA, JsonPathFlow
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import ApiError, StateError, UnsupportedError
from cdk_distributed_map.local.execution.frame import Execution, ExecutionFrame
from cdk_distributed_map.local.execution.history import Event
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.services import Services
from cdk_distributed_map.local.outcomes import Outcomes
from cdk_distributed_map.local.program import compile_state
from cdk_distributed_map.local.states.attempts import AttemptingState, matches
from cdk_distributed_map.local.states.state import State

Answer = dict[str, Any]

_LEVELS: Final = frozenset({"INFO", "DEBUG", "TRACE"})
_MODES: Final = frozenset({"STRICT", "PRESENT", "NONE"})
_MOCKED: Final = frozenset({"Task", "Map", "Parallel"})
_NAME: Final = "StateName"


class _Tested(NamedTuple):
    """A state to be tested."""

    name: str
    fields: Mapping[str, Any]
    language: str


async def tested(parameters: Answer, services: Services) -> Answer:
    """Answer TestState.

    Args:
        parameters: The call's.
        services: What executions need.

    Raises:
        ApiError: AWS would answer with an error.
    """
    state = _state_of(parameters)
    level = requests.one_of(parameters, "inspectionLevel", _LEVELS) or "INFO"
    outcomes = _mocked(parameters, state)
    _check_mock(state, mocked=outcomes is not None)
    frame = _frame(parameters, replace(services, outcomes=outcomes or Outcomes()))
    value = requests.execution_input(parameters.get("input"))
    retries = _retries(parameters)
    without = {key: field for key, field in state.fields.items() if key not in {"Retry", "Catch"}}
    try:
        outcome = await _compiled(state, without).run(value, frame)
    except StateError as error:
        answer, details = await _failed(error, state, value, frame, retries)
    else:
        answer, details = {"status": "SUCCEEDED", "output": dumps(outcome.output), "nextState": outcome.next}, None
    if level != "INFO":
        answer["inspectionData"] = _inspected(state, value, frame, details)
    return {key: field for key, field in answer.items() if field is not None}


async def _failed(
    error: StateError, state: _Tested, value: Json, frame: ExecutionFrame, retries: int
) -> tuple[Answer, Answer | None]:
    """Return what becomes of a failed attempt: another one, a state that catches it, or a failure."""
    failure = {"error": error.error, "cause": error.cause}
    compiled = _compiled(state, state.fields)
    if not isinstance(compiled, AttemptingState):
        return {"status": "FAILED", **failure}, None
    for at, retrier in enumerate(compiled.retriers):
        if matches(retrier.errors, error):
            if retries >= retrier.max_attempts:
                break
            seconds = round(retrier.delay(retries))
            return {"status": "RETRIABLE", **failure}, {"retryIndex": at, "retryBackoffIntervalSeconds": seconds}
    for at, catcher in enumerate(compiled.catchers):
        if matches(catcher.errors, error):
            evaluation = EvaluationContext(value, frame.context, frame.variables)
            failed = evaluation.with_error({"Error": error.error, "Cause": error.cause})
            output = dumps(catcher.output(evaluation, failed))
            frame.variables |= catcher.assigned(failed)
            return {"status": "CAUGHT_ERROR", "output": output, "nextState": catcher.next, **failure}, {
                "catchIndex": at
            }
    return {"status": "FAILED", **failure}, None


def _state_of(parameters: Answer) -> _Tested:
    try:
        definition = json.loads(requests.required(parameters, "definition"))
    except ValueError as error:
        raise ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{error}'") from error
    if not isinstance(definition, dict):
        raise ApiError("InvalidDefinition", "Invalid State Machine Definition: it is no object")
    name = parameters.get("stateName")
    language = definition.get("QueryLanguage", JSON_PATH)
    if "States" not in definition:
        # A state by itself has its language in it, and no name.
        return _Tested(name or _NAME, definition, language)
    if name is None:
        raise ApiError("ValidationException", "stateName is required where the definition is that of a state machine")
    fields = dict(walk(definition)).get(name)
    if fields is None:
        raise ApiError("ValidationException", f"State '{name}' not found in the state machine definition")
    return _Tested(name, fields, language)


def _compiled(state: _Tested, fields: Mapping[str, Any]) -> State:
    try:
        return compile_state(state.name, fields, state.language)
    except UnsupportedError as error:
        raise ApiError("InvalidDefinition", f"Invalid State Machine Definition: '{error}'") from error


def _mocked(parameters: Answer, state: _Tested) -> Outcomes | None:
    mock = parameters.get("mock")
    if mock is None:
        return None
    outcomes = Outcomes()
    checks = requests.one_of(mock, "fieldValidationMode", _MODES) != "NONE"
    error = mock.get("errorOutput")
    if (error is None) == (mock.get("result") is None):
        raise ApiError("ValidationException", "A mock must have either result or errorOutput")
    if error is None:
        outcomes.give(state.name, requests.execution_input(mock["result"]), check=checks)
    else:
        outcomes.fail(state.name, error.get("error", ""), cause=error.get("cause", ""), check=False)
    return outcomes


def _check_mock(state: _Tested, *, mocked: bool) -> None:
    kind = state.fields.get("Type")
    waits = str(state.fields.get("Resource", "")).endswith((".sync", ".sync:2", ".waitForTaskToken"))
    if mocked and kind not in _MOCKED:
        raise ApiError("ValidationException", f"State type '{kind}' is not supported when a mock is specified")
    if not mocked and (waits or kind in {"Map", "Parallel"}):
        what = f"Resource '{state.fields['Resource']}'" if waits else f"State type '{kind}'"
        raise ApiError("ValidationException", f"{what} is only supported when a mock is specified")


def _retries(parameters: Answer) -> int:
    """Return how often the state has been tried again before.

    Raises:
        ApiError: Something else of the state's past is given, which the engine doesn't take.
    """
    configuration = parameters.get("stateConfiguration") or {}
    unknown = sorted(set(configuration) - {"retrierRetryCount"})
    if unknown:
        message = f"the local engine doesn't take {unknown[0]} of a stateConfiguration: leave it out, or ask AWS"
        raise ApiError("ValidationException", message)
    return int(configuration.get("retrierRetryCount", 0))


def _frame(parameters: Answer, services: Services) -> ExecutionFrame:
    name = new_uuid()
    machine = Machine(
        arn=services.arn("states", "stateMachine:TestState"), name="TestState", role=parameters.get("roleArn", "")
    )
    execution = Execution(
        arn=services.arn("states", f"execution:TestState:{name}"),
        name=name,
        machine=machine,
        input=requests.execution_input(parameters.get("input")),
        services=services,
    )
    given = {field: requests.execution_input(parameters.get(field)) for field in ("context", "variables")}
    return ExecutionFrame(execution, {**execution.context(), **given["context"]}, variables=given["variables"])


def _inspected(state: _Tested, value: Json, frame: ExecutionFrame, details: Answer | None) -> Answer:
    """Return the data on its way through the state, as far as it got."""
    data: Answer = {"input": dumps(value), "errorDetails": details}
    flow = JsonPathFlow(state.fields, parameters="ItemSelector" if is_distributed(state.fields) else "Parameters")
    events = frame.execution.history.events
    sent, result = _detail(events, "Scheduled", "parameters", "input"), _detail(events, "Succeeded", "output")
    if state.fields.get("QueryLanguage", state.language) == JSONATA:
        data["afterArguments"] = sent
    else:
        evaluation = flow.enter(EvaluationContext(value, frame.context, frame.variables))
        data |= {"afterInputPath": dumps(evaluation.root), "afterParameters": sent}
        if result is not None:
            selected = flow.select(evaluation, json.loads(result))
            data |= {
                "afterResultSelector": dumps(selected),
                "afterResultPath": dumps(flow.place(evaluation, selected)),
            }
    data |= {"result": result, "variables": dumps(frame.variables) if frame.variables else None}
    return {key: entry for key, entry in data.items() if entry is not None}


def _detail(events: list[Event], kind: str, *names: str) -> str | None:
    """Return a text of the first event of a kind of calls."""
    for _, _, _, type_, details in events:
        if type_ in {f"Task{kind}", f"LambdaFunction{kind}"} and details is not None:
            return next((dumps(details[name][0]) for name in names if name in details), None)
    return None
