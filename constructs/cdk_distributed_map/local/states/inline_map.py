"""Map, inline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA, Flow, JsonPathFlow
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.asl.jsonata import unexpected_type
from cdk_distributed_map.local.asl.templates import Template, plain_path
from cdk_distributed_map.local.errors import StateError, evaluation_error, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.execution.progress import Path
from cdk_distributed_map.local.states.attempts import AttemptingState
from cdk_distributed_map.local.states.number_rules import NumberField
from cdk_distributed_map.local.states.parallel import Runnable, aborted, from_inside, stop
from distmap import limits

MAP_FIELDS = AttemptingState.attempt_fields | {"ItemProcessor", "Iterator", "ItemSelector", "MaxConcurrency"}
TOLERANCE_FIELDS = frozenset({"ToleratedFailureCount", "ToleratedFailurePercentage"})
JSON_PATH_FIELDS = frozenset(
    {"InputPath", "OutputPath", "ResultPath", "ResultSelector", "ItemsPath", "Parameters", "MaxConcurrencyPath"}
)
TOLERANCE_PATHS = frozenset({f"{field}Path" for field in TOLERANCE_FIELDS})
JSONATA_FIELDS = frozenset({"Items", "Output"})


class Items:
    """Where a map's items come from in its input.

    Args:
        fields: The state's fields.
        language: Its query language.
        flow: Its data flow.
    """

    def __init__(self, fields: Mapping[str, Any], language: str, flow: Flow) -> None:
        self._language = language
        self._path: str = fields.get("ItemsPath", "$")
        self._at = plain_path(self._path, "ItemsPath") if "ItemsPath" in fields else None
        self._text = fields.get("Items")
        self._template: Template | None = flow.template(self._text, "Items") if "Items" in fields else None

    def get(self, evaluation: EvaluationContext, *, objects: bool) -> Json:
        """Return the items.

        Args:
            evaluation: What expressions can see.
            objects: Whether an object will do, whose entries are the items: in distributed mode.

        Raises:
            StateError: They aren't an array.
        """
        if self._language == JSONATA:
            return self._jsonata(evaluation, objects=objects)
        value = evaluation.root if self._at is None else self._at(evaluation)
        if not _iterable(value, objects=objects):
            cause = f'Reference path "{self._path}" must point to array.'
            raise StateError("States.Runtime", cause, terminal=True, in_state=True)
        return value

    def _jsonata(self, evaluation: EvaluationContext, *, objects: bool) -> Json:
        if self._template is None:
            if not _iterable(evaluation.input, objects=objects):
                raise evaluation_error(f"Map state input must be an array but was: {dumps(evaluation.input)}")
            return evaluation.input
        value = self._template(evaluation)
        if not _iterable(value, objects=objects):
            raise unexpected_type(self._text, "Items", "array", value)
        return value


def _iterable(value: Json, *, objects: bool) -> bool:
    return isinstance(value, list) or (objects and isinstance(value, dict))


def selector(fields: Mapping[str, Any], flow: Flow) -> Template | None:
    """Compile ItemSelector, or Parameters as it was called before."""
    name = "ItemSelector" if "ItemSelector" in fields else "Parameters"
    return flow.template(fields[name], name) if name in fields else None


def map_flow(fields: Mapping[str, Any]) -> JsonPathFlow:
    """Return the data flow of a map in JSONPath, whose Parameters belong to its items."""
    return JsonPathFlow({key: value for key, value in fields.items() if key != "Parameters"})


class InlineMapState(AttemptingState):
    """Runs its states for each item, inside the execution.

    Args:
        name: Its name.
        fields: Its fields.
        language: Its query language.
        compile: What compiles its states.
    """

    type = "Map"
    fields = MAP_FIELDS | TOLERANCE_FIELDS
    json_path_fields = JSON_PATH_FIELDS | TOLERANCE_PATHS
    jsonata_fields = JSONATA_FIELDS
    failed_event = "MapStateFailed"

    def __init__(
        self, name: str, fields: Mapping[str, Any], language: str, compile: Callable[[Mapping[str, Any]], Runnable]
    ) -> None:
        super().__init__(name, fields, language)
        self._program = compile(fields.get("ItemProcessor") or fields["Iterator"])
        self._items = Items(fields, language, self.flow)
        self._selector = selector(fields, self.flow)
        self._concurrency = NumberField(name, fields, "MaxConcurrency", language, default=0)

    def json_path_flow(self, fields: Mapping[str, Any]) -> Flow:
        """Return the data flow, whose Parameters belong to the items."""
        return map_flow(fields)

    async def attempt(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Run all iterations."""
        items = self._items.get(evaluation, objects=False)
        concurrency = self._concurrency.get(evaluation)
        if concurrency < 0:
            cause = f"MaxConcurrency must not be negative but was: {concurrency}"
            raise evaluation_error(cause, "MaxConcurrency") if self.language == JSONATA else runtime(cause)
        # A redrive goes on with iterations that have begun; nothing says again that they have.
        started = frame.last
        if not frame.execution.progress.is_inside((*frame.path, self.name)):
            started = frame.event("MapStateStarted", {"length": len(items)})
        run = _Iterations(self, evaluation, frame, items, started)
        results = await run.all(min(concurrency or limits.MAX_INLINE_CONCURRENCY, limits.MAX_INLINE_CONCURRENCY))
        frame.event("MapStateSucceeded")
        return results

    def iteration(
        self, evaluation: EvaluationContext, frame: ExecutionFrame, at: int, item: Json
    ) -> tuple[Json, ExecutionFrame]:
        """Return input and frame of an iteration."""
        item_context = {"Map": {"Item": {"Index": at, "Value": item}}}
        inner = frame.inner(self.name, at, context=item_context)
        if self._selector is None:
            return item, inner
        return self._selector(evaluation.with_context({**evaluation.context, **item_context})), inner

    async def run_program(self, input: Json, frame: ExecutionFrame) -> Json:
        """Run the states of an iteration."""
        return await self._program.run(input, frame)


