"""One run of a Distributed Map: reads items, starts children, counts, and ends."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Final

from cdk_distributed_map.local import errors
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.distributed.children import (
    ChildExecutions,
    DispatchRate,
    NotAuthorizedError,
    Permits,
    keep_ended,
)
from cdk_distributed_map.local.distributed.item_queue import Queue
from cdk_distributed_map.local.distributed.redrive import Redrive
from cdk_distributed_map.local.distributed.tolerance import Tolerance
from cdk_distributed_map.local.distributed.writer import Children, Export
from cdk_distributed_map.local.errors import ExecutionStoppedError, StateError
from cdk_distributed_map.local.execution import records
from cdk_distributed_map.local.execution.clock import Timer
from cdk_distributed_map.local.execution.frame import Execution
from cdk_distributed_map.local.execution.progress import Progress
from cdk_distributed_map.local.execution.records import Records
from cdk_distributed_map.local.execution.runner import Program, run_execution, stop_execution, time_limit
from distmap import limits
from distmap.wire import ResultFile

ItemFeed = AsyncIterator[list[tuple[bytes, int]]]
"""Gives the inputs of children and the items in each, in blocks."""

_YIELD_EVERY: Final = 32
_BLINK: Final = 0.05
_BREACH_CAUSE: Final = "The specified tolerated failure threshold was exceeded"
# After these, no redrive goes on with the same map run.
_ANEW: Final = frozenset({errors.DATA_LIMIT, errors.RUNTIME})


class MapRun:
    """One run.

    Args:
        parent: Execution that the map is in.
        label: Label of the map.
        program: States of a child.
        express: Whether children are Express.
        concurrency: Most children at once, 0 for AWS's limit.
        tolerance: How many items may fail.
        spool: Where children are kept.
    """

    def __init__(
        self,
        *,
        parent: Execution,
        label: str,
        program: Program,
        express: bool,
        concurrency: int,
        tolerance: Tolerance,
        spool: records.Spool,
    ) -> None:
        services = parent.services
        machine = parent.machine
        self.id = str(uuid.uuid4())
        self.label = label
        self.parent = parent
        self._executions = ChildExecutions(
            run_id=self.id, label=label, machine=machine, express=express, services=services
        )
        self.root_name = machine.parsed.machine
        self.arn, self.machine = self._executions.run_arn, self._executions.machine
        self.status = "RUNNING"
        self.started = services.clock.now()
        self.stopped: float | None = None
        self.redrive_count = 0
        self.redriven: float | None = None
        self.tolerance = tolerance
        self.concurrency = concurrency
        self._spool = spool
        self.records = Records(self.id, spool)
        self.written = [0, 0]
        self.error: str | None = None
        """Name of the error it failed with."""
        self.anew = False
        """Whether a redrive makes a new run in its place."""
        self.entered = 0
        """Id of the event that its state was entered with: one of a loop is entered once for each round."""
        self.state_started = 0
        """Id of the event that its state started with."""
        self.succeeded_files: list[ResultFile] = []
        """The exported files of what has succeeded, in all attempts."""
        self.read = False
        """Whether all items have been read."""
        self._program = program
        self._services = services
        self._children: dict[int, tuple[Execution, asyncio.Task[None]]] = {}
        self._waiting: Queue | None = None
        """The children that wait, None once none is to begin any more."""
        self._failure: Exception | None = None
        self._wake = asyncio.Event()
        self._timer: Timer | None = None
        self._rate = DispatchRate(services, express=express)
        self._permits = Permits(services)
        self._redrive = Redrive()

    # -- what others ask

    def child_arn(self, at: int) -> str:
        """Return the ARN of a child."""
        return self._executions.arn(self.records.name(at))

    def listed_name(self, at: int) -> str:
        """Return a child's name as lists have it: of an Express one with the id of its execution."""
        return self._executions.listed_name(self.records.name(at))

    def child(self, at: int) -> Execution:
        """Return a child as it is now: running, or brought back from what is kept of it."""
        if at in self._children:
            return self._children[at][0]
        return self._executions.bring_back(self.records, at, waits=self.is_pending_redrive(at))

    @property
    def pending_redrive(self) -> list[int]:
        """Children, and their items, that a redrive will run again and that haven't begun yet."""
        return self._redrive.pending(self.records)

    @property
    def not_redrivable(self) -> list[int]:
        """Children, and items, that failed and that the last redrive could not run again."""
        return self._redrive.stuck

    def is_pending_redrive(self, at: int) -> bool:
        """Tell whether a child waits to be run again."""
        return at in self._redrive.waiting

    def changed(self) -> None:
        """Take notice of a changed limit."""
        self._wake.set()

    # -- running

    async def run(self, feed: ItemFeed | None) -> None:
        """Read all items and run all children; returns when none runs any more.

        Args:
            feed: The items, None for a redrive whose items have been read. Those that were read before a run was
                stopped are left out.

        Raises:
            StateError: The tolerance was breached, or the items couldn't be read.
        """
        reading = None if feed is None else asyncio.ensure_future(self._read(feed))
        self._waiting, self._failure = Queue(self.records, self._redrive.waiting), None
        self._permits.reset()
        try:
            await self._dispatch(self._waiting, reading)
            if reading is not None:
                await reading
        except BaseException as error:
            self._waiting = None
            await self._abort(all_of_them=True)
            if reading is not None and isinstance(error, NotAuthorizedError):
                # Whatever hasn't begun is exported as pending.
                await reading
            raise
        finally:
            if reading is not None:
                reading.cancel()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self.breached:
            raise StateError(errors.TOLERANCE, _BREACH_CAUSE)

    async def _read(self, feed: ItemFeed) -> None:
        known = len(self.records)
        try:
            async for inputs in feed:
                block = inputs[known:]
                known = max(0, known - len(inputs))
                self.records.extend(block)
                self._wake.set()
                await asyncio.sleep(0)
            self.read = True
        finally:
            self._wake.set()

    async def _dispatch(self, waiting: Queue, reading: asyncio.Future[None] | None) -> None:
        begun = 0
        while True:
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            if reading is not None and reading.done() and reading.exception() is not None:
                raise reading.exception() or AssertionError
            if self.breached:
                self._waiting = None
                # Standard children are ended, Express ones can't be; what hasn't begun stays pending.
                await self._abort(all_of_them=False)
                if reading is not None:
                    await reading
                await self._drained()
                return
            while len(self._children) < self._limit() and not self.breached:
                at = waiting.take()
                if at is None:
                    break
                await self._rate.turn()
                self._begin(at)
                begun += 1
                if begun % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            if not self._children and self.read and waiting.empty():
                return
            await self._wake.wait()

    def _limit(self) -> int:
        return min(self.concurrency or limits.MAX_CONCURRENT_CHILDREN, limits.MAX_CONCURRENT_CHILDREN)

    def _begin(self, at: int) -> None:
        redriven = at in self._redrive.waiting and not self.machine.express
        self._permits.check(self.parent.machine, child=self.child_arn(at) if redriven else None)
        if self._redrive.untouched:
            self.written = [0, 0]
        self._redrive.begin(self.records, at)
        before = self.records.result(at) if redriven else None
        if before is not None:
            self.records.redrives[at] = (self.records.redrive_count(at) + 1, self._services.clock.now())
            execution = self._executions.make(self.records, at)
            execution.history.events = before.events
            execution.history.last_id = len(before.events)
            execution.progress = Progress(before.progress)
            execution.resumed_runs = self._services.map_runs.to_resume(execution)
        else:
            execution = self._executions.make(self.records, at)
            execution.started = self._services.clock.now()
            self.records.started[at] = execution.started
        self.records.stopped[at] = 0
        self.records.move(at, records.RUNNING)
        task = asyncio.get_running_loop().create_task(self._child_run(at, execution))
        execution.task = task
        self._children[at] = (execution, task)
        # Not by the task itself: one that is cancelled before its first step runs nothing of its own, its end included.
        task.add_done_callback(lambda _: self._ended(at, execution))
        self._arm()

    async def _child_run(self, at: int, execution: Execution) -> None:
        duplicate = self._duplicate(at)
        try:
            await run_execution(execution, self._program)
            # What stops a child or runs out of time does so for both.
            if duplicate is not None and execution.status in {"SUCCEEDED", "FAILED"}:
                await duplicate
        finally:
            if duplicate is not None:
                duplicate.cancel()

    def _duplicate(self, at: int) -> asyncio.Task[None] | None:
        """Run an Express child a second time where that is asked for: nobody asks for its result."""
        if not self.machine.express or not self._services.faults.strikes("express_duplicate"):
            return None
        execution = self._executions.make(self.records, at)
        return asyncio.get_running_loop().create_task(run_execution(execution, self._program))

    def _ended(self, at: int, execution: Execution) -> None:
        self._children.pop(at, None)
        try:
            keep_ended(self.records, at, execution, now=self._services.clock.now())
            followed = self._followed()
        except Exception as error:  # noqa: BLE001 - nobody waits for a callback: what it fails with ends the run
            self._failure, followed = error, False
        if not followed:
            self._wake.set()

    def _followed(self) -> bool:
        """Begin the next child in the place of one that ended, where that needs no dispatcher; tell whether it did."""
        if self._waiting is None or self.breached or self._services.dispatch_rates:
            return False
        at = self._waiting.take() if len(self._children) < self._limit() else None
        if at is not None:
            self._begin(at)
        return at is not None

    @property
    def breached(self) -> bool:
        """Whether more items have failed than are tolerated."""
        items = self.records.counts[1]
        failed = items[records.FAILED] + items[records.TIMED_OUT] - self._redrive.forgiven
        return self.tolerance.breached(failed, sum(items) if self.read else None)

    async def _abort(self, *, all_of_them: bool) -> None:
        if self.machine.express and not all_of_them:
            return
        cause = f"The map run execution [{self.arn}] which was managing this resource was aborted"
        for execution, _ in list(self._children.values()):
            stop_execution(execution, ExecutionStoppedError("ABORTED", cause=cause))
        await self._drained()

    async def _drained(self) -> None:
        while self._children:
            await asyncio.wait([task for _, task in self._children.values()])

    def _arm(self) -> None:
        """Set one timer for all children: it is due when the oldest has taken too long."""
        oldest = next(iter(self._children.values()), None)
        if self._timer is None and oldest is not None and (self.machine.express or self._program.timeout is not None):
            clock = self._services.clock
            self._timer = clock.call_later(max(0, self._due(oldest[0]) - clock.now()), self._expire)

    def _due(self, execution: Execution) -> float:
        began = execution.started if execution.redriven is None else execution.redriven
        return began + time_limit(execution, self._program)

    def _expire(self) -> None:
        self._timer = None
        now = self._services.clock.now() + _BLINK
        for execution, _ in list(self._children.values()):
            if self._due(execution) > now:
                break
            stop_execution(execution, ExecutionStoppedError("TIMED_OUT", errors.TIMEOUT))
        else:
            return
        self._arm()

    # -- the end

    def children(self, redrive: int | None = None) -> Children:
        """Return the children as the result writer wants them.

        Args:
            redrive: The redrive that they are written in. Default: the last one that has begun.
        """
        number = self.redrive_count if redrive is None else redrive
        return Children(
            records=self.records,
            arn=self.child_arn,
            machine_arn=self.machine.arn,
            map_run_arn=self.arn,
            express=self.machine.express,
            folder=f"{self.id}/Redrive-{number}" if number else self.id,
            succeeded=self.succeeded_files,
        )

    def end(self, status: str) -> None:
        """End the run: what waits to be run again is what it was before, until the next redrive."""
        self.status = status
        self.stopped = self._services.clock.now()
        self._redrive.end()

    def fail(self, error: StateError | None) -> None:
        """End the run with an error, None for a defect of the engine or a library that is missing."""
        self.error = errors.RUNTIME if error is None else error.error
        self.anew = self.error in _ANEW and not isinstance(error, NotAuthorizedError)
        self.end("FAILED")

    async def export(self, export: Export) -> Json:
        """Export the results and return the state's output."""
        children = self.children()

        def write() -> Json:
            written = export.write(children)
            self.succeeded_files = written.succeeded
            self.records.note_exported()
            self.count_written()
            return written.output

        # A redrive must not begin while this writes: it would write the same again, or take for written what isn't.
        return await self._services.blocking_to_its_end(write)

    def count_written(self) -> None:
        """Count all results as written, of those that wait too."""
        self.written = [sum(count) for count in self.records.counts]

    def begin_redrive(self, parent: Execution) -> None:
        """Prepare to run again what didn't succeed.

        Args:
            parent: The execution that is redriven.
        """
        self.parent = parent
        self.redrive_count = parent.redrive_count
        self.redriven = self._services.clock.now()
        self.status = "RUNNING"
        self.stopped = None
        if self.error is not None and not self.read:
            # What could not be read is read anew; what was stopped meanwhile keeps the children it has.
            self.records = Records(self.id, self._spool)
        self.error = None
        self._redrive.prepare(self.records)
