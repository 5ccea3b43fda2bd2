"""Runs Lambda functions: limits, faults, processes and what Lambda answers."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from cdk_distributed_map.local.execution.clock import Clock
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.execution.services import Answer, Invocation
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.functions import launch as launch_module
from cdk_distributed_map.local.functions import nodes, report, results
from cdk_distributed_map.local.functions.asynchronous import Asynchronous
from cdk_distributed_map.local.functions.concurrency import Concurrency
from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.functions.launch import Credentials
from cdk_distributed_map.local.functions.libraries import MissingLibraryError, libraries_folder
from cdk_distributed_map.local.functions.packages import PackagesHere
from cdk_distributed_map.local.functions.pool import Launch, Pool, StartError
from cdk_distributed_map.local.functions.pythons import UnsupportedRuntimeError, native_client_fits, python_for
from cdk_distributed_map.local.functions.results import InvokeResult, ServiceError
from cdk_distributed_map.local.functions.settings import FunctionSettings
from cdk_distributed_map.local.functions.worker import Outcome, Worker
from cdk_distributed_map.local.guardian import Guardian
from distmap import limits

_SHUTDOWN_SECONDS: Final = 20


class Catalog(Protocol):
    """Knows the functions that are deployed."""

    async def function(self, name: str, qualifier: str | None) -> FunctionConfig:
        """Return a function as it is deployed now.

        Raises:
            ServiceError: There is none of that name: ``ResourceNotFoundException``.
        """

    async def credentials(self, config: FunctionConfig) -> Credentials:
        """Return credentials of a function's role."""

    def reservations(self) -> Mapping[str, int]:
        """Return what each function of the account reserved, by ARN."""