class _Iterations:
    def __init__(
        self,
        state: InlineMapState,
        evaluation: EvaluationContext,
        frame: ExecutionFrame,
        items: list[Json],
        started: int,
    ) -> None:
        self._state = state
        self._evaluation = evaluation
        self._frame = frame
        self._items = items
        self._started = started
        self._tasks: dict[asyncio.Future[Json], tuple[int, ExecutionFrame]] = {}
        self._results: list[Json] = [None] * len(items)

    async def all(self, concurrency: int) -> list[Json]:
        """Run all iterations, so many at once."""
        done_before = self._frame.execution.progress.outputs
        waiting = []
        for at, item in enumerate(self._items):
            path = self._path(at)
            if path in done_before:
                self._results[at] = done_before[path]
            else:
                waiting.append((at, item))
        waiting.reverse()
        last = self._started
        try:
            while waiting or self._tasks:
                while waiting and len(self._tasks) < concurrency:
                    self._begin(*waiting.pop(), last)
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                failures = [task for task in done if task.exception() is not None]
                if failures:
                    await self._fail(min(failures, key=lambda task: self._tasks[task][0]))
                for task in sorted(done, key=lambda each: self._tasks[each][0]):
                    at, inner = self._tasks.pop(task)
                    self._results[at] = task.result()
                    last = inner.last
                    inner.event("MapIterationSucceeded", {"name": self._state.name, "index": at})
                    self._frame.last = last
        except asyncio.CancelledError:
            await stop(list(self._tasks))
            self._end(failed=None)
            raise
        finally:
            await stop(list(self._tasks))
        return self._results

    def _path(self, at: int) -> Path:
        return (*self._frame.path, self._state.name, at)

    def _begin(self, at: int, item: Json, last: int) -> None:
        value, inner = self._state.iteration(self._evaluation, self._frame, at, item)
        inner.last = last
        if inner.path not in self._frame.execution.progress.checkpoints:
            inner.event("MapIterationStarted", {"name": self._state.name, "index": at})
        self._tasks[asyncio.ensure_future(self._state.run_program(value, inner))] = (at, inner)

    async def _fail(self, failed: asyncio.Future[Json]) -> None:
        await stop(list(self._tasks))
        self._end(failed=failed)
        raise from_inside(failed)

    def _end(self, *, failed: asyncio.Future[Json] | None) -> None:
        """Add the events of the iterations that end unfinished, the one that failed first."""
        frame, name = self._frame, self._state.name
        order = sorted(self._tasks, key=lambda task: (task is not failed, self._tasks[task][0]))
        for task in order:
            at, inner = self._tasks[task]
            frame.last = inner.last
            outcome = "Failed" if task is failed else "Aborted"
            frame.event(f"MapIteration{outcome}", {"name": name, "index": at})
            aborted(inner, failed=task is failed, frame=frame)
