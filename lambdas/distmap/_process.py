"""``process_items``: a plain function of one item becomes a worker of a distributed map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import update_wrapper
from time import monotonic
from typing import Any, overload

from distmap._batch import BatchRun, item_failure, without_details
from distmap._deadline import Deadline, check_reserve
from distmap._errors import ENDING, BatchFailedError, DeadlineError, PermanentError, error_text, type_name
from distmap._events import Work, read_work
from distmap._failed_batch import failure_message, spill_name
from distmap._item import ItemSlot, slot_of_thread
from distmap._json import plain
from distmap._log import log_line
from distmap._measures import measure
from distmap._retry import ItemRetry
from distmap._signature import UserFunction
from distmap._spill import inline_or_spill
from distmap._waiting import Alarm, check_item_timeout, event_loop, limited_coroutine
from distmap.limits import (
    DEFAULT_CONCURRENT_ITEMS,
    MAX_CONCURRENT_ITEMS,
    MAX_FUNCTION_THREADS,
    SPILL_BYTES,
    WORKER_RESERVE_MOST_SECONDS,
    WORKER_RESERVE_SHARE,
)
from distmap.wire import PERMANENT_ERROR, WorkerAnswer

Handler = Callable[..., Any]
"""A Lambda handler: called with the event, and the context (which a test may leave out)."""


@overload
def process_items(function: Callable[..., Any], /) -> Handler: ...


@overload
def process_items(
    *,
    threads: int = ...,
    concurrency: int | None = ...,
    item_timeout: float | None = ...,
    reserve_seconds: float | None = ...,
    retry_errors: Sequence[type[Exception] | str] = ...,
    retry_attempts: int = ...,
    permanent_errors: Sequence[type[Exception] | str] = ...,
    fail_at_percentage: float | None = ...,
    keep_output: bool = ...,
    log_items: bool = ...,
) -> Callable[[Callable[..., Any]], Handler]: ...


def process_items(
    function: Callable[..., Any] | None = None,
    /,
    *,
    threads: int = 1,
    concurrency: int | None = None,
    item_timeout: float | None = None,
    reserve_seconds: float | None = None,
    retry_errors: Sequence[type[Exception] | str] = (),
    retry_attempts: int = 2,
    permanent_errors: Sequence[type[Exception] | str] = (),
    fail_at_percentage: float | None = 100,
    keep_output: bool = False,
    log_items: bool = False,
) -> Handler | Callable[[Callable[..., Any]], Handler]:
    """Make a Lambda handler for a distributed map of a function of one item.

    The function, which may be ``async def``, gets the item, and the Lambda context if it has a second parameter. What
    it returns, which must be JSON or have one obvious JSON form (dataclasses, pydantic models, enums, decimal numbers,
    dates, UUIDs, paths, numpy scalars), is the item's result; what it raises is the item's failure.

    A first parameter that is annotated with a dataclass, a ``TypedDict``, a pydantic model or something made of them,
    of enums, literals, dates, decimal numbers, UUIDs or paths gets the item as that. An item that doesn't fit fails
    with :class:`distmap.InvalidItemError`, which is permanent. Annotations of JSON's own types alone change nothing.

    - In a **batch** every item is tried, whatever happens to the others. The handler answers a
      :class:`distmap.wire.WorkerAnswer`: results, failures, and the items it left because the function's deadline
      came near. It raises only where every item failed, or the share that you set.
    - A **single enveloped item** is answered in the same way; its exception is raised as it is. Step Functions knows
      it by the name of its class alone, so one that is permanent is raised as a :class:`distmap.PermanentError` whose
      message begins with the class that it was.
    - An **unidentified item**, one without an envelope, gives its plain result, or its exception.

    An answer over 240 KiB goes to the run's bucket, and a reference to it takes its place; whoever reads results
    with this package never notices. ``MemoryError`` and what isn't an ``Exception`` (interpreter exit, interruption)
    end the whole invocation.

    .. versionadded:: 0.1.0

    Args:
        function: The user's function.
        threads: Items in work at a time inside one invocation: for items that wait for the network. 1 by default.
        concurrency: Items of an ``async def`` function that wait at a time inside one invocation. 10 by default.
        item_timeout: Seconds that one item may take: beyond, it fails with :class:`distmap.ItemTimeout`, and its batch
            goes on. A plain function is interrupted by a signal, so that it must be called on the main thread, as
            Lambda does, and ``threads`` must be 1; a call into C is interrupted only when it returns. An ``async def``
            function is cancelled where it waits. No limit by default.
        reserve_seconds: Time to keep before the function's deadline for the answer. An item is taken only where it
            would end before it even if it took as long as the slowest lately. The first one, which often loads what
            the others use, counts only until another has ended. By default a tenth of the time left at the start, at
            most 5 seconds.
        retry_errors: Errors for which an item is tried again at once, in place: exception types, their names, or
            error codes of AWS services. None by default.
        retry_attempts: How many times an item is tried again for these errors, after a short random delay.
        permanent_errors: Errors that are permanent beside :class:`distmap.PermanentError` and the classes below it:
            named as in ``retry_errors``, which they go before. An item that failed so is tried again neither in place
            nor in another round of the run. None by default.
        fail_at_percentage: Share of the batch's items that must fail for the batch to fail as a whole: 100 by
            default, which is every item. None never fails a batch. Step Functions counts only failed batches
            against the map's tolerance, so a low share makes the tolerance bite early.
        keep_output: Whether the last 1,000 characters that a failed item of a batch printed and logged, by ``print``
            and :mod:`logging` in its own thread or task, are kept with its failure: in the answer,
            ``failures.jsonl`` and ``distmap failures``. Not of a single item, of which Step Functions gets the
            exception alone. By default they are in the log alone.
        log_items: Whether the log line tells the failed items with their values and the reasons. By default it holds
            counts and error types, nothing of the items' content.

    Returns:
        The handler; the undecorated function is its ``__wrapped__``.

    Raises:
        TypeError: The function cannot be called with an item, or a setting has the wrong type.
        ValueError: A setting is out of its range.

    Example:
        >>> @process_items
        ... def handler(item):
        ...     return {"square": item["n"] ** 2}
        >>> handler.__wrapped__({"n": 3})
        {'square': 9}
    """
    if type(threads) is not int or not 1 <= threads <= MAX_FUNCTION_THREADS:
        message = f"threads must be an integer from 1 to {MAX_FUNCTION_THREADS:,}, got {threads!r}"
        raise ValueError(message)
    _check_share(fail_at_percentage)
    if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= MAX_CONCURRENT_ITEMS):
        message = f"concurrency must be an integer from 1 to {MAX_CONCURRENT_ITEMS:,}, got {concurrency!r}"
        raise ValueError(message)
    for name, value in (("keep_output", keep_output), ("log_items", log_items)):
        if type(value) is not bool:
            message = f"{name} must be True or False, got {value!r}"
            raise TypeError(message)
    check_item_timeout(item_timeout)
    check_reserve(reserve_seconds)
    retry = ItemRetry(retry_errors, retry_attempts, permanent_errors)

    def decorate(function: Callable[..., Any]) -> Handler:
        worker = _Worker(
            UserFunction(function, decorator="process_items", argument="an item", takes_async=True),
            threads=threads,
            concurrency=concurrency,
            item_timeout=item_timeout,
            reserve_seconds=reserve_seconds,
            retry=retry,
            fail_at_percentage=fail_at_percentage,
            keep_output=keep_output,
            log_items=log_items,
        )

        def handler(event: Any, context: Any = None) -> Any:
            return worker.run(event, context)

        return update_wrapper(handler, function)

    return decorate if function is None else decorate(function)


class _Worker:
    """A user's function and the settings it was decorated with."""

    def __init__(
        self,
        function: UserFunction,
        *,
        threads: int,
        concurrency: int | None,
        item_timeout: float | None,
        reserve_seconds: float | None,
        retry: ItemRetry,
        fail_at_percentage: float | None,
        keep_output: bool,
        log_items: bool,
    ) -> None:
        if function.is_generator:
            message = f"@process_items: {function.name} yields; return the item's result (capture_items takes yields)"
            raise TypeError(message)
        _check_ways(function, threads=threads, concurrency=concurrency, item_timeout=item_timeout)
        self._function = function
        self._threads = threads
        self._concurrency = DEFAULT_CONCURRENT_ITEMS if concurrency is None else concurrency
        self._item_timeout = item_timeout
        self._read: Callable[[Any], Any] | None = None
        self._is_read_known = False
        with suppress(NameError):  # of what is defined below the function
            self._read, self._is_read_known = function.item_reader(), True
        self._reserve_seconds = reserve_seconds
        self._retry = retry
        self._fail_at_percentage = fail_at_percentage
        self._keep_output = keep_output
        self._log_items = log_items

    def run(self, event: Any, context: Any) -> Any:
        started = monotonic()
        work = read_work(event)
        deadline = Deadline(
            context, reserve=self._reserve_seconds, share=WORKER_RESERVE_SHARE, most=WORKER_RESERVE_MOST_SECONDS
        )
        with self._interruptible(self._call(context)) as call, self._kept(call) as call:
            if work.kind != "batch":
                return self._run_single(work, call, deadline, context, started)
            answer, size = self._run_batch(work, call, deadline)
        self._log(work, answer, context, started)
        if len(answer["batchItemsUnprocessed"]) == len(work.values):
            raise _no_time(deadline)
        if self._is_failed(answer, len(work.values)):
            raise BatchFailedError(failure_message(work, answer))
        if size > SPILL_BYTES and work.run is None and without_details(answer["batchItemFailures"]):
            answer, size = plain(answer, what="the answer of the batch")
        return inline_or_spill(answer, size, run=work.run, name=spill_name(work), what="the answer of the batch")

    def _run_batch(self, work: Work, call: Callable[[Any], Any], deadline: Deadline) -> tuple[WorkerAnswer, int]:
        if not self._function.is_async:
            return BatchRun(work, call, retry=self._retry, deadline=deadline).run(self._threads)
        from distmap._async_batch import AsyncBatchRun  # noqa: PLC0415 - asyncio takes a cold start longer than we do

        return AsyncBatchRun(work, call, retry=self._retry, deadline=deadline).run(self._concurrency)

    def _call(self, context: Any) -> Callable[[Any], Any]:
        """Return the function of an item as it is in the event."""
        call, reader = self._function.bind(context), self._reader()
        if reader is None:
            return call
        if not self._function.is_async:
            return lambda value: call(reader(value))

        async def read_and_call(value: Any) -> Any:
            return await call(reader(value))

        return read_and_call

    def _reader(self) -> Callable[[Any], Any] | None:
        if not self._is_read_known:
            try:
                self._read = self._function.item_reader()
            except NameError as error:
                # What is imported for type checkers alone has always been nothing to us.
                log_line(
                    f"items of {self._function.name} are not checked against its annotation: {error}", context=None
                )
            self._is_read_known = True
        return self._read

    @contextmanager
    def _interruptible(self, call: Callable[[Any], Any]) -> Iterator[Callable[[Any], Any]]:
        """Give ``call`` with the time limit of an item on it."""
        if self._function.is_async:
            yield limited_coroutine(call, self._item_timeout)
        elif self._item_timeout is None:
            yield call
        else:
            with Alarm(self._item_timeout) as alarm:
                yield alarm.limit(call)

    @contextmanager
    def _kept(self, call: Callable[[Any], Any]) -> Iterator[Callable[[Any], Any]]:
        """Give ``call`` so that what it prints and logs is kept, where that is to be."""
        if not self._keep_output:
            yield call
            return
        from distmap._output import keeping, output_kept  # noqa: PLC0415 - only where it is kept

        with output_kept():
            yield keeping(call)

    def _is_failed(self, answer: WorkerAnswer, items: int) -> bool:
        if self._fail_at_percentage is None or not answer["batchItemFailures"]:
            return False
        return len(answer["batchItemFailures"]) * 100 >= self._fail_at_percentage * items

    def _run_single(
        self, work: Work, call: Callable[[Any], Any], deadline: Deadline, context: Any, started: float
    ) -> Any:
        index = None if work.indexes is None else work.indexes[0]
        source = None if work.sources is None else work.sources[0]
        (identifier,) = work.identifiers()
        answer: WorkerAnswer = {"batchItemResults": [], "batchItemFailures": [], "batchItemsUnprocessed": []}
        if deadline.is_near():
            raise _no_time(deadline)
        token = slot_of_thread.set(ItemSlot(work.run, work.batch_input, index, source))
        try:
            result, size = self._try_single(call, work.values[0], deadline)
        except ENDING:
            raise
        except BaseException as error:
            permanent = self._retry.is_permanent(error)
            answer["batchItemFailures"].append(item_failure(identifier, error, permanent=permanent))
            self._log(work, answer, context, started)
            if permanent and type_name(error) != PERMANENT_ERROR:
                message = f"{type_name(error)}: {error_text(error)}"
                raise PermanentError(message).with_traceback(error.__traceback__) from error
            if not isinstance(error, Exception):  # it would end the process
                as_exception = type(type_name(error), (Exception,), {})(error_text(error))
                raise as_exception.with_traceback(error.__traceback__) from error
            raise
        finally:
            slot_of_thread.reset(token)
        answer["batchItemResults"].append({"itemIdentifier": identifier, "result": result})
        measures = measure([monotonic() - started], [identifier])
        if measures is not None:
            answer["batchMeasures"] = measures
        self._log(work, answer, context, started)
        if work.kind == "item":
            return inline_or_spill(result, size, run=None, name="", what="the result")
        answer, size = plain(answer, what="the answer")
        return inline_or_spill(answer, size, run=work.run, name=spill_name(work), what="the answer")

    def _try_single(self, call: Callable[[Any], Any], value: Any, deadline: Deadline) -> tuple[Any, int]:
        call = self._retry.bind(call)
        if self._function.is_async:
            coroutine = call

            def call(value: Any) -> Any:
                return event_loop.run(coroutine(value))

        def run(value: Any) -> tuple[Any, int]:
            return plain(call(value), what="the result")

        try:
            return run(value)
        except ENDING:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again unless an attempt succeeds
            answered: tuple[Any, int] = self._retry.run(run, value, error, deadline)
            return answered

    def _log(self, work: Work, answer: WorkerAnswer, context: Any, started: float) -> None:
        failures = answer["batchItemFailures"]
        run = work.run
        fields: dict[str, Any] = {}
        if failures:
            fields["errors"] = dict(Counter(failure["error"] for failure in failures))
            fields["places"] = dict(Counter(failure["place"] for failure in failures if "place" in failure)) or None
        if failures and self._log_items:
            where = dict(zip(work.identifiers(), work.values, strict=True))
            fields["failures"] = [{**failure, "value": where[failure["itemIdentifier"]]} for failure in failures]
        log_line(
            "items processed",
            context=context,
            run=None if run is None else run["name"],
            runId=None if run is None else run["id"],
            mapRun=None if run is None else run["path"] or "/",
            batch=spill_name(work),
            items=len(work.values),
            succeeded=len(answer["batchItemResults"]),
            failed=len(failures),
            unprocessed=len(answer["batchItemsUnprocessed"]),
            durationMs=round((monotonic() - started) * 1000, 3),
            **fields,
        )


