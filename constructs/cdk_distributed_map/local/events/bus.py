"""Sends events of executions to the default bus, in the order in which they happened."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cdk_distributed_map.local.events import status_change
from cdk_distributed_map.local.execution.services import Services

Put = Callable[[Sequence[Mapping[str, Any]]], None]
"""Puts events on buses: raises LookupError where there is no such bus."""
_MOST_AT_ONCE: Final = 50


class Bus:
    """The buses of EventBridge, for the engine.

    Args:
        services: Where executions run.
        put: Puts events on buses.
        warn: Called where they can't be, once.
    """

    def __init__(self, services: Services, put: Put, *, warn: Callable[[str], None]) -> None:
        self._services = services
        self._put = put
        self._warn = warn
        self._warned = False
        self._waiting: deque[dict[str, Any]] = deque()
        self._sending: asyncio.Task[None] | None = None

    def changed(self, execution: Any) -> None:
        """Send the event of an execution's new status, without waiting for it; Express ones have none.

        Nor have the children of a map: AWS doesn't say whether it sends any.
        """
        if execution.machine.express or execution.map_run is not None:
            return
        services = self._services
        self._waiting.append(status_change.record(execution, region=services.region, account=services.account))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def put(self, record: Mapping[str, Any]) -> None:
        """Put one event on its bus.

        Raises:
            LookupError: There is no such bus.
        """
        await self._services.blocking(lambda: self._put([record]))

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]
            try:
                await self._services.blocking(lambda batch=batch: self._put(batch))  # type: ignore[misc]  # bound at once
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    self._warn(f"EventBridge gets no events of executions: {error}")
