"""The engine: an event loop in a thread, and the API in front of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cdk_distributed_map.local.api.operations import Api
from cdk_distributed_map.local.embedded.clients import EndpointClients, EndpointInvoker
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.embedded.sdk import DUMMIES, Sent
from cdk_distributed_map.local.execution.clock import Clock, new_loop
from cdk_distributed_map.local.execution.machines import DeployedMachines, Machines
from cdk_distributed_map.local.execution.records import Spool
from cdk_distributed_map.local.execution.registry import MapRuns
from cdk_distributed_map.local.execution.services import AllowAll, Authorizer, FunctionInvoker, Services
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.outcomes import Outcomes
from distmap import limits

_BLOCKING_THREADS = 32


class Engine:
    """Runs state machines.

    .. versionadded:: 0.1.0

    Args:
        endpoint_url: Address of the embedded AWS.
        region: Region in ARNs and of clients.
        keys: Credentials for the embedded AWS. Default: dummies.
        sent: Called with each request to it before it is sent. Default: nothing is.
        account: Account in ARNs.
        invoker: Runs Lambda functions. Default: the Lambda API of the embedded AWS does.
        authorizer: Decides what roles may do. Default: everything.
        machines: Where state machines are looked up. Default: in the embedded AWS.
        virtual_clock: Whether waits pass at once when nothing real is running. Default: they do.
        dispatch_rates: Whether a map starts its children no faster than AWS does. Default: it doesn't wait.
        result_file_bytes: Size at which a map's result file is followed by the next. Default: AWS's 5 GB.
        workdir: Folder of temporary files. Default: the system's.
        faults: What is to go wrong in maps; may be changed at any time. Default: nothing.
        outcomes: What tasks answer in place of what they call; may be changed at any time. Default: nothing.
        clock: Its clock, where others go by it too. Default: one of its own, as ``virtual_clock`` says.

    Example::

        with Engine(endpoint_url="http://localhost:4566") as engine:
            engine.call("StartExecution", {"stateMachineArn": arn})
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str = "us-east-1",
        keys: Keys = DUMMIES,
        sent: Sent | None = None,
        account: str = "000000000000",
        invoker: FunctionInvoker | None = None,
        authorizer: Authorizer | None = None,
        machines: Callable[[Services], Machines] = DeployedMachines,
        virtual_clock: bool = True,
        dispatch_rates: bool = False,
        result_file_bytes: int = limits.MAX_RESULT_FILE_BYTES,
        workdir: str | None = None,
        faults: Faults | None = None,
        outcomes: Outcomes | None = None,
        clock: Clock | None = None,
    ) -> None:
        clients = EndpointClients(endpoint_url, region=region, keys=keys, sent=sent)
        self._own_invoker = EndpointInvoker(clients) if invoker is None else None
        self._spool = Spool(workdir)
        self._threads = ThreadPoolExecutor(_BLOCKING_THREADS, thread_name_prefix="engine")
        clock = Clock(virtual=virtual_clock) if clock is None else clock
        runs: FunctionInvoker | None = self._own_invoker if invoker is None else invoker
        assert runs is not None  # noqa: S101 - one of the two
        self.services = Services(
            clock=clock,
            clients=clients,
            invoker=runs,
            authorizer=AllowAll() if authorizer is None else authorizer,
            region=region,
            account=account,
            dispatch_rates=dispatch_rates,
            result_file_bytes=result_file_bytes,
            workdir=workdir,
            threads=self._threads,
            map_runs=MapRuns(self._spool),
            faults=Faults() if faults is None else faults,
            outcomes=Outcomes() if outcomes is None else outcomes,
        )
        self._api = Api(self.services, machines(self.services))
        self._loop = new_loop(clock)
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)

    def __repr__(self) -> str:
        return f"<Engine {self.services.region} {self.services.account}>"

    def __enter__(self) -> Engine:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.close()

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def answers(self, action: str) -> bool:
        """Tell whether an action of the Step Functions API is answered here."""
        return self._api.answers(action)

    def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call an action of the Step Functions API.

        Raises:
            ApiError: AWS would answer with an error.
        """
        return asyncio.run_coroutine_threadsafe(self._api.call(action, parameters), self._loop).result()

    def wait(self, execution: str, *, seconds: float) -> bool:
        """Return once an execution has ended, without asking again and again.

        Args:
            execution: Its ARN.
            seconds: How long to wait at most.

        Returns:
            Whether it has ended. False too where it isn't known, and for children of a Map Run.
        """
        waiting = asyncio.run_coroutine_threadsafe(self._api.wait(execution), self._loop)
        try:
            return waiting.result(seconds)
        except TimeoutError:
            waiting.cancel()
            return False

    def take(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done on the engine's loop, without waiting for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Stop whatever runs, and the thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._own_invoker is not None:
            self._own_invoker.close()
        self._spool.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
