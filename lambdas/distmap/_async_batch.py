"""Items of an ``async def`` function: several of them wait at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from distmap._batch import BatchRun
from distmap._errors import ENDING
from distmap._item import ItemSlot, slot_of_thread
from distmap._json import as_sent
from distmap._waiting import event_loop
from distmap.wire import WorkerAnswer


class ItemCancelledError(Exception):
    """An item's own code cancelled it, which ends nothing but the item: ``CancelledError`` is no ``Exception``."""


class AsyncBatchRun(BatchRun):
    """One batch on its way through a coroutine function: see :class:`BatchRun`.

    An item that still waits when the deadline comes near is cancelled and left, as those are that weren't begun: of a
    function that is ended at its deadline nothing would be known.
    """

    def run(self, at_a_time: int) -> tuple[WorkerAnswer, int]:
        """Try every item, until the deadline comes near: see :meth:`BatchRun.run`."""
        event_loop.run(self._run_tasks(min(at_a_time, len(self._texts))))
        return self._answer()

    async def _run_tasks(self, number: int) -> None:
        tasks = [asyncio.create_task(self._take_and_await()) for _ in range(number)]
        seconds = self._deadline.ends - monotonic()
        try:
            done, _ = await asyncio.wait(
                tasks,
                timeout=None if seconds == float("inf") else max(0.0, seconds),
                return_when=asyncio.FIRST_EXCEPTION,
            )
        finally:
            self._waiting.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _take_and_await(self) -> None:
        work, deadline = self._work, self._deadline
        slot = ItemSlot(work.run, work.batch_input)
        slot_of_thread.set(slot)  # of this task alone, which has a context of its own
        while not deadline.is_near():
            try:
                position = self._waiting.popleft()
            except IndexError:
                break
            self._name(slot, position)
            started = monotonic()
            await self._try(position)
            ended = monotonic()
            self._seconds[position] = ended - started
            deadline.learn(started, ended)

    async def _try(self, position: int) -> None:
        value = self._work.values[position]
        try:
            self._texts[position] = as_sent(await self._awaited(self._call(value)), what="the result")
        except (*ENDING, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - any error of an item is the item's
            try:
                self._texts[position] = await self._retry.run_async(self._again, value, error, self._deadline)
            except (*ENDING, asyncio.CancelledError):
                raise
            except BaseException as last:  # noqa: BLE001 - likewise
                self._fail(position, last)

    async def _again(self, value: Any) -> str:
        return as_sent(await self._awaited(self._call(value)), what="the result")

    async def _awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            message = "the item's own code cancelled it"
            raise ItemCancelledError(message) from error
