"""Map, distributed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.express import refuse_in_express
from cdk_distributed_map.local.asl.flow import JSONATA, Flow
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.distributed.batcher import BatcherField, Unbatched
from cdk_distributed_map.local.distributed.children import NotAuthorizedError
from cdk_distributed_map.local.distributed.feed import Feed, state_data
from cdk_distributed_map.local.distributed.map_run import MapRun
from cdk_distributed_map.local.distributed.reader import ReaderField
from cdk_distributed_map.local.distributed.tolerance import Tolerance
from cdk_distributed_map.local.distributed.writer import Children, Export, WriterField
from cdk_distributed_map.local.errors import StateError, UnsupportedError, evaluation_error, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.execution.runner import Program
from cdk_distributed_map.local.states.attempts import AttemptingState
from cdk_distributed_map.local.states.inline_map import (
    JSON_PATH_FIELDS,
    JSONATA_FIELDS,
    MAP_FIELDS,
    TOLERANCE_FIELDS,
    TOLERANCE_PATHS,
    Items,
    map_flow,
    selector,
)
from cdk_distributed_map.local.states.number_rules import NumberField
from distmap import limits

_BAD_LABEL: Final = re.compile(r"[\s?*<>{}\[\]:;,\\|^~$#%&`\"/\x00-\x1f\x7f-\x9f]")


class DistributedMapState(AttemptingState):
    """Runs its states for each item, or each batch of items, in executions of their own.

    Args:
        name: Its name.
        fields: Its fields.
        language: Its query language.
        compile: What compiles its states.
    """

    type = "Map"
    fields = MAP_FIELDS | TOLERANCE_FIELDS | {"ItemReader", "ItemBatcher", "ResultWriter", "Label"}
    json_path_fields = JSON_PATH_FIELDS | TOLERANCE_PATHS
    jsonata_fields = JSONATA_FIELDS
    failed_event = "MapStateFailed"

    def __init__(
        self, name: str, fields: Mapping[str, Any], language: str, compile: Callable[[Mapping[str, Any]], Program]
    ) -> None:
        super().__init__(name, fields, language)
        processor = fields.get("ItemProcessor") or fields["Iterator"]
        self._program = compile(processor)
        self._express = self._is_express(processor["ProcessorConfig"])
        if self._express:
            refuse_in_express(processor)
        self._label = self._checked_label(fields.get("Label"))
        self._items = Items(fields, language, self.flow)
        reader, batcher = fields.get("ItemReader"), fields.get("ItemBatcher")
        if reader is not None and "Items" in fields:
            raise UnsupportedError(f"state {name!r} has Items beside ItemReader: keep one of them")
        self._reader = None if reader is None else ReaderField(name, reader, language, self.flow)
        self._batcher = None if batcher is None else BatcherField(name, batcher, language, self.flow)
        self._writer = WriterField(name, fields.get("ResultWriter"), language, self.flow)
        self._selector = selector(fields, self.flow)
        self._concurrency = NumberField(name, fields, "MaxConcurrency", language, default=0)
        self._count = NumberField(name, fields, "ToleratedFailureCount", language, default=0)
        self._percentage = NumberField(name, fields, "ToleratedFailurePercentage", language, whole=False, default=0.0)

    def json_path_flow(self, fields: Mapping[str, Any]) -> Flow:
        """Return the data flow, whose Parameters belong to the items."""
        return map_flow(fields)

    def _is_express(self, config: Mapping[str, Any]) -> bool:
        kind = config.get("ExecutionType")
        if kind not in {"STANDARD", "EXPRESS"}:
            raise UnsupportedError(
                f"state {self.name!r} has ExecutionType {kind!r} in ProcessorConfig: give STANDARD or EXPRESS"
            )
        return bool(kind == "EXPRESS")

    def _checked_label(self, label: Any) -> str | None:
        if label is None:
            return None
        if not isinstance(label, str) or not 0 < len(label) <= limits.MAX_LABEL_LENGTH or _BAD_LABEL.search(label):
            raise UnsupportedError(
                f"state {self.name!r} has the Label {label!r}: give 1 to {limits.MAX_LABEL_LENGTH} characters without "
                'white space or any of ? * < > { } [ ] : ; , \\ | ^ ~ $ # % & ` " /'
            )
        return label

    async def attempt(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Run the map once, or go on with a map run that is redriven."""
        resumed = frame.execution.resumed_runs.pop((*frame.path, self.name), None)
        if resumed is not None:
            return await self._redriven(resumed, evaluation, frame)
        items = self._given(evaluation)
        started = frame.event("MapStateStarted", {"length": 0 if items is None else len(items)})
        run = self._new_run(evaluation, frame)
        run.entered = frame.execution.progress.checkpoints[frame.path].number
        run.state_started = started
        export = self._writer.open(evaluation, frame)
        feed = self._feed(evaluation, frame, items)
        await self._test(export, run.children(), frame)
        frame.event("MapRunStarted", {"mapRunArn": run.arn})
        frame.services.map_runs.add((*frame.path, self.name), run)
        return await self._run(run, feed, export, frame)

    def _given(self, evaluation: EvaluationContext) -> Json:
        """Return the items of the state's input, None where they are read."""
        return None if self._reader is not None else self._items.get(evaluation, objects=True)

    @staticmethod
    async def _test(export: Export | None, children: Children, frame: ExecutionFrame) -> None:
        if export is not None:
            await frame.services.blocking(lambda: export.test(children))

    def _feed(self, evaluation: EvaluationContext, frame: ExecutionFrame, items: Json) -> Feed:
        batcher = Unbatched() if self._batcher is None else self._batcher.open(evaluation)
        most = limits.MAX_ITEMS if self._reader is None else self._reader.max_items(evaluation)
        # AWS ignores ItemsPath beside an ItemReader: recorded with a path that leads nowhere.
        chunks = state_data(items) if self._reader is None else self._reader.open(evaluation, frame).chunks()
        return Feed(
            chunks,
            services=frame.services,
            evaluation=evaluation,
            selector=self._selector,
            batcher=batcher,
            max_items=most,
            blocking=self._reader is not None,
        )

    def _new_run(self, evaluation: EvaluationContext, frame: ExecutionFrame) -> MapRun:
        concurrency = self._concurrency.get(evaluation)
        count, percentage = self._count.get(evaluation), self._percentage.get(evaluation)
        for name, value in (("MaxConcurrency", concurrency), ("ToleratedFailureCount", count)):
            if value < 0:
                raise self._wrong(f"{name} cannot be negative.", name)
        if not 0 <= percentage <= 100:
            raise self._wrong("ToleratedFailurePercentage must be between 0 and 100.", "ToleratedFailurePercentage")
        label = self._label
        if label is None:
            label = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{frame.execution.machine.arn}/{self.name}"))
        return MapRun(
            parent=frame.execution,
            label=label,
            program=self._program,
            express=self._express,
            concurrency=concurrency,
            tolerance=Tolerance(count=count, percentage=float(percentage)),
            spool=frame.services.map_runs.spool,
        )

    def _wrong(self, cause: str, field: str) -> StateError:
        return evaluation_error(cause, field) if self.language == JSONATA else runtime(cause)

    async def _redriven(self, run: MapRun, evaluation: EvaluationContext, frame: ExecutionFrame) -> Json:
        """Run again what didn't succeed: items that have all been read are not read again."""
        count = frame.execution.redrive_count
        frame.last = run.state_started
        frame.event("MapRunRedriven", {"mapRunArn": run.arn, "redriveCount": count})
        export = self._writer.open(evaluation, frame)
        await self._test(export, run.children(count), frame)
        feed = None if run.read else self._feed(evaluation, frame, self._given(evaluation))
        run.begin_redrive(frame.execution)
        return await self._run(run, feed, export, frame)

    async def _run(self, run: MapRun, feed: Feed | None, export: Export | None, frame: ExecutionFrame) -> Json:
        try:
            async with frame.services.map_runs.slots:
                output = await self._ran(run, feed, export)
        except StateError as error:
            if error.location is None:
                frame.event("MapRunFailed", {"error": error.error, "cause": error.cause})
            run.fail(error)
            raise
        except asyncio.CancelledError:
            frame.event("MapRunAborted")
            run.end("ABORTED")
            raise
        except Exception:
            # A defect of the engine, or a library that is missing: the execution says so.
            run.fail(None)
            raise
        run.end("SUCCEEDED")
        frame.event("MapRunSucceeded")
        frame.event("MapStateSucceeded")
        return output

    async def _ran(self, run: MapRun, feed: Feed | None, export: Export | None) -> Json:
        try:
            await run.run(feed)
        except StateError as error:
            if export is not None and (error.error == errors.TOLERANCE or isinstance(error, NotAuthorizedError)):
                # On AWS the state has failed before the export ends, so the export can't change how.
                with contextlib.suppress(StateError):
                    await run.export(export)
            raise
        if export is not None:
            return await run.export(export)
        output = self._writer.inline(run.children(), limits.MAX_PAYLOAD_BYTES)
        run.count_written()
        if output is None:
            over = errors.too_large(self.name)
            raise StateError(over.error, over.cause, hidden_from_all=True)
        return output
