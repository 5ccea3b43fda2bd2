"""Every item of a batch, each on its own: the loop behind ``process_items``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from time import monotonic
from typing import Any, Final

from distmap._deadline import Deadline
from distmap._errors import ENDING, NotJsonError, error_text, type_name
from distmap._events import Work
from distmap._item import ItemSlot, slot_of_thread
from distmap._json import as_sent, parse_sent
from distmap._measures import largest_first, measure
from distmap._retry import ItemRetry
from distmap.wire import ItemFailure, WorkerAnswer

MOST_TRACEBACKS: Final = 5
"""Kinds of failures in a batch of which a traceback is kept."""


class BatchRun:
    """One batch on its way through a user's function.

    Threads share nothing but a deque of positions, whose ``popleft`` is atomic, and each writes only the outcomes
    of the positions it took.

    A result is kept as the text that it is when the function returns it. What the function does to the object
    afterwards (it may return the same one for each item) changes nothing, and what isn't JSON is known at once.
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
        self._call = retry.bind(call)
        self._retry = retry
        self._deadline = deadline
        self._identifiers = work.identifiers()
        self._waiting = deque(largest_first(work.values))
        self._texts: list[str | None] = [None] * len(work.values)
        self._seconds: list[float | None] = [None] * len(work.values)
        self._failures: dict[int, ItemFailure] = {}
        self._kinds: set[tuple[str, str | None]] = set()

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
        threads = min(threads, len(self._texts))
        if threads == 1:
            self._take_items()
        else:
            self._run_threads(threads)
        return self._answer()

    def _take_items(self) -> None:
        """Take items until there is none left or the deadline comes near."""
        work, call, deadline, texts, seconds = self._work, self._call, self._deadline, self._texts, self._seconds
        indexes, sources, values, take = work.indexes, work.sources, work.values, self._waiting.popleft
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
                if sources is not None:
                    slot.source = sources[position]
                try:
                    texts[position] = as_sent(call(values[position]), what="the result")
                except ENDING:
                    raise
                except BaseException as error:  # noqa: BLE001 - any error of an item is the item's
                    self._after(error, position)
                then = monotonic()
                seconds[position] = then - now
                deadline.learn(now, then)
                now = then
        finally:
            slot_of_thread.reset(token)

    def _after(self, error: BaseException, position: int) -> None:
        """Try an item again that failed, where that is due, or note its failure."""
        try:
            self._texts[position] = self._retry.run(self._try_again, self._work.values[position], error, self._deadline)
        except ENDING:
            raise
        except BaseException as last:  # noqa: BLE001 - any error of an item is the item's
            self._fail(position, last)

    def _name(self, slot: ItemSlot, position: int) -> None:
        """Note in a slot which item it is at."""
        work = self._work
        if work.indexes is not None:
            slot.index = work.indexes[position]
        if work.sources is not None:
            slot.source = work.sources[position]

    def _fail(self, position: int, error: BaseException) -> None:
        """Note that an item failed."""
        permanent = self._retry.is_permanent(error)
        failure = item_failure(self._identifiers[position], error, permanent=permanent)
        self._add_traceback(failure, error)
        self._failures[position] = failure

    def _add_traceback(self, failure: ItemFailure, error: BaseException) -> None:
        """Keep the traceback of the first item of each kind, of a few kinds."""
        kind = failure["error"], failure.get("place")
        if kind[1] is not None and kind not in self._kinds and len(self._kinds) < MOST_TRACEBACKS:
            self._kinds.add(kind)
            from distmap._places import traceback_of  # noqa: PLC0415 - see item_failure

            traceback = traceback_of(error)
            if traceback is not None:
                failure["traceback"] = traceback

    def _try_again(self, value: Any) -> str:
        return as_sent(self._call(value), what="the result")

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
        try:
            return parse_sent(self._answer_text(), what="the answer")
        except NotJsonError:
            # Rare, hence found only now: one look at the whole answer is far cheaper than one at every item.
            self._fail_what_is_nested_too_deep()
            return parse_sent(self._answer_text(), what="the answer")

    def _answer_text(self) -> str:
        """Return the text of the :class:`distmap.wire.WorkerAnswer`, whose results are text already."""
        tried, identifiers = self._failures, self._identifiers
        results = [
            f'{{"itemIdentifier": {identifier}, "result": {text}}}'
            for identifier, text in zip(self._quoted(), self._texts, strict=True)
            if text is not None
        ]
        failures = [tried[position] for position in sorted(tried)]
        unprocessed = [
            identifiers[position] for position, text in enumerate(self._texts) if text is None and position not in tried
        ]
        members = {
            "batchItemResults": f"[{', '.join(results)}]",
            "batchItemFailures": as_sent(failures, what="the failures"),
            "batchItemsUnprocessed": as_sent(unprocessed, what="the items left"),
        }
        if self._work.indexes is None:
            members["positional"] = "true"
        measures = measure(self._seconds, identifiers)
        if measures is not None:
            members["batchMeasures"] = as_sent(measures, what="the measures")
        return "{" + ", ".join([f'"{name}": {text}' for name, text in members.items()]) + "}"

    def _quoted(self) -> list[str]:
        """Return the identifiers as JSON texts: an index needs no escapes, and the name of a file may."""
        if self._work.sources is None:
            return [f'"{identifier}"' for identifier in self._identifiers]
        return [as_sent(identifier, what="an identifier") for identifier in self._identifiers]

    def _fail_what_is_nested_too_deep(self) -> None:
        for position, text in enumerate(self._texts):
            if text is not None:
                try:
                    parse_sent(f"[[[{text}]]]", what="the result")  # as deep as it is in the answer
                except NotJsonError as error:
                    self._texts[position] = None
                    self._failures[position] = item_failure(self._identifiers[position], error)


def item_failure(identifier: str, error: BaseException, *, permanent: bool = False) -> ItemFailure:
    """Return what is answered for an item that failed."""
    failure: ItemFailure = {"itemIdentifier": identifier, "error": type_name(error), "cause": error_text(error)}
    if permanent:
        failure["permanent"] = True
    from distmap._places import place_of  # noqa: PLC0415 - a cold start without failures does without it

    place = place_of(error)
    if place is not None:
        failure["place"] = place
    slot = slot_of_thread.get(None)
    if slot is not None and slot.output is not None:
        from distmap._output import kept_output  # noqa: PLC0415 - only where it is kept

        output = kept_output()
        if output is not None:
            failure["output"] = output
    return failure


def without_details(failures: list[ItemFailure]) -> bool:
    """Take tracebacks and output out of failures, where there is no room for them, and tell whether there were any."""
    had_details = False
    for failure in failures:
        had_details = failure.pop("traceback", None) is not None or had_details
        had_details = failure.pop("output", None) is not None or had_details
    return had_details
