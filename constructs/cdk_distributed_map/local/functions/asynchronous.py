"""Events that nobody waits for: handed to a function in the background, and tried again as Lambda does.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from cdk_distributed_map.local.execution.clock import Clock
from cdk_distributed_map.local.execution.ids import new_uuid
from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.results import InvokeResult, ServiceError

RETRY_SECONDS: Final = (60.0, 120.0)
"""Waits before an event is tried again that the function failed on."""
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 300.0
"""Bounds of the waits before an event is tried again that could not be given to the function."""
_PASSING: Final = frozenset(
    {
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
"""What may pass: throttled, not active, out of order. The others say what is wrong with the function itself."""
_SHOWN: Final = 500
RETRIES_EXHAUSTED: Final = "RetriesExhausted"
TOO_OLD: Final = "EventAgeExceeded"


@dataclass(frozen=True, kw_only=True)
class EndedEvent:
    """An event that is done with.

    Args:
        config: The function.
        request_id: Lambda's id of the request, the same for all its attempts.
        payload: JSON text of the event.
        attempts: How often the function ran.
        result: How the last attempt went, None where the function never ran.
        condition: Why it was given up: ``RetriesExhausted`` or ``EventAgeExceeded``; None where the function succeeded.
    """

    config: FunctionConfig
    request_id: str
    payload: bytes
    attempts: int
    result: InvokeResult | None
    condition: str | None


class Run(Protocol):
    """Runs a function."""

    async def __call__(self, function: str, payload: bytes, *, qualifier: str | None, request_id: str) -> InvokeResult:
        """Return how it went.

        Raises:
            ServiceError: Lambda refuses the call.
        """


class Asynchronous:
    """The queues of events before functions.

    Args:
        run: Runs a function.
        clock: Waits between attempts pass on it, and while a function runs, time is not skipped.
        warn: Called with what was given up.
    """

    def __init__(
        self,
        run: Run,
        *,
        clock: Clock | None,
        warn: Callable[[str], None] | None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._warn = warn
        self.ended: Callable[[EndedEvent], Awaitable[None]] | None = None
        """Called with each event that is done with, to send it where the function wants it."""
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep if clock is None else clock.sleep
        self.under_way: set[asyncio.Task[None]] = set()

    def take(self, config: FunctionConfig, function: str, payload: bytes, *, qualifier: str | None) -> str:
        """Take an event in and return the id of its request."""
        request_id = new_uuid()
        task = asyncio.get_running_loop().create_task(
            self._see_through(config, function, payload, qualifier, request_id)
        )
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return request_id

    def close(self) -> None:
        """Drop all events."""
        for task in list(self.under_way):
            task.cancel()

    async def _see_through(
        self, config: FunctionConfig, function: str, payload: bytes, qualifier: str | None, request_id: str
    ) -> None:
        attempts, waited, pause = 0, 0.0, _FIRST_PAUSE_SECONDS
        condition: str | None = None
        last: InvokeResult | None = None
        while condition is None:
            went = await self._attempt(function, payload, qualifier=qualifier, request_id=request_id)
            if isinstance(went, InvokeResult):
                attempts, last = attempts + 1, went
                if went.function_error is None:
                    break
                wait = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
                given_up = attempts > config.events.retries
            else:
                wait, pause = pause, min(2 * pause, _LONGEST_PAUSE_SECONDS)
                given_up = went.status not in _PASSING
            if given_up:
                condition = RETRIES_EXHAUSTED
            elif waited + wait > config.events.age:
                condition = TOO_OLD
            else:
                await self.sleep(wait)
                waited += wait
        ended = EndedEvent(
            config=config,
            request_id=request_id,
            payload=payload,
            attempts=attempts,
            result=last,
            condition=condition,
        )
        if condition is not None and self._warn is not None:
            error_text = (
                went.payload.decode("utf-8", "replace")[:_SHOWN] if isinstance(went, InvokeResult) else str(went)
            )
            self._warn(
                f"the function {config.name} was given up on for an event that nobody waits for ({condition}, "
                f"{attempts} attempts, request {request_id}): {error_text}"
            )
        if self.ended is not None:
            await self.ended(ended)

    async def _attempt(
        self, function: str, payload: bytes, *, qualifier: str | None, request_id: str
    ) -> InvokeResult | ServiceError:
        with contextlib.nullcontext() if self._clock is None else self._clock.real():
            try:
                return await self._run(function, payload, qualifier=qualifier, request_id=request_id)
            except ServiceError as error:
                return error