def _check_share(share: float | None) -> None:
    if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float))):
        message = f"fail_at_percentage must be a number, got {share!r}; None never fails"
        raise TypeError(message)
    if share is not None and not 0 < share <= 100:
        message = f"fail_at_percentage must be over 0 and at most 100, got {share!r}; None never fails"
        raise ValueError(message)


def _check_ways(function: UserFunction, *, threads: int, concurrency: int | None, item_timeout: float | None) -> None:
    """Raise where items can't be in work at a time, or be limited, as the settings say."""
    if function.is_async and threads != 1:
        message = f"threads is for plain functions, and {function.name} is async: say concurrency={threads}"
        raise ValueError(message)
    if not function.is_async and concurrency is not None:
        message = f"concurrency is for async functions, and {function.name} is a plain one: say threads={concurrency}"
        raise ValueError(message)
    if not function.is_async and item_timeout is not None and threads != 1:
        message = (
            f"item_timeout interrupts by a signal, which only the main thread gets, and threads is {threads}: let "
            "threads be 1, make the function async def with concurrency, or use the timeouts of what it waits for"
        )
        raise ValueError(message)


def _no_time(deadline: Deadline) -> DeadlineError:
    message = (
        f"no item could be tried: {deadline.at_start:.3f} s were left when the function started, and "
        f"{deadline.reserve:.3f} s are kept for the answer; raise the function's timeout or lower reserve_seconds"
    )
    return DeadlineError(message)
