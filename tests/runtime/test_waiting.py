"""Functions that wait: ``async def`` with several items at a time, the time limit of one item, and what is measured."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmap import DeadlineError, _waiting, current_item, process_items
from distmap._errors import DistmapError
from distmap._measures import largest_first, measure
from tests.runtime import answers

SECONDS = 0.2


def values(answer: dict[str, Any]) -> dict[str, Any]:
    return {each["itemIdentifier"]: each["result"] for each in answer["batchItemResults"]}


def errors(answer: dict[str, Any]) -> dict[str, str]:
    return {each["itemIdentifier"]: each["error"] for each in answer["batchItemFailures"]}


@pytest.mark.parametrize(("concurrency", "most"), [(None, 10), (3, 3), (50, 20)], ids=["default", "three", "all"])
def test_so_many_items_wait_at_a_time(concurrency: int | None, most: int) -> None:
    waiting, seen = 0, []

    @process_items(concurrency=concurrency)
    async def handler(item: int) -> int:
        nonlocal waiting
        waiting += 1
        seen.append(waiting)
        for _ in range(5):
            await asyncio.sleep(0)
        waiting -= 1
        return item * item

    assert values(handler({"Items": list(range(20))})) == {str(n): n * n for n in range(20)}
    assert max(seen) == most


def test_each_waiting_item_knows_which_it_is_and_has_the_callers_variables(run_nowhere: Any) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")

    @process_items
    async def handler(item: int, context: Any) -> list[Any]:
        await asyncio.sleep(0)
        return [current_item().index, tenant.get(), context]

    items = [{"index": at, "value": 0} for at in (7, 8, 9)]
    for name in ("one", "two"):  # the loop outlives an invocation, and the variables don't
        token = tenant.set(name)
        answer = handler({"BatchInput": {"distmap": {"run": run_nowhere}}, "Items": items}, None)
        tenant.reset(token)
        assert values(answer) == {str(at): [at, name, None] for at in (7, 8, 9)}
    token = tenant.set("three")
    answer = handler({"index": 3, "value": 0, "run": run_nowhere}, None)
    tenant.reset(token)
    assert values(answer) == {"3": [3, "three", None]}


def test_the_loop_is_the_same_in_each_invocation() -> None:
    @process_items
    async def handler(_: int) -> int:
        return id(asyncio.get_running_loop())

    assert handler(1) == handler(2) == handler({"Items": [3]})["batchItemResults"][0]["result"]


def test_an_async_item_is_tried_again_in_place() -> None:
    tried: list[int] = []

    @process_items(retry_errors=["OSError"], retry_attempts=1)
    async def handler(item: int) -> int:
        tried.append(item)
        await asyncio.sleep(0)
        if tried.count(item) == 1:
            raise OSError
        return item

    assert values(handler({"Items": [1, 2]})) == {"0": 1, "1": 2}


def test_an_item_that_cancels_itself_fails_alone() -> None:
    @process_items
    async def handler(item: int) -> int:
        if item == 1:
            raise asyncio.CancelledError
        return item

    assert errors(handler({"Items": [0, 1, 2]})) == {"1": "ItemCancelledError"}


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_is_no_item_s_error_ends_an_async_batch(error: type[BaseException]) -> None:
    @process_items
    async def handler(item: int) -> int:
        await asyncio.sleep(0)
        if item == 1:
            raise error
        await asyncio.sleep(60)
        return item

    with pytest.raises(error):
        handler({"Items": [0, 1, 2]})


def test_items_that_still_wait_near_the_deadline_are_left(lambda_context: Callable[[float], Any]) -> None:
    @process_items(reserve_seconds=0.1, concurrency=2)
    async def handler(item: int) -> int:
        await asyncio.sleep(60 if item else 0)
        return item

    answer = handler({"Items": [0, 1, 1, 1]}, lambda_context(0.3))
    assert values(answer) == {"0": 0}
    assert answer["batchItemsUnprocessed"] == ["1", "2", "3"]


def test_fails_when_no_async_item_could_be_tried(lambda_context: Callable[[float], Any]) -> None:
    @process_items(reserve_seconds=5)
    async def handler(item: int) -> int:
        return item

    with pytest.raises(DeadlineError):
        handler({"Items": [0]}, lambda_context(1))


def plainly(item: float) -> float:
    time.sleep(item)
    return item


async def asynchronously(item: float) -> float:
    await asyncio.sleep(item)
    return item


WAYS = pytest.mark.parametrize("function", [plainly, asynchronously], ids=["plain", "async"])


@WAYS
def test_an_item_that_takes_too_long_fails_and_its_batch_goes_on(function: Callable[..., Any]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    answer = process_items(item_timeout=SECONDS)(function)({"Items": [0, 60, 0, 60, 0]})
    assert values(answer) == {"0": 0, "2": 0, "4": 0}
    assert errors(answer) == {"1": "ItemTimeout", "3": "ItemTimeout"}
    failure = answer["batchItemFailures"][0]
    assert failure["cause"] == "the item took longer than its 0.2 s"
    line = "time.sleep" if function is plainly else "await"
    assert failure["place"] == answers.place_in(function, line)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@WAYS
def test_a_single_item_that_takes_too_long_fails(function: Callable[..., Any]) -> None:
    with pytest.raises(TimeoutError, match="longer than its"):
        process_items(item_timeout=SECONDS)(function)(60)


def test_an_item_that_takes_the_interruption_for_an_error_is_interrupted_again() -> None:
    @process_items(item_timeout=SECONDS, fail_at_percentage=None)
    def handler(item: int) -> None:
        try:
            time.sleep(item)
        except Exception:  # noqa: BLE001 - as workers do
            time.sleep(item)

    assert errors(handler({"Items": [60]})) == {"0": "ItemTimeout"}


def test_a_coroutine_that_swallows_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiting, "_AGAIN_SECONDS", SECONDS)

    @process_items(item_timeout=SECONDS, fail_at_percentage=None)
    async def handler(item: int) -> int:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(item)
        await asyncio.sleep(item)
        return item

    assert errors(handler({"Items": [60, 0]})) == {"0": "ItemTimeout"}


def test_the_users_own_timeouts_are_their_own() -> None:
    @process_items(item_timeout=60, fail_at_percentage=None)
    async def handler(item: int) -> None:
        async with asyncio.timeout(SECONDS):
            await asyncio.sleep(item)

    assert errors(handler({"Items": [60]})) == {"0": "TimeoutError"}


def test_fails_when_a_signal_cannot_reach_the_item() -> None:
    found: list[BaseException] = []

    def call() -> None:
        try:
            process_items(item_timeout=1)(plainly)({"Items": [0]})
        except DistmapError as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "only the main thread" in str(found[0])


@pytest.mark.parametrize(
    ("options", "function", "message"),
    [
        ({"item_timeout": 1, "threads": 2}, plainly, "threads is 2: let threads be 1, make the function async def"),
        ({"concurrency": 2}, plainly, "concurrency is for async functions, and plainly is a plain one: say threads=2"),
        (
            {"threads": 2},
            asynchronously,
            "threads is for plain functions, and asynchronously is async: say concurrency=2",
        ),
        ({"item_timeout": 0}, plainly, "item_timeout must be over 0 seconds, got 0"),
        ({"item_timeout": float("inf")}, plainly, "item_timeout must be below [0-9,]+ seconds, got inf"),
        ({"item_timeout": float("nan")}, plainly, "item_timeout must be over 0 seconds, got nan"),
        ({"concurrency": 0}, asynchronously, "concurrency must be an integer from 1 to 1,000, got 0"),
        ({"concurrency": 1.5}, asynchronously, "concurrency must be an integer from 1 to 1,000, got 1.5"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_fails_when_items_cannot_be_in_work_so(options: Any, function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process_items(**options)(function)


def test_fails_when_a_time_limit_is_no_number() -> None:
    with pytest.raises(TypeError, match="item_timeout must be a number of seconds, got '3'"):
        process_items(item_timeout="3")  # type: ignore[call-overload]  # what is tested


# -- what is measured, and in which order items are taken


def test_a_batch_measures_its_items(run_nowhere: Any) -> None:
    items = [{"index": 10 + at, "value": SECONDS if at == 3 else 0} for at in range(5)]
    for function in (plainly, asynchronously):
        answer = process_items(function)({"BatchInput": {"distmap": {"run": run_nowhere}}, "Items": items})
        measures = answer["batchMeasures"]
        assert (measures["items"], measures["slowest"]) == (5, "13")
        assert measures["median"] < SECONDS <= measures["most"] == measures["p99"] <= measures["seconds"]
        assert measures["memoryMB"] > 5
        assert len(json.dumps(measures)) < 150


def test_a_single_item_is_measured_too(run_nowhere: Any) -> None:
    answer = process_items(plainly)({"index": 7, "value": 0, "run": run_nowhere})
    assert (answer["batchMeasures"]["items"], answer["batchMeasures"]["slowest"]) == (1, "7")


def test_the_numbers_are_those_of_the_items_that_were_tried() -> None:
    measures = measure([0.1, None, *[0.2] * 97, 5.0, 0.3], [str(at) for at in range(101)])
    assert measures is not None
    assert measures["items"] == 100
    assert (measures["median"], measures["p99"], measures["most"], measures["slowest"]) == (0.2, 0.3, 5.0, "99")
    assert measures["seconds"] == 24.8
    assert measure([None], ["0"]) is None


def listed(*sizes: Any) -> list[Any]:
    return [{"Key": str(at), "Size": size, "LastModified": 0, "Etag": ""} for at, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("items", "order"),
    [
        (listed(1, 3, 2, 3), [1, 3, 2, 0]),
        ([{"bucket": "b", "key": "k", "size": n, "etag": "", "lastModified": ""} for n in (1, 2)], [1, 0]),
        ([{"size": 1}, {"size": 2}], [0, 1]),
        (listed(1, "2"), [0, 1]),
        ([*listed(1), 5], [0, 1]),
        ([], []),
    ],
    ids=["listed", "captured", "sizes-of-anything", "no-number", "mixed", "empty"],
)
def test_the_largest_come_first_where_sizes_are_of_objects(items: list[Any], order: list[int]) -> None:
    assert list(largest_first(items)) == order


@pytest.mark.parametrize("threads", [1, 3], ids=["one-thread", "three-threads"])
def test_results_are_in_the_order_of_the_batch_whatever_comes_first(threads: int) -> None:
    taken: list[int] = []

    def work(item: dict[str, Any]) -> int:
        taken.append(item["Size"])
        return int(item["Size"])

    answer = process_items(threads=threads)(work)({"Items": listed(1, 3, 2)})
    assert taken[0] == 3
    assert [each["result"] for each in answer["batchItemResults"]] == [1, 3, 2]


# -- whatever a handler does, each item is once in its answer


@dataclasses.dataclass
class Typed:
    does: str


def do(does: str) -> Any:
    if does == "error":
        raise ValueError(does)
    if does == "not JSON":
        return {1}
    return does


def plain_kind(item: dict[str, str]) -> Any:
    if item["does"] == "wait":
        time.sleep(60)
    return do(item["does"])


async def async_kind(item: dict[str, str]) -> Any:
    await asyncio.sleep(60 if item["does"] == "wait" else 0)
    return do(item["does"])


def typed_kind(item: Typed) -> Any:
    return plain_kind(dataclasses.asdict(item))


async def async_typed_kind(item: Typed) -> Any:
    return await async_kind(dataclasses.asdict(item))


@settings(max_examples=40, deadline=None)
@given(
    function=st.sampled_from([plain_kind, async_kind, typed_kind, async_typed_kind]),
    does=st.lists(st.sampled_from(["result", "error", "not JSON", "misfit", "result"]), min_size=1, max_size=20),
    waits=st.none() | st.integers(0, 19),
    first=st.integers(0, 10**8),
)
def test_each_item_is_once_in_the_answer_of_every_kind_of_handler(
    function: Callable[..., Any], does: list[str], waits: int | None, first: int
) -> None:
    if waits is not None and waits < len(does):
        does[waits] = "wait"
    is_typed = "typed" in function.__name__
    items = [{"does": 5 if each == "misfit" and is_typed else each} for each in does]
    run = {"id": "i", "name": "n", "bucket": "b", "prefix": "runs/n", "path": ""}
    event = {
        "BatchInput": {"distmap": {"run": run}},
        "Items": [{"index": first + at, "value": each} for at, each in enumerate(items)],
    }
    answer = process_items(item_timeout=SECONDS, fail_at_percentage=None)(function)(event)
    expected = {"error": "ValueError", "not JSON": "NotJsonError", "wait": "ItemTimeout"}
    expected |= {"misfit": "InvalidItemError"} if is_typed else {}
    wanted = {str(first + at): each for at, each in enumerate(does)}
    assert errors(answer) == {key: expected[each] for key, each in wanted.items() if each in expected}
    assert values(answer) == {key: each for key, each in wanted.items() if each not in expected}
    assert answer["batchItemsUnprocessed"] == []
    assert answer["batchMeasures"]["items"] == len(does)
