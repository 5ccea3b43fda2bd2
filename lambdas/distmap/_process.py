"""``process_items``: a plain function of one item becomes a worker of a distributed map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import update_wrapper
from json import dumps
from time import monotonic
from typing import Any, Final, overload

from distmap._batch import BatchRun, item_failure
from distmap._deadline import Deadline, check_reserve
from distmap._errors import BatchFailedError, DeadlineError
from distmap._events import Work, read_work
from distmap._item import ItemSlot, slot_of_thread
from distmap._json import encode, plain
from distmap._log import log_line
from distmap._retry import ItemRetry
from distmap._signature import UserFunction
from distmap._spill import guard, spill
from distmap.limits import FAILURE_MESSAGE_CHARACTERS, MAX_FUNCTION_THREADS
from distmap.wire import BatchFailure, Spilled, WorkerAnswer

Handler = Callable[..., Any]
"""A Lambda handler: called with the event, and the context (which a test may leave out)."""

_RESERVE_SHARE: Final = 0.1
_RESERVE_MOST_SECONDS: Final = 5.0


@overload
def process_items(function: Callable[..., Any], /) -> Handler: ...


@overload
def process_items(
    *,
    threads: int = ...,
    reserve_seconds: float | None = ...,
    retry_errors: Sequence[type[Exception] | str] = ...,
    retry_attempts: int = ...,
    fail_at_percentage: float | None = ...,
    log_items: bool = ...,
) -> Callable[[Callable[..., Any]], Handler]: ...


def process_items(
    function: Callable[..., Any] | None = None,
    /,
    *,
    threads: int = 1,
    reserve_seconds: float | None = None,
    retry_errors: Sequence[type[Exception] | str] = (),
    retry_attempts: int = 2,
    fail_at_percentage: float | None = 100,
    log_items: bool = False,
) -> Handler | Callable[[Callable[..., Any]], Handler]:
    """Make a Lambda handler for a distributed map of a function of one item.

    The function gets the item, and the Lambda context if it has a second parameter. What it returns, which must be
    JSON, is the item's result; what it raises is the item's failure.

    - In a **batch** every item is tried, whatever happens to the others. The handler answers a
      :class:`distmap.wire.WorkerAnswer`: results, failures, and the items it left because the function's deadline
      came near. It raises only where every item failed, or the share that you set.
    - A **single enveloped item** is answered in the same way; its exception is raised as it is.
    - A **bare item** gives its plain result, or its exception.

    An answer over 240 KiB goes to the run's bucket, and a reference to it takes its place; whoever reads results
    with this package never notices. ``MemoryError`` and what isn't an ``Exception`` (interpreter exit, interruption)
    end the whole invocation.

    Args:
        function: The user's function.
        threads: Items in work at a time inside one invocation: for items that wait for the network. 1 by default.
        reserve_seconds: Time to keep before the function's deadline for the answer. An item is taken only where it
            would end before it even if it took as long as the slowest lately. The first one, which often loads what
            the others use, counts only until another has ended. By default a tenth of the time left at the start, at
            most 5 seconds.
        retry_errors: Errors for which an item is tried again at once, in place: exception types, their names, or
            error codes of AWS services. None by default.
        retry_attempts: How many times an item is tried again for these errors, after a short random delay.
        fail_at_percentage: Share of the batch's items that must fail for the batch to fail as a whole: 100 by
            default, which is every item. None never fails a batch. Step Functions counts only failed batches
            against the map's tolerance, so a low share makes the tolerance bite early.
        log_items: Whether the log line tells the failed items with their values and the reasons. By default it holds
            counts and error types, nothing of the items' content.

    Returns:
        The handler; the undecorated function is its ``__wrapped__``.

    Raises:
        TypeError: The function cannot be called with an item, or a setting has the wrong type.
        ValueError: A setting is out of its range.
    """
    if type(threads) is not int or not 1 <= threads <= MAX_FUNCTION_THREADS:
        message = f"threads must be an integer from 1 to {MAX_FUNCTION_THREADS:,}, got {threads!r}"
        raise ValueError(message)
    if fail_at_percentage is not None and not 0 < fail_at_percentage <= 100:
        message = f"fail_at_percentage must be over 0 and at most 100, got {fail_at_percentage!r}; None never fails"
        raise ValueError(message)
    check_reserve(reserve_seconds)
    retry = ItemRetry(retry_errors, retry_attempts)

    def decorate(function: Callable[..., Any]) -> Handler:
        worker = _Worker(
            UserFunction(function, decorator="process_items", argument="an item"),
            threads=threads,
            reserve_seconds=reserve_seconds,
            retry=retry,
            fail_at_percentage=fail_at_percentage,
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
        reserve_seconds: float | None,
        retry: ItemRetry,
        fail_at_percentage: float | None,
        log_items: bool,
    ) -> None:
        if function.is_generator:
            message = f"@process_items: {function.name} yields; return the item's result (capture_items takes yields)"
            raise TypeError(message)
        self._function = function
        self._threads = threads
        self._reserve_seconds = reserve_seconds
        self._retry = retry
        self._fail_at_percentage = fail_at_percentage
        self._log_items = log_items

    def run(self, event: Any, context: Any) -> Any:
        started = monotonic()
        work = read_work(event)
        deadline = Deadline(context, reserve=self._reserve_seconds, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
        call = self._function.bind(context)
        if work.kind != "batch":
            return self._run_single(work, call, deadline, context, started)
        answer, size = BatchRun(work, call, retry=self._retry, deadline=deadline).run(self._threads)
        self._log(work, answer, context, started)
        if len(answer["batchItemsUnprocessed"]) == len(work.values):
            raise _no_time(deadline)
        if self._is_failed(answer, len(work.values)):
            raise BatchFailedError(_failure_message(work, answer))
        return guard(answer, size, run=work.run, name=_spill_name(work), what="the answer of the batch")

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
        except MemoryError:
            raise
        except Exception as error:
            answer["batchItemFailures"].append(item_failure(identifier, error))
            self._log(work, answer, context, started)
            raise
        finally:
            slot_of_thread.reset(token)
        answer["batchItemResults"].append({"itemIdentifier": identifier, "result": result})
        self._log(work, answer, context, started)
        if work.kind == "item":
            return guard(result, size, run=None, name="", what="the result")
        answer, size = plain(answer, what="the answer")
        return guard(answer, size, run=work.run, name=_spill_name(work), what="the answer")

    def _try_single(self, call: Callable[[Any], Any], value: Any, deadline: Deadline) -> tuple[Any, int]:
        call = self._retry.bind(call)

        def run(value: Any) -> tuple[Any, int]:
            return plain(call(value), what="the result")

        try:
            return run(value)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - raised again unless an attempt succeeds
            answered: tuple[Any, int] = self._retry.run(run, value, error, deadline)
            return answered

    def _log(self, work: Work, answer: WorkerAnswer, context: Any, started: float) -> None:
        failures = answer["batchItemFailures"]
        run = work.run
        fields: dict[str, Any] = {}
        if failures:
            fields["errors"] = dict(Counter(failure["error"] for failure in failures))
        if failures and self._log_items:
            where = dict(zip(work.identifiers(), work.values, strict=True))
            fields["failures"] = [{**failure, "value": where[failure["itemIdentifier"]]} for failure in failures]
        log_line(
            "items processed",
            context=context,
            run=None if run is None else run["name"],
            runId=None if run is None else run["id"],
            mapRun=None if run is None else run["path"] or "/",
            batch=_spill_name(work),
            items=len(work.values),
            succeeded=len(answer["batchItemResults"]),
            failed=len(failures),
            unprocessed=len(answer["batchItemsUnprocessed"]),
            durationMs=round((monotonic() - started) * 1000, 3),
            **fields,
        )


def _no_time(deadline: Deadline) -> DeadlineError:
    message = (
        f"no item could be tried: {deadline.at_start:.3f} s were left when the function started, and "
        f"{deadline.reserve:.3f} s are kept for the answer; raise the function's timeout or lower reserve_seconds"
    )
    return DeadlineError(message)


def _spill_name(work: Work) -> str:
    """Return what names a batch to people: its first and its last index."""
    if work.indexes is None:
        return f"bare-{len(work.values)}"
    return f"{work.indexes[0]}-{work.indexes[-1]}" if len(work.indexes) > 1 else str(work.indexes[0])


def _failure_message(work: Work, answer: WorkerAnswer) -> str:
    """Return the message of a failed batch: JSON text of the shape ``BatchFailure``.

    Step Functions cuts a cause that is too long, and Lambda escapes the message once more on its way there, so the
    escaped text is what counts.
    """
    failures = answer["batchItemFailures"]
    first = failures[0]
    words = (
        f"{len(failures)} of {len(work.values)} items failed, the first with {first['error']}: {first['cause']:.500}"
    )
    text = _failure_text(words, answer)
    if len(dumps(text)) <= FAILURE_MESSAGE_CHARACTERS:
        return text
    if work.run is None:
        return _failure_text(words, None)
    body = encode(answer, what="the answer of the batch")
    return _failure_text(words, spill(body, run=work.run, name=_spill_name(work)))


def _failure_text(message: str, batch: WorkerAnswer | Spilled | None) -> str:
    failure: BatchFailure = {"message": message, "batch": batch}
    return encode(failure, what="the failure of the batch").decode()
