"""The processes of all functions: started when needed, kept warm, bounded in number."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.functions.load import Load
from cdk_distributed_map.local.functions.settings import CPUS, FunctionSettings
from cdk_distributed_map.local.functions.worker import Outcome, State, Worker
from cdk_distributed_map.local.guardian import Guardian

BUSY_PATIENCE: Final = 4
"""How many times longer an invocation waits for one more process where the machine is busy."""
TICK: Final = 0.05
"""How often memory, waiting invocations and idle processes are looked at, in seconds."""

Launch = Callable[[int, Path], tuple[list[str], dict[str, str]]]


class StartError(Exception):
    """A process ended, or took too long, before it asked for its first event.

    Args:
        outcome: How it ended.
        output: What it wrote.
        seconds: How long it took.
        out_of_memory: Whether it was ended for holding too much memory.
    """

    def __init__(self, outcome: Outcome, output: str, seconds: float, *, out_of_memory: bool = False) -> None:
        super().__init__(outcome.kind)
        self.out_of_memory = out_of_memory
        self.outcome = outcome
        self.output = output
        self.seconds = seconds


@dataclass(eq=False)
class _Group:
    """The processes of one version of one function."""

    config: FunctionConfig
    workers: set[Worker] = field(default_factory=set)
    idle: list[Worker] = field(default_factory=list)
    waiting: deque[tuple[float, asyncio.Future[Worker]]] = field(default_factory=deque)
    starting: int = 0
    last_used: float = 0.0

    def coming(self) -> int:
        """How many processes will be free without one more being started."""
        return self.starting + sum(1 for worker in self.workers if worker.state is State.FINISHING)


class Pool:
    """Hands out idle processes, and starts and ends them.

    Args:
        settings: Bounds.
        guardian: Watches over the processes.
        scratch: Folder for temporary files.
        launch: Makes, for a function, what starts a process of it, and says until when its credentials last.
        answer_bytes: Longest answer that is taken from a process.
        forks: What processes are forked from, which others may share. Default: its own, that ends with it.
    """

    def __init__(
        self,
        *,
        settings: FunctionSettings,
        guardian: Guardian,
        scratch: Path,
        launch: Callable[[FunctionConfig], Awaitable[tuple[Launch, float]]],
        answer_bytes: int,
        forks: Forks | None = None,
    ) -> None:
        self._settings = settings
        self._guardian = guardian
        self._scratch = scratch
        self._own_forks = Forks(guardian=guardian, scratch=scratch)
        self._forks = forks if forks is not None else self._own_forks
        self._launch = launch
        self._answer_bytes = answer_bytes
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._of_worker: dict[Worker, _Group] = {}
        self._slots = 0
        self._load = Load()
        self._grew = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._looking = False
        self._closed = False

    @property
    def size(self) -> int:
        """Processes there are, those that are starting included."""
        return self._slots

    @property
    def pids(self) -> list[int]:
        """Their ids."""
        return [worker.pid for worker in self._of_worker if worker.pid]

    async def take(self, config: FunctionConfig) -> Worker:
        """Return an idle process of a function, waiting for one where need be.

        Raises:
            StartError: The process that was started for this call didn't get as far as its first event.
            OSError: It could not be started at all.
        """
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())
        key = (config.arn, config.version, config.revision)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(config)
            self._retire_older(config)
        group.last_used = time.monotonic()
        deadline = time.time() + config.timeout
        while group.idle:
            worker = group.idle.pop()
            if worker.state is State.IDLE and worker.expires > deadline:
                return worker
            worker.kill()
        future: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        group.waiting.append((time.monotonic(), future))
        self._balance()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # It was given a process just as it lost interest.
                self._changed(future.result())
            raise

    async def close(self) -> None:
        """End every process and wait for their ends."""
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
        starting = list(self._tasks)
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        for worker in list(self._of_worker):
            worker.kill()
        give_up = time.monotonic() + 10
        while self._of_worker and time.monotonic() < give_up:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(self._own_forks.close)
        for group in self._groups.values():
            for _, future in group.waiting:
                future.cancel()

    def _retire_older(self, config: FunctionConfig) -> None:
        for key, group in list(self._groups.items()):
            if key[:2] == (config.arn, config.version) and key[2] != config.revision:
                for worker in group.idle:
                    worker.kill()
                group.idle.clear()

    def _balance(self) -> None:
        """Start processes for those who wait, the longest first, as far as the bounds allow."""
        if self._closed or self._full():
            return
        waiting = [group for group in self._groups.values() if group.waiting]
        waiting.sort(key=lambda group: group.waiting[0][0])
        for group in waiting:
            while len(group.waiting) > group.coming() and self._may_start(group):
                self._slots += 1
                group.starting += 1
                task = asyncio.get_running_loop().create_task(self._start(group, self._settings.init_seconds))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _full(self) -> bool:
        """Tell whether one function has all processes it may have without a wait: growth is for :meth:`_look`."""
        return len(self._groups) == 1 and self._slots >= self._settings.processes and not self._looking

    def _may_start(self, group: _Group) -> bool:
        if not group.workers and not group.starting:
            # No function starves because another one keeps all processes busy.
            return True
        if sum(other.starting for other in self._groups.values()) >= CPUS:
            # To start is to compute: more at once would all be ready later.
            return False
        if self._slots < self._settings.processes:
            return True
        idle = [(other.last_used, other) for other in self._groups.values() if other.idle and other is not group]
        if idle:
            min(idle, key=lambda pair: pair[0])[1].idle.pop(0).kill()
            return True
        return self._may_grow(group)

    def _may_grow(self, group: _Group) -> bool:
        now = time.monotonic()
        patience = self._settings.grow_seconds
        if not self._load.has_time():
            patience *= BUSY_PATIENCE
            if now - self._grew < patience:
                return False
        if now - group.waiting[0][0] < patience or self._slots >= self._settings.max_processes:
            return False
        self._grew = now
        return True

    async def _start(self, group: _Group, seconds: float) -> None:
        """Start a process and see it through to its first request."""
        worker: Worker | None = None
        counted = True
        try:
            launch, expires = await self._launch(group.config)
            worker = Worker(
                loop=asyncio.get_running_loop(),
                guardian=self._guardian,
                scratch=self._scratch,
                answer_bytes=self._answer_bytes,
                changed=self._changed,
                forks=self._forks,
            )
            worker.limit_mb, worker.expires = group.config.memory_mb, expires
            group.workers.add(worker)
            self._of_worker[worker] = group
            counted = False
            await worker.start(launch, group.config.code)
            asyncio.get_running_loop().call_later(seconds, self._too_slow, worker, seconds)
        except asyncio.CancelledError:
            if worker is not None and not worker.pid:
                self._remove(worker)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the one who waits for the process must hear of it
            if worker is not None:
                self._remove(worker)
            self._slots -= 1 if counted else 0
            group.starting -= 1
            self._fail_one(group, error)

    def _too_slow(self, worker: Worker, seconds: float) -> None:
        if worker.state is State.STARTING and worker.start_failure is None:
            worker.start_failure = Outcome("timeout", code=round(seconds))
            worker.kill()

    def _changed(self, worker: Worker) -> None:
        """A process asks for an event, or has ended."""
        group = self._of_worker.get(worker)
        if group is None:
            return
        if worker.state is State.ENDED:
            self._gone(worker, group)
        elif worker.state is State.IDLE:
            if worker.init_ms is not None and not worker.counted:
                worker.counted = True
                group.starting -= 1
            self._hand_over(worker, group)
        self._balance()

    def _hand_over(self, worker: Worker, group: _Group) -> None:
        if not worker.is_new and worker.expires <= time.time() + group.config.timeout:
            worker.kill()
            return
        while group.waiting:
            _, future = group.waiting.popleft()
            if not future.done():
                future.set_result(worker)
                return
        stale = self._groups.get((group.config.arn, group.config.version, group.config.revision)) is not group
        if stale or self._closed:
            worker.kill()
        else:
            group.idle.append(worker)

    def _gone(self, worker: Worker, group: _Group) -> None:
        if not worker.counted:
            worker.counted = True
            group.starting -= 1
            failure = worker.start_failure or Outcome("exit", code=-9)
            if failure.kind == "timeout" and failure.code == round(self._settings.init_seconds) != group.config.timeout:
                self._again(group)
            else:
                seconds = time.perf_counter() - worker.started
                self._fail_one(group, StartError(failure, worker.output(), seconds, out_of_memory=worker.out_of_memory))
        if worker in group.idle:
            group.idle.remove(worker)
        if worker.outcome is None or worker.collected:
            self._remove(worker)

    def _again(self, group: _Group) -> None:
        # Lambda starts a slow function once more, with the function's timeout for start and event together.
        self._slots += 1
        group.starting += 1
        task = asyncio.get_running_loop().create_task(self._start(group, float(group.config.timeout)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail_one(self, group: _Group, error: Exception) -> None:
        while group.waiting:
            _, future = group.waiting.popleft()
            if not future.done():
                future.set_exception(error)
                return

    def _remove(self, worker: Worker) -> None:
        group = self._of_worker.pop(worker, None)
        if group is None:
            return
        self._slots -= 1
        group.workers.discard(worker)
        worker.release()

    def collected(self, worker: Worker) -> None:
        """Say that the last invocation of a process has read all it wanted from it."""
        worker.collected = True
        if worker.state is State.ENDED:
            self._remove(worker)
            self._balance()

    async def _watch(self) -> None:
        while True:
            busy = any(worker.state in (State.BUSY, State.STARTING) for worker in self._of_worker)
            await asyncio.sleep(TICK if busy else 10 * TICK)
            self._look()

    def _look(self) -> None:
        self._load.look()
        now = time.monotonic()
        if self._settings.memory_limit:
            for worker in self._of_worker:
                if worker.state in (State.BUSY, State.STARTING) and worker.over_limit():
                    worker.out_of_memory = True
                    worker.kill()
        for group in self._groups.values():
            while group.idle and now - group.idle[0].idle_since > self._settings.idle_seconds:
                group.idle.pop(0).kill()
        if any(group.waiting for group in self._groups.values()):
            self._looking = True
            self._balance()
            self._looking = False
