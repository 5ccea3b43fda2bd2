"""Calls whose outcome a test has scripted: whole ones, and single items of what a function gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import StateError, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.execution.services import Answer
from cdk_distributed_map.local.outcomes import Outcome
from cdk_distributed_map.local.tasks.integration import Call, Integration, fitting
from cdk_distributed_map.local.tasks.lambda_task import LambdaFunction, LambdaInvoke, sdk_answer
from distmap import limits
from distmap._errors import EventError
from distmap._events import Work, read_work
from distmap._failed_batch import failure_message
from distmap._records import failed_batch
from distmap.wire import BATCH_FAILED_ERROR, SPILLED_KEY, ItemFailure, WorkerAnswer

_LISTS = ("batchItemResults", "batchItemFailures", "batchItemsUnprocessed")


class _Event(NamedTuple):
    """What a function gets of a pipeline."""

    payload: dict[str, Any]
    work: Work


async def answered(state: str, integration: Integration, arguments: Json, call: Call) -> Json:
    """Make a call of a state that outcomes are scripted for, as far as none is due in it.

    Raises:
        StateError: It failed, by what is scripted or by itself.
    """
    event = _event_of(integration, arguments)
    # What a function answers by item can be put together; whatever else befalls one of its items befalls the call.
    apart = event is not None and event.work.kind == "batch"
    items = _items_of(call.frame) if event is None else _identities(event.work)
    due = call.frame.services.outcomes.due(state, items, together=not apart)
    if due.whole is not None:
        return await _whole(due.whole, integration, event, call)
    if not due.items or event is None:
        return await integration.run(arguments, call)
    return await _by_item(due.items, integration, arguments, event, call)


def _event_of(integration: Integration, arguments: Json) -> _Event | None:
    """Return the event of a pipeline that a call sends to a function, None where it sends none."""
    if isinstance(integration, LambdaInvoke) and not integration.token:
        payload = arguments.get("Payload")
    elif isinstance(integration, LambdaFunction):
        payload = arguments
    else:
        return None
    work = _work_of(payload)
    return None if work is None else _Event(payload, work)


def _work_of(value: Json) -> Work | None:
    try:
        work = read_work(value)
    except EventError:
        return None
    return work if work.indexes is not None else None


def _identities(work: Work) -> list[tuple[int, str]]:
    return list(zip(work.indexes or [], work.identifiers(), strict=True))


def _items_of(frame: ExecutionFrame) -> list[tuple[int, str]]:
    """Return the items of the child that a call is made in, or of the iteration."""
    execution = frame.execution
    run = None if execution.map_run is None else frame.services.map_runs.get(execution.map_run)
    if run is None:
        index = frame.context.get("Map", {}).get("Item", {}).get("Index")
        return [] if index is None else [(index, str(index))]
    work = _work_of(execution.input)
    if work is not None:
        return _identities(work)
    number = run.records.number(execution.name)
    first = sum(run.records.items[:number])
    return [(at, str(at)) for at in range(first, first + run.records.items[number])]


async def _whole(outcome: Outcome, integration: Integration, event: _Event | None, call: Call) -> Json:
    call.forget_token()
    if outcome.kind == "time_out":
        # Time passes as it would: what limits the call ends it.
        if call.timeout is not None:
            await call.frame.services.clock.sleep(limits.MAX_EXECUTION_SECONDS)
        raise StateError(errors.TIMEOUT, None)
    if outcome.kind == "exhausted":
        number = outcome.result + outcome.used - 1
        raise runtime(f"The mocked responses of the state '{outcome.state}' say nothing of call {number}: add one")
    if outcome.kind == "fail":
        wrong = integration.refused_error(str(outcome.error)) if outcome.is_checked else None
        if wrong is not None:
            raise runtime(f"The scripted {outcome} can't come about: {wrong}")
        raise StateError(outcome.error, outcome.cause)
    result = outcome.result
    if outcome.item is not None and event is not None:
        (identifier,) = event.work.identifiers()
        answer = {**_nothing(), "batchItemResults": [{"itemIdentifier": identifier, "result": result}]}
        return fitting(integration, _sent(integration, answer))
    wrong = integration.refused_result(result) if outcome.is_checked else None
    if wrong is not None:
        raise runtime(f"The scripted {outcome} can't come about: {wrong}")
    return fitting(integration, result)


def _nothing() -> dict[str, Any]:
    return {name: [] for name in _LISTS}


def _sent(integration: Integration, answer: Mapping[str, Any]) -> Json:
    """Return a function's answer as a call of it has it."""
    if isinstance(integration, LambdaFunction):
        return answer
    return sdk_answer(Answer(payload=dumps(answer)), answer)


async def _by_item(
    due: Mapping[int, Outcome], integration: Integration, arguments: Json, event: _Event, call: Call
) -> Json:
    """Call the function with the items that nothing is scripted for, and put its answer and the others' together."""
    names = event.work.identifiers()
    answer: dict[str, Any] = _nothing()
    for position, outcome in due.items():
        if outcome.kind == "give":
            answer["batchItemResults"].append({"itemIdentifier": names[position], "result": outcome.result})
        else:
            failure: ItemFailure = {
                "itemIdentifier": names[position],
                "error": str(outcome.error),
                "cause": str(outcome.cause),
            }
            answer["batchItemFailures"].append(failure)
    rest = [item for position, item in enumerate(event.payload["Items"]) if position not in due]
    failed = not answer["batchItemResults"]
    if rest:
        called, failed_too = await _called(integration, arguments, {**event.payload, "Items": rest}, call)
        failed = failed and failed_too
        answer = {**called, **{name: [*called[name], *answer[name]] for name in _LISTS}}
    whole = _ordered(answer, names)
    if failed:
        message = dumps({"errorType": BATCH_FAILED_ERROR, "errorMessage": failure_message(event.work, whole)})
        raise StateError(BATCH_FAILED_ERROR, message)
    return fitting(integration, _sent(integration, whole))


async def _called(
    integration: Integration, arguments: Json, payload: dict[str, Any], call: Call
) -> tuple[dict[str, Any], bool]:
    """Return what a function answers, and whether all that it got failed."""
    direct = isinstance(integration, LambdaFunction)
    try:
        result = await integration.run(payload if direct else {**arguments, "Payload": payload}, call)
    except StateError as error:
        batch: Any = failed_batch({"Error": error.error, "Cause": error.cause})
        if batch is None:
            raise
        return _readable(batch), True
    return _readable(result if direct else result["Payload"]), False


def _readable(answer: Json) -> dict[str, Any]:
    if not isinstance(answer, dict) or SPILLED_KEY in answer or not set(_LISTS) <= set(answer):
        raise runtime(
            "What is scripted for an item can't be put into the answer of a function that isn't built on "
            "process_items, or that is over 240 KiB: script the whole call, without an item"
        )
    return answer


def _ordered(answer: Mapping[str, Any], names: list[str]) -> WorkerAnswer:
    """Return an answer whose items are in the order of the batch."""
    places = {name: at for at, name in enumerate(names)}

    def place(entry: Any) -> int:
        return places.get(entry if isinstance(entry, str) else entry["itemIdentifier"], len(places))

    ordered: WorkerAnswer = {**answer, **{name: sorted(answer[name], key=place) for name in _LISTS}}  # type: ignore[typeddict-item]
    return ordered
