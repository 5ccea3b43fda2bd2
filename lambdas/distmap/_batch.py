"""Every item of a batch, each on its own: the loop behind ``process_items``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from time import monotonic
from typing import Any

from distmap._deadline import Deadline
from distmap._errors import NotJsonError
from distmap._events import Work
from distmap._item import ItemSlot, slot_of_thread
from distmap._json import measure
from distmap._retry import ItemRetry
from distmap.wire import ItemFailure, ItemResult, WorkerAnswer


class BatchRun:
    """One batch on its way through a user's function.

    Threads share nothing but a deque of positions, whose ``popleft`` is atomic, and each writes only the outcomes
    of the positions it took.
    """

    def __init__(self, work: Work, call: Callable[[Any], Any], *, retry: ItemRetry, deadline: Deadline) -> None:
        """Take a batch.

        Args:
            work: The batch.
            call: The user's function of one value.
            retry: Which errors of an item are tried again.
            deadline: When to stop taking items.
        """
        self._work = work
        self._call = call
        self._retry = retry
        self._deadline = deadline
        self._identifiers = list(map(str, range(len(work.values)) if work.indexes is None else work.indexes))
        self._waiting = deque(range(len(work.values)))
        self._results: list[ItemResult | None] = [None] * len(work.values)
        self._failures: dict[int, ItemFailure] = {}

    def run(self, threads: int) -> tuple[WorkerAnswer, int]:
        """Try every item, until the deadline comes near.

        Args:
            threads: How many items are in work at a time.

        Returns:
            Results, failures and what was not taken, each in the order of the batch, all of it JSON; and its size in
            bytes as Step Functions will see it.

        Raises:
            BaseException: What must not be swallowed: memory, interpreter exit, interruption.
        """
        threads = min(threads, len(self._results))
        if threads == 1:
            self._take_items()
        else:
            self._run_threads(threads)
        return self._answer()

    def _take_items(self) -> None:
        """Take items until there is none left or the deadline comes near."""
        work, call, deadline, results = self._work, self._call, self._deadline, self._results
        indexes, identifiers, values, take = work.indexes, self._identifiers, work.values, self._waiting.popleft
        slot = ItemSlot(work.run, work.batch_input)
        token = slot_of_thread.set(slot)
        now = monotonic()
        try:
            while now + deadline.expected < deadline.ends:
                try:
                    position = take()
                except IndexError:
                    break
                if indexes is not None:
                    slot.index = indexes[position]
                try:
                    results[position] = {"itemIdentifier": identifiers[position], "result": call(values[position])}
                except MemoryError:
                    raise
                except Exception as error:  # noqa: BLE001 - any error of an item is the item's
                    self._after(error, position)
                then = monotonic()
                deadline.learn(then - now)
                now = then
        finally:
            slot_of_thread.reset(token)

    def _after(self, error: Exception, position: int) -> None:
        """Try an item again that failed, where that is due, or note its failure."""
        identifier = self._identifiers[position]
        try:
            value = self._retry.run(self._call, self._work.values[position], error, self._deadline)
        except MemoryError:
            raise
        except Exception as last:  # noqa: BLE001 - any error of an item is the item's
            self._failures[position] = item_failure(identifier, last)
        else:
            self._results[position] = {"itemIdentifier": identifier, "result": value}

    def _run_threads(self, threads: int) -> None:
        fatal: list[BaseException] = []

        def work() -> None:
            try:
                self._take_items()
            except BaseException as error:  # noqa: BLE001 - handed to the thread of the handler, which raises it
                fatal.append(error)
                self._waiting.clear()

        # A context each: the user's own context variables (a logger's, a tracer's) reach the items.
        pool = [Thread(target=copy_context().run, args=(work,), name=f"distmap-{n}") for n in range(threads)]
        try:
            for thread in pool:
                thread.start()
            for thread in pool:
                thread.join()
        except BaseException:
            self._waiting.clear()
            raise
        if fatal:
            raise fatal[0]

    def _answer(self) -> tuple[WorkerAnswer, int]:
        answer = self._sorted_out()
        try:
            return answer, measure(answer, what="the answer")
        except NotJsonError:
            # Rare, hence found only now: one look at the whole answer is far cheaper than one at every item.
            self._fail_what_is_not_json()
            answer = self._sorted_out()
            return answer, measure(answer, what="the answer")

    def _sorted_out(self) -> WorkerAnswer:
        tried = self._failures
        answer: WorkerAnswer = {
            "batchItemResults": [result for result in self._results if result is not None],
            "batchItemFailures": [tried[position] for position in sorted(tried)],
            "batchItemsUnprocessed": [
                self._identifiers[position]
                for position, result in enumerate(self._results)
                if result is None and position not in tried
            ],
        }
        if self._work.indexes is None:
            answer["positional"] = True
        return answer

    def _fail_what_is_not_json(self) -> None:
        for position, result in enumerate(self._results):
            if result is not None:
                try:
                    measure([[result["result"]]], what="the result")  # as deep as it is in the answer
                except NotJsonError as error:
                    self._results[position] = None
                    self._failures[position] = item_failure(result["itemIdentifier"], error)


def item_failure(identifier: str, error: Exception) -> ItemFailure:
    """Return what is answered for an item that failed."""
    try:
        cause = str(error)
    except Exception as unprintable:  # noqa: BLE001 - the message of a user's exception is a user's code
        cause = f"its message cannot be read: {type(unprintable).__name__}"
    # A lone surrogate has no UTF-8 form, and a failure must never fail for its own message.
    cause = cause.encode("utf-8", "backslashreplace").decode()
    return {"itemIdentifier": identifier, "error": type(error).__name__, "cause": cause}