class Functions:
    """Runs Lambda functions in processes of their own; everything here is called on one event loop.

    Args:
        catalog: Knows the functions.
        endpoint: URL of the AWS endpoint that functions talk to.
        guardian: Ends their processes with the engine.
        scratch: Folder for temporary files.
        settings: Bounds and the like.
        faults: What is to go wrong.
        finished: Called with every invocation that ran.
        warn: Called with each warning, once.
        clock: Waits between the attempts of an asynchronous invocation pass on it. Default: in real time.
        forks: What processes are forked from, which others may share. Default: its own, that ends with it.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        endpoint: str,
        guardian: Guardian,
        scratch: Path,
        settings: FunctionSettings | None = None,
        faults: Faults | None = None,
        finished: Callable[[FunctionConfig, InvokeResult], None] | None = None,
        warn: Callable[[str], None] | None = None,
        clock: Clock | None = None,
        forks: Forks | None = None,
    ) -> None:
        self.settings = settings if settings is not None else FunctionSettings()
        self.faults = faults if faults is not None else Faults()
        self._catalog = catalog
        self._endpoint = endpoint
        self._finished = finished
        self._warn = warn
        self._warned: set[str] = set()
        self._packages = PackagesHere(self._warn_once)
        self._libraries: Path | None = None
        self._places: dict[str, report.Places] = {}
        self._concurrency = Concurrency(self.settings.account_concurrency)
        self._pool = Pool(
            settings=self.settings,
            guardian=guardian,
            scratch=scratch,
            launch=self._prepare,
            # An answer above Lambda's limit is counted, not kept.
            answer_bytes=limits.MAX_INVOCATION_PAYLOAD_BYTES,
            forks=forks,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.asynchronous = Asynchronous(self.run, clock=clock, warn=warn)
        """Events that nobody waits for."""

    @property
    def pids(self) -> list[int]:
        """Processes of functions that are there now."""
        return self._pool.pids

    async def invoke(self, invocation: Invocation) -> Answer:
        """Call a function, as Step Functions does.

        Raises:
            ServiceError: Lambda refuses the call.
        """
        payload = invocation.payload.encode()
        if not invocation.wait:
            request_id = await self.post(invocation.function, payload, qualifier=invocation.qualifier)
            return Answer(payload="", version=None, request_id=request_id, status=202)
        result = await self.run(invocation.function, payload, qualifier=invocation.qualifier)
        return Answer(
            payload=result.payload.decode("utf-8", "replace"),
            function_error=result.function_error,
            version=result.executed_version,
            request_id=result.request_id,
            log=result.log_tail if invocation.tail else None,
        )

    async def run(
        self, function: str, payload: bytes, *, qualifier: str | None = None, request_id: str | None = None
    ) -> InvokeResult:
        """Call a function and wait for its answer.

        Args:
            function: Name, partial ARN or ARN, with a qualifier or without.
            payload: JSON text of the event.
            qualifier: Version or alias.
            request_id: Lambda's id of the request. Default: one that is new.

        Returns:
            How the invocation went, failures of the function included.

        Raises:
            ServiceError: Lambda refuses the call: no such function, throttled, too large.
        """
        _check_size(payload, limits.MAX_INVOCATION_PAYLOAD_BYTES)
        self._loop = asyncio.get_running_loop()
        config = await self._catalog.function(function, qualifier)
        if self.faults.strikes("throttle", function=config.name):
            raise results.too_many_requests("CallerRateLimitExceeded")
        if self.faults.strikes("inactive", function=config.name):
            raise results.inactive()
        self._concurrency.acquire(config.arn, config.reserved_concurrency, self._catalog.reservations())
        try:
            result = await self._run(config, payload or b"{}", request_id or new_uuid())
        finally:
            self._concurrency.release(config.arn, config.reserved_concurrency)
        if self._finished is not None:
            self._finished(config, result)
        return result

    async def post(self, function: str, payload: bytes, *, qualifier: str | None = None) -> str:
        """Hand an event to a function without waiting; a failure is tried again twice. Returns the id of the request.

        Raises:
            ServiceError: Lambda refuses the call: no such function, too large.
        """
        _check_size(payload, limits.MAX_ASYNC_PAYLOAD_BYTES)
        self._loop = asyncio.get_running_loop()
        config = await self._catalog.function(function, qualifier)
        return self.asynchronous.take(config, function, payload, qualifier=qualifier)

    async def close(self) -> None:
        """End all processes."""
        self.asynchronous.close()
        await self._pool.close()

    def shutdown(self) -> None:
        """End all processes, from another thread than the loop's."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self.close(), self._loop).result(_SHUTDOWN_SECONDS)

    async def _prepare(self, config: FunctionConfig) -> tuple[Launch, float]:
        """Return what starts a process of a function."""
        credentials = await self._catalog.credentials(config)
        day = time.strftime("%Y/%m/%d", time.gmtime())
        stream = f"{day}/[{config.version}]{uuid.uuid4().hex}"
        command = await (self._python(config) if nodes.declared(config.runtime) is None else self._node(config))

        def launch(api_port: int, scratch: Path) -> tuple[list[str], dict[str, str]]:
            variables = launch_module.environment(
                config,
                endpoint=self._endpoint,
                credentials=credentials,
                api_port=api_port,
                stream=stream,
                scratch=scratch,
            )
            return command, variables

        return launch, credentials.expires

    async def _node(self, config: FunctionConfig) -> list[str]:
        """Return the command line of a function in Node.js.

        Raises:
            ServiceError: This machine has no Node.js.
        """
        try:
            node, warning = await asyncio.to_thread(nodes.node_for, config.runtime)
        except UnsupportedRuntimeError as error:
            raise ServiceError("InvalidRuntimeException", str(error), status=502) from error
        self._warn_once(warning)
        self._places[config.runtime] = ((str(launch_module.CHILD), "/var/runtime"),)
        return launch_module.node_command(node)

    def _warn_once(self, warning: str | None) -> None:
        if warning is not None and self._warn is not None and warning not in self._warned:
            self._warned.add(warning)
            self._warn(warning)

    async def _python(self, config: FunctionConfig) -> list[str]:
        """Return the command line of a function in Python.

        Raises:
            ServiceError: The libraries of Lambda's runtimes aren't installed, or packages of it don't run here.
        """
        python, warning = await asyncio.to_thread(python_for, config.runtime)
        self._warn_once(warning)
        if self._libraries is None:
            try:
                self._libraries = await asyncio.to_thread(libraries_folder, self.settings.cache)
            except MissingLibraryError as error:
                raise ServiceError("InvalidRuntimeException", str(error), status=502) from error
        libraries = self._libraries
        self._places[config.runtime] = launch_module.places(python, libraries)
        native = self.settings.native_client
        stand_in = not native_client_fits(python) if native is None else not native
        packages = await self._packages.folder(config, python)
        return launch_module.command(config, python, libraries, stand_in=stand_in, packages=packages)

    async def _run(self, config: FunctionConfig, payload: bytes, request_id: str) -> InvokeResult:
        try:
            worker = await self._pool.take(config)
        except StartError as error:
            return report.not_started(config, request_id, error, self._places.get(config.runtime, ()))
        first = worker.is_new
        worker.is_new = False
        started = time.perf_counter()
        worker.allow(config.timeout)
        try:
            outcome = await self._give(worker, config, payload, request_id)
        except asyncio.CancelledError:
            worker.kill()
            raise
        finally:
            duration = (time.perf_counter() - started) * 1000
            peak = worker.peak_mb()
            output = worker.output()
            if peak is not None and peak > config.memory_mb and self.settings.memory_limit:
                worker.out_of_memory = True
                worker.kill()
            self._pool.collected(worker)
        return report.finish(
            config,
            request_id,
            worker,
            outcome,
            duration=duration,
            peak=peak,
            output=output,
            first=first,
            places=self._places.get(config.runtime, ()),
        )

    async def _give(self, worker: Worker, config: FunctionConfig, payload: bytes, request_id: str) -> Outcome:
        if self.faults.strikes("hang", function=config.name):
            worker.hold(request_id)
        else:
            crash = self.faults.strikes("crash", function=config.name)
            worker.dropped = crash
            worker.send(
                payload,
                request_id=request_id,
                deadline_ms=int((time.time() + config.timeout) * 1000),
                arn=config.arn if config.version == "$LATEST" else f"{config.arn}:{config.version}",
                trace=_trace(),
            )
            if crash:
                worker.kill()
        assert worker.outcome is not None  # noqa: S101 - it has an event
        outcome = await worker.outcome
        if outcome.kind == "answer" and self.faults.strikes("lost_answer", function=config.name):
            worker.kill()
            return Outcome("exit", code=-9)
        return outcome


def _check_size(payload: bytes, most: int) -> None:
    if len(payload) > most:
        message = f"Request must be smaller than {most} bytes for the InvokeFunction operation"
        raise ServiceError("RequestTooLargeException", message, status=413)


def _trace() -> str:
    number = os.urandom(20).hex()
    return f"Root=1-{int(time.time()):08x}-{number[:24]};Parent={number[24:]};Sampled=0"
