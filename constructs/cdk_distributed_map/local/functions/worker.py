"""One process of a function: an execution environment in Lambda's words."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.functions.memory import MemoryMeter
from cdk_distributed_map.local.functions.runtime_api import BASE, Request, RuntimeConnection, event
from cdk_distributed_map.local.guardian import Guardian

LOG_BYTES: Final = 1024 * 1024
"""A process's output file is begun anew above this size; what one invocation writes beyond it is cut."""


class State(enum.Enum):
    """What a process is doing."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    FINISHING = "finishing"
    """It has answered, and is on its way to ask for the next event."""
    ENDED = "ended"


class Outcome(NamedTuple):
    """How an event, or a start, ended: with an answer, with an error the runtime reported, or with the process."""

    kind: str
    payload: bytes = b""
    size: int = 0
    code: int = 0


class Worker:
    """One process, with its Runtime API, its output and its memory.

    Args:
        loop: The engine's loop, on which everything here is called.
        guardian: Watches over the process.
        scratch: Folder for its temporary files.
        answer_bytes: Longest answer that is taken.
        changed: Called whenever its state has changed.
        forks: Starts it quickly, where it can.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        guardian: Guardian,
        scratch: Path,
        answer_bytes: int,
        changed: Callable[[Worker], None],
        forks: Forks,
    ) -> None:
        self.state = State.STARTING
        self.outcome: asyncio.Future[Outcome] | None = None
        self.start_failure: Outcome | None = None
        self.started = time.perf_counter()
        self.init_ms: float | None = None
        self.idle_since = 0.0
        self.limit_mb = 0
        self.out_of_memory = False
        self.timed_out = False
        self.dropped = False
        self._killed = False
        """Whether its answer no longer counts."""
        self.is_new = True
        """Whether it has not had an event yet."""
        self.counted = False
        """Whether it has stopped being one that is starting."""
        self.collected = True
        """Whether nobody needs what it wrote any more."""
        self._noted_mb: float | None = None
        """The most memory it was seen to hold in this invocation: once it has ended, nothing tells any more."""
        self.expires = float("inf")
        self.pid = 0
        self._loop = loop
        self._guardian = guardian
        self._forks = forks
        self._answer_bytes = answer_bytes
        self._changed = changed
        self._server: asyncio.Server | None = None
        self._next: RuntimeConnection | None = None
        self._early: RuntimeConnection | None = None
        self._connections: set[RuntimeConnection] = set()
        self._request_id = ""
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._meter: MemoryMeter | None = None
        self._folder = Path(tempfile.mkdtemp(dir=scratch))
        # A file rather than a pipe: what the handler wrote is there once it has answered, and nobody has to read along.
        self._log = (self._folder / ".output").open("ab", buffering=0)
        self._log_reader = (self._folder / ".output").open("rb", buffering=0)
        self._log_read = 0

    async def start(self, launch: Callable[[int, Path], tuple[list[str], dict[str, str]]], cwd: Path) -> None:
        """Start the process.

        Args:
            launch: Makes its command line and environment from the port of its Runtime API and its folder.
            cwd: Its working directory.

        Raises:
            OSError: It cannot be started.
        """
        self._server = await self._loop.create_server(self._connection, "127.0.0.1", 0)
        command, environment = launch(self._server.sockets[0].getsockname()[1], self._folder)
        born: asyncio.Future[int] = self._loop.create_future()
        arguments = (command, environment, cwd, born)
        threading.Thread(target=self._live, args=arguments, name="distmap-function", daemon=True).start()
        try:
            self.pid = await asyncio.shield(born)
        except OSError:
            self._clear()
            raise
        except asyncio.CancelledError:
            # A process on its way can't be called back: it is ended once it is there, and its end seen to as any other.
            with contextlib.suppress(OSError):
                self.pid = await born
                self.kill()
            raise
        if self.state is not State.ENDED:
            self._meter = MemoryMeter(self.pid)
            if self._early is not None:
                self._asked_for_next(self._early)

    def _live(self, command: list[str], environment: dict[str, str], cwd: Path, born: asyncio.Future[int]) -> None:
        # A thread of its own that lasts as long as the process: the kernel ends a child with the thread that made it.
        try:
            process = self._forks.start(command, environment, cwd, self._log) or subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
        except OSError as error:
            self._call(_fail, born, error)
            return
        self._guardian.watch(process.pid)
        self._call(_succeed, born, process.pid)
        code = process.wait()
        # What the function left running goes with it, as its sandbox would.
        _end_group(process.pid)
        self._guardian.release(process.pid)
        self._call(self._ended, code)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        # The loop may have been closed meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *args)

    def send(self, payload: bytes, *, request_id: str, deadline_ms: int, arn: str, trace: str) -> None:
        """Give the process, which must be idle, an event; :attr:`outcome` is done when it has ended."""
        assert self._next is not None  # noqa: S101 - it is idle
        self.state = State.BUSY
        self.collected = False
        self.outcome = self._loop.create_future()
        self._request_id = request_id
        self._noted_mb = None
        if self._meter is not None:
            self._meter.reset_peak()
        self._next.write(event(payload, request_id=request_id, deadline_ms=deadline_ms, arn=arn, trace=trace))
        self._next = None

    def hold(self, request_id: str) -> None:
        """Stop the process for good, in the middle of an invocation as far as anybody can tell."""
        self.state = State.BUSY
        self.collected = False
        self.outcome = self._loop.create_future()
        self._request_id = request_id
        if hasattr(signal, "SIGSTOP") and self.pid:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGSTOP)

    def allow(self, seconds: float) -> None:
        """End the process if the invocation that begins now takes longer; all of a process have the same time."""
        self._due = self._loop.time() + seconds
        # One timer for many invocations: it is set anew where it finds a later one than it was set for.
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self.outcome is None or self.outcome.done():
            return
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._expire)
        else:
            self.timed_out = self.dropped = True
            self.kill()

    def kill(self) -> None:
        """End the process and what it started; it gets no event any more, even if it asks for one before it ends."""
        self._killed = True
        self._note_peak()
        if self.state is not State.ENDED and self.pid:
            _end_group(self.pid)

    def over_limit(self) -> bool:
        """Say whether the process holds more memory than it may."""
        held = self._meter.now() if self._meter is not None else None
        if held is not None:
            self._noted_mb = max(held, self._noted_mb or 0.0)
        return held is not None and held > self.limit_mb

    def _note_peak(self) -> None:
        peak = self._meter.peak() if self._meter is not None else None
        self._noted_mb = self._noted_mb if peak is None else peak

    def peak_mb(self) -> float | None:
        """Return the most memory it held since its event came, in MB; None where the platform doesn't tell."""
        self._note_peak()
        return self._noted_mb

    def output(self) -> str:
        """Return what it wrote since this was last asked."""
        size = os.fstat(self._log_reader.fileno()).st_size
        if size <= self._log_read:
            return ""
        self._log_reader.seek(self._log_read)
        text = self._log_reader.read(min(size - self._log_read, LOG_BYTES))
        self._log_read = size
        if size > LOG_BYTES:
            self._log.truncate(0)
            self._log_read = 0
        return text.decode("utf-8", "replace")

    def _connection(self) -> RuntimeConnection:
        connection = RuntimeConnection(self._handle, self._lost, keep=self._answer_bytes)
        self._connections.add(connection)
        return connection

    def _lost(self, connection: RuntimeConnection) -> None:
        self._connections.discard(connection)
        if connection is self._next:
            self._next = None
        if connection is self._early:
            self._early = None

    def _handle(self, request: Request) -> None:
        path = request.path.removeprefix(BASE)
        if request.method == "GET" and path == "invocation/next":
            self._asked_for_next(request.connection)
        elif request.method == "POST" and path == f"invocation/{self._request_id}/response":
            self._answered(request, "answer")
        elif request.method == "POST" and path == f"invocation/{self._request_id}/error":
            self._answered(request, "error")
        elif request.method == "POST" and path == "init/error":
            request.connection.accept()
            self.start_failure = Outcome("error", request.body)
        else:
            error = {"errorMessage": f"unknown path or request id: {request.path}", "errorType": "InvalidRequestID"}
            request.connection.answer(400, error)

    def _asked_for_next(self, connection: RuntimeConnection) -> None:
        if self._killed:
            return
        if not self.pid:
            # It is quicker than the news of it. It can't be measured nor ended yet, so it gets no event yet.
            self._early = connection
            return
        if self.state is State.STARTING:
            self.init_ms = (time.perf_counter() - self.started) * 1000
        elif self.state is not State.FINISHING:
            return
        self._next = connection
        self.state = State.IDLE
        self.idle_since = time.monotonic()
        self._changed(self)

    def _answered(self, request: Request, kind: str) -> None:
        if self.outcome is None or self.outcome.done() or self.dropped:
            # It was given up meanwhile: its process is about to end.
            return
        if request.size > self._answer_bytes:
            request.connection.answer(413, {"errorMessage": "payload too large", "errorType": "RequestEntityTooLarge"})
        else:
            request.connection.accept()
        self.state = State.FINISHING
        self.outcome.set_result(Outcome(kind, request.body, request.size))

    def _ended(self, code: int) -> None:
        before, self.state = self.state, State.ENDED
        if before is State.STARTING and self.start_failure is None:
            self.start_failure = Outcome("exit", code=code)
        if self.outcome is not None and not self.outcome.done():
            self.outcome.set_result(Outcome("exit", code=code))
        self._changed(self)

    def release(self) -> None:
        """Give up what the ended process held: its output must have been read by now."""
        self._clear()

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.abort()
        if self._meter is not None:
            self._meter.close()
            self._meter = None
        self._log.close()
        self._log_reader.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _succeed(future: asyncio.Future[int], value: int) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[int], error: OSError) -> None:
    if not future.done():
        future.set_exception(error)


def _end_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)
