"""Every event a worker gets, and every way an item can go wrong."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmap import (
    BatchFailedError,
    EventError,
    ItemContextError,
    NotJsonError,
    PermanentError,
    current_item,
    item_key,
    process_items,
)
from distmap.wire import Run
from tests.runtime.answers import causes, place_in

RUN: Run = {
    "id": "arn:aws:states:us-east-1:123456789012:execution:Squares:run-1",
    "name": "run-1",
    "bucket": "no-such-bucket",
    "prefix": "runs/run-1",
    "path": "",
}


def batch_of(values: list[Any], *, first: int = 0, run: Run = RUN, **batch_input: Any) -> dict[str, Any]:
    items = [{"index": first + position, "value": value} for position, value in enumerate(values)]
    return {"BatchInput": {"distmap": {"run": run}, **batch_input}, "Items": items}


def square(item: int) -> int:
    return item * item


def fails_on_odd(item: int) -> int:
    if item % 2:
        message = f"{item} is odd"
        raise ValueError(message)
    return item


def test_a_batch_is_answered_item_by_item() -> None:
    answer = process_items(square)(batch_of([3, 4], first=10))
    assert answer.pop("batchMeasures")["items"] == 2
    assert answer == {
        "batchItemResults": [{"itemIdentifier": "10", "result": 9}, {"itemIdentifier": "11", "result": 16}],
        "batchItemFailures": [],
        "batchItemsUnprocessed": [],
    }


def test_a_single_envelope_is_answered_like_a_batch_of_one() -> None:
    answer = process_items(square)({"index": 7, "value": 5, "run": RUN})
    assert answer["batchItemResults"] == [{"itemIdentifier": "7", "result": 25}]


def test_fails_when_a_single_envelopes_item_raises_with_the_items_own_exception() -> None:
    with pytest.raises(ValueError, match="3 is odd"):
        process_items(fails_on_odd)({"index": 7, "value": 3, "run": RUN})


@pytest.mark.parametrize(
    "item",
    [5, "text", None, True, 1.5, [1, 2], {"Key": "a", "Size": 3}, {"index": 3, "value": 4}, {"Items": [1], "more": 2}],
    ids=["integer", "text", "null", "true", "float", "list", "object", "envelope-without-run", "object-with-Items"],
)
def test_anything_else_that_is_json_is_a_bare_item(item: object) -> None:
    def echo(value: object) -> dict[str, object]:
        return {"got": value}

    assert process_items(echo)(item) == {"got": item}


def test_fails_when_a_bare_item_raises_with_its_own_exception() -> None:
    with pytest.raises(ValueError, match="5 is odd"):
        process_items(fails_on_odd)(5)


@pytest.mark.parametrize("batch_input", [{}, {"BatchInput": {"factor": 2}}], ids=["no-batch-input", "the-users-only"])
def test_a_batch_of_bare_items_is_identified_by_position(batch_input: dict[str, Any]) -> None:
    answer = process_items(fails_on_odd)({**batch_input, "Items": [2, 3, 4]})
    assert [entry["itemIdentifier"] for entry in answer["batchItemResults"]] == ["0", "2"]
    assert causes(answer["batchItemFailures"]) == [("1", "ValueError", "3 is odd")]
    assert answer["positional"] is True


ENVELOPED = {"distmap": {"run": RUN}}
SQS = {"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        ({"Items": []}, "Items: []"),
        ({"Items": {"a": 1}}, "Items: {'a': 1}"),
        ({"BatchInput": {}}, "Items: None"),
        ({"BatchInput": {}, "Items": [1], "extra": 1}, "unknown keys extra"),
        ({"BatchInput": "x", "Items": [1]}, "BatchInput: 'x'"),
        ({"BatchInput": {"distmap": {}}, "Items": [1]}, "a run that lacks"),
        ({"BatchInput": {"distmap": None}, "Items": [1]}, "a run that lacks"),
        ({"BatchInput": {"distmap": {"run": {**RUN, "path": 3}}}, "Items": [1]}, "a run that lacks"),
        ({"BatchInput": {"distmap": {"run": {**RUN, "firstRun": 3}}}, "Items": [1]}, "a run whose firstRun is no text"),
        ({"BatchInput": ENVELOPED, "Items": [{"index": 0, "value": 1}, 5]}, "no envelope at position 1 of Items: 5"),
        ({"BatchInput": ENVELOPED, "Items": [{"index": "0", "value": 1}]}, "no integer from 0: '0'"),
        ({"BatchInput": ENVELOPED, "Items": [{"index": True, "value": 1}]}, "no integer from 0: True"),
        ({"BatchInput": ENVELOPED, "Items": [{"index": -1, "value": 1}]}, "no integer from 0: -1"),
        ({"BatchInput": ENVELOPED, "Items": [{"index": 4, "value": 1}] * 2}, "two items with index 4"),
        ({"index": -3, "value": 1, "run": RUN}, "no integer from 0: -3"),
        ({"index": 1, "value": 1, "run": {"prefix": "p"}}, "a run that lacks"),
        ({"input": 1, "run": RUN, "key": "k", "capture": {}, "continuation": None}, "a capture function's event"),
        ({"run": RUN, "items": None, "results": {}, "mapRunArn": "arn"}, "a combine function's event"),
        (SQS, "records of aws:sqs"),
        (b"bytes", "a bytes, which no JSON text gives"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "event",
)
def test_fails_when_the_event_is_nothing_that_a_map_sends(event: object, found: str) -> None:
    with pytest.raises(EventError) as failure:
        process_items(square)(event)
    assert found in str(failure.value)
    assert "process_items takes what a distributed map sends" in str(failure.value)


@pytest.mark.parametrize("poison", range(5), ids=lambda position: f"at-{position}")
@pytest.mark.parametrize("threads", [1, 3], ids=["one-thread", "three-threads"])
def test_a_poison_item_fails_alone_at_every_position(poison: int, threads: int) -> None:
    @process_items(threads=threads)
    def handler(item: int) -> int:
        if item == poison:
            raise KeyError(item)
        return item * item

    answer = handler(batch_of(list(range(5))))
    assert causes(answer["batchItemFailures"]) == [(str(poison), "KeyError", str(poison))]
    expected = [{"itemIdentifier": str(n), "result": n * n} for n in range(5) if n != poison]
    assert answer["batchItemResults"] == expected


def read_failure(error: BatchFailedError) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(str(error))
    return message


def test_fails_when_every_item_failed_and_says_what_each_met() -> None:
    with pytest.raises(BatchFailedError) as failure:
        process_items(fails_on_odd)(batch_of([1, 3], first=4))
    message = read_failure(failure.value)
    place = place_in(fails_on_odd, "raise")
    assert message["message"] == f"2 of 2 items failed, the first with ValueError at {place}: 1 is odd"
    assert causes(message["batch"]["batchItemFailures"]) == [
        ("4", "ValueError", "1 is odd"),
        ("5", "ValueError", "3 is odd"),
    ]


@pytest.mark.parametrize("percentage", [26, 100], ids=str)
def test_a_batch_is_answered_below_the_share_that_was_set(percentage: float) -> None:
    answer = process_items(fail_at_percentage=percentage)(fails_on_odd)(batch_of([0, 1, 2, 4]))
    assert len(answer["batchItemResults"]) == 3


@pytest.mark.parametrize("percentage", [0.1, 25], ids=str)
def test_fails_when_the_share_that_was_set_failed_and_keeps_the_results(percentage: float) -> None:
    handler = process_items(fail_at_percentage=percentage)(fails_on_odd)
    event = batch_of([0, 1, 2, 4])
    with pytest.raises(BatchFailedError) as failure:
        handler(event)
    assert len(read_failure(failure.value)["batch"]["batchItemResults"]) == 3


def test_a_batch_never_fails_as_a_whole_without_a_share() -> None:
    answer = process_items(fail_at_percentage=None)(fails_on_odd)(batch_of([1, 3]))
    assert len(answer["batchItemFailures"]) == 2


@pytest.mark.parametrize("fatal", [MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("threads", [1, 2], ids=["one-thread", "two-threads"])
def test_fails_when_a_signal_is_fatal(fatal: type[BaseException], threads: int) -> None:
    @process_items(threads=threads, retry_errors=[Exception])
    def handler(item: int) -> int:
        if item == 1:
            raise fatal
        return item

    with pytest.raises(fatal):
        handler(batch_of([0, 1, 2]))


class PanicException(BaseException):
    """What a panic of a library in Rust is in Python: no ``Exception``."""


@pytest.mark.parametrize("settings", [{}, {"threads": 2}, {"retry_errors": [ValueError]}], ids=str)
@pytest.mark.parametrize("error", [PanicException, asyncio.CancelledError])
def test_what_is_no_exception_is_an_error_of_its_item_too(error: type[BaseException], settings: dict[str, Any]) -> None:
    @process_items(**settings)
    def handler(item: int) -> int:
        if item == 1:
            raise error("at the bounds")
        return item

    answer = handler(batch_of([0, 1, 2]))
    assert [each["result"] for each in answer["batchItemResults"]] == [0, 2]
    (failure,) = answer["batchItemFailures"]
    assert (failure["error"], failure["cause"]) == (error.__name__, "at the bounds")
    with pytest.raises(Exception, match="at the bounds") as caught:  # which the runtime of Lambda takes for an error
        handler({"index": 1, "value": 1, "run": RUN})
    assert type(caught.value).__name__ == error.__name__


def test_fails_when_a_retried_item_meets_a_fatal_signal() -> None:
    calls: list[int] = []

    @process_items(retry_errors=[ValueError])
    def handler(item: int) -> None:
        calls.append(item)
        raise MemoryError if len(calls) > 1 else ValueError

    with pytest.raises(MemoryError):
        handler(batch_of([0]))


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("\ud800 x"), "\\ud800 x"),
        (UnprintableError(), "its message cannot be read: RuntimeError"),
        (ValueError("ünï 🎉"), "ünï 🎉"),
    ],
    ids=["surrogate", "unprintable", "beyond-ascii"],
)
def test_a_failures_message_never_breaks_the_answer(error: Exception, cause: str) -> None:
    @process_items(fail_at_percentage=None)
    def handler(item: int) -> None:
        raise error

    assert handler(batch_of([0]))["batchItemFailures"][0]["cause"] == cause


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize(
    "result",
    [{1, 2}, float("nan"), float("inf"), b"x", {(1, 2): 3}, object(), "\ud800", RECURSIVE],
    ids=["set", "nan", "infinity", "bytes", "tuple-key", "object", "surrogate", "circular"],
)
def test_a_result_that_is_not_json_fails_its_item_only(result: object) -> None:
    @process_items
    def handler(item: int) -> object:
        return result if item == 1 else item

    answer = handler(batch_of([0, 1, 2]))
    assert [entry["itemIdentifier"] for entry in answer["batchItemResults"]] == ["0", "2"]
    (failure,) = answer["batchItemFailures"]
    assert (failure["itemIdentifier"], failure["error"]) == ("1", "NotJsonError")
    assert "the result is not JSON: " in failure["cause"]
    assert "only dict with text keys" in failure["cause"]


@pytest.mark.parametrize("event", [5, {"index": 0, "value": 5, "run": RUN}], ids=["bare", "envelope"])
def test_fails_when_a_single_items_result_is_not_json(event: object) -> None:
    with pytest.raises(NotJsonError, match="the result is not JSON: object of type set"):
        process_items(lambda item: {item})(event)


def test_threads_work_at_the_same_time_and_answer_in_order() -> None:
    together = threading.Barrier(4, timeout=30)

    @process_items(threads=4)
    def handler(item: int) -> tuple[int, str]:
        together.wait()  # passes only where four items are in work at once
        return item, item_key()

    answer = handler(batch_of(list(range(8))))
    assert [entry["result"] for entry in answer["batchItemResults"]] == [[n, f"{RUN['id']}/{n}"] for n in range(8)]


class ThrottlingError(Exception):
    """Looks like boto3's ClientError."""

    def __init__(self) -> None:
        self.response = {"Error": {"Code": "ThrottlingException"}}


@pytest.mark.parametrize(
    "named",
    [ThrottlingError, "ThrottlingError", "ThrottlingException", "Exception"],
    ids=["type", "name", "code", "base"],
)
def test_an_item_is_tried_again_for_the_errors_named(named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("distmap._retry.sleep", waited.append)
    calls: list[int] = []

    @process_items(retry_errors=[named], retry_attempts=3)
    def handler(item: int) -> int:
        calls.append(item)
        if item == 1 and calls.count(1) <= 3:
            raise ThrottlingError
        return item

    answer = handler(batch_of([0, 1, 2]))
    assert len(answer["batchItemResults"]) == 3
    assert calls == [0, 1, 1, 1, 1, 2]
    assert [wait <= limit for wait, limit in zip(waited, [0.2, 0.4, 0.8], strict=True)] == [True] * 3


def test_an_item_fails_when_its_attempts_are_used_up_or_its_error_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._retry.sleep", lambda _: None)
    calls: list[int] = []

    @process_items(retry_errors=[KeyError], retry_attempts=2)
    def handler(item: int) -> int:
        calls.append(item)
        if item == 0:
            raise KeyError
        if item == 1:
            raise KeyError if calls.count(1) == 1 else ValueError
        return item

    answer = handler(batch_of([0, 1, 2]))
    assert calls == [0, 0, 0, 1, 1, 2]
    assert [failure["error"] for failure in answer["batchItemFailures"]] == ["KeyError", "ValueError"]


@pytest.mark.parametrize("event", [5, {"index": 0, "value": 5, "run": RUN}], ids=["bare", "envelope"])
def test_a_single_item_is_tried_again_too(event: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._retry.sleep", lambda _: None)
    calls: list[int] = []

    @process_items(retry_errors=[ValueError])
    def handler(item: int) -> int:
        calls.append(item)
        if len(calls) == 1:
            raise ValueError
        return item

    handler(event)
    assert calls == [5, 5]


def test_every_item_knows_its_key_its_run_and_the_batch_input() -> None:
    nested: Run = {**RUN, "path": "/3"}

    @process_items
    def handler(item: str) -> list[Any]:
        current = current_item()
        assert current.run == nested
        return [item, current.index, item_key(), current.batch_input]

    answer = handler(batch_of(["a", "b"], first=17, run=nested, factor=2))
    assert [entry["result"] for entry in answer["batchItemResults"]] == [
        ["a", 17, f"{RUN['id']}/3/17", {"factor": 2}],
        ["b", 18, f"{RUN['id']}/3/18", {"factor": 2}],
    ]


def test_a_single_envelope_knows_its_key() -> None:
    answer = process_items(lambda _: item_key())({"index": 2, "value": 0, "run": RUN})
    assert answer["batchItemResults"][0]["result"] == f"{RUN['id']}/2"


def test_an_item_of_a_retry_has_the_key_of_the_first_run() -> None:
    retry: Run = {**RUN, "id": f"{RUN['id']}-retry-2", "path": "/3", "firstRun": RUN["id"]}
    answer = process_items(lambda _: item_key())(batch_of([0], first=17, run=retry))
    assert answer["batchItemResults"][0]["result"] == f"{RUN['id']}/3/17"


def test_fails_when_a_bare_item_is_asked_for_its_key() -> None:
    with pytest.raises(ItemContextError, match="an unidentified item has no key"):
        process_items(lambda _: item_key())(5)


def test_fails_when_no_item_is_being_processed() -> None:
    with pytest.raises(ItemContextError, match="no item is being processed here"):
        item_key()


def test_the_context_goes_in_only_where_the_signature_asks() -> None:
    context = object()

    def alone(item: int) -> object:
        return item

    def second(item: int, anything: object) -> object:
        return anything

    def named(item: int, factor: int = 1, context: object = None) -> object:
        return context

    def keyword(item: int, *, context: object) -> object:
        return context

    def defaulted(item: int, factor: int = 3) -> object:
        return factor

    def seen(function: Callable[..., Any]) -> object:
        seen: list[object] = []

        def spy(*args: Any, **kwargs: Any) -> None:
            seen.append(function(*args, **kwargs))

        spy.__wrapped__ = function  # type: ignore[attr-defined]
        process_items(spy)(1, context)
        return seen[0]

    assert [seen(f) for f in (alone, second, named, keyword, defaulted)] == [1, context, context, context, 3]


async def an_async_function(item: int) -> Any:
    yield item


def a_generator(item: int) -> Any:
    yield item


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (an_async_function, "is async"),
        (a_generator, "yields"),
        (lambda: None, "takes no positional parameter"),
        (lambda _a, _b, _c: None, "give a default to its other parameters: _c"),
        (lambda _a, *, _b: None, "give a default to _b"),
        (5, "takes a function of an item, got 5"),
    ],
    ids=["async", "generator", "no-parameter", "three-parameters", "keyword", "no-function"],
)
def test_fails_when_the_function_cannot_be_a_worker(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        process_items(function)


@pytest.mark.parametrize(
    ("given_settings", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads must be an integer from 1 to 1,024, got 0"),
        ({"threads": 1025}, ValueError, "got 1025"),
        ({"threads": True}, ValueError, "got True"),
        ({"reserve_seconds": -1}, ValueError, "reserve_seconds must be 0 or more, got -1"),
        ({"reserve_seconds": "1"}, TypeError, "reserve_seconds must be a number of seconds, got '1'"),
        ({"reserve_seconds": True}, TypeError, "reserve_seconds must be a number of seconds, got True"),
        ({"fail_at_percentage": "50"}, TypeError, "fail_at_percentage must be a number, got '50'"),
        ({"fail_at_percentage": True}, TypeError, "fail_at_percentage must be a number, got True"),
        ({"log_items": "yes"}, TypeError, "log_items must be True or False, got 'yes'"),
        ({"fail_at_percentage": 0}, ValueError, "fail_at_percentage must be over 0 and at most 100, got 0"),
        ({"fail_at_percentage": 101}, ValueError, "got 101"),
        ({"retry_attempts": -1}, ValueError, "retry_attempts must be an integer from 0, got -1"),
        ({"retry_errors": "ValueError"}, TypeError, "put it in a list"),
        ({"retry_errors": ValueError}, TypeError, "put it in a list"),
        ({"retry_errors": [3]}, TypeError, "exception types and names, got 3"),
        ({"retry_errors": [KeyboardInterrupt]}, TypeError, "got <class 'KeyboardInterrupt'>"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_fails_when_a_setting_is_wrong(given_settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        process_items(**given_settings)


def test_the_plain_function_is_still_there() -> None:
    handler = process_items(square)
    assert handler.__wrapped__ is square  # type: ignore[attr-defined]
    assert handler.__name__ == "square"


def test_one_log_line_tells_counts_and_no_content(
    log_lines: Callable[[], list[dict[str, Any]]], lambda_context: Callable[[float], Any]
) -> None:
    process_items(fails_on_odd)(batch_of([2, 3, 5, 8], first=6), lambda_context(900))
    (line,) = log_lines()
    assert line.pop("durationMs") >= 0
    assert line == {
        "level": "INFO",
        "message": "items processed",
        "requestId": "5f2d0d4e-0000-4000-8000-000000000000",
        "run": "run-1",
        "runId": RUN["id"],
        "mapRun": "/",
        "batch": "6-9",
        "items": 4,
        "succeeded": 2,
        "failed": 2,
        "unprocessed": 0,
        "errors": {"ValueError": 2},
        "places": {place_in(fails_on_odd, "raise"): 2},
    }


def test_the_log_line_tells_content_where_it_was_asked_for(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    process_items(log_items=True)(fails_on_odd)(batch_of([2, 3], first=6))
    (line,) = log_lines()
    (failure,) = line["failures"]
    assert causes([failure]) == [("7", "ValueError", "3 is odd")]
    assert (failure["value"], failure["place"]) == (3, place_in(fails_on_odd, "raise"))


def test_a_failed_single_item_is_logged_too(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    with pytest.raises(ValueError, match="odd"):
        process_items(fails_on_odd)({"index": 3, "value": 3, "run": RUN})
    (line,) = log_lines()
    assert (line["failed"], line["batch"]) == (1, "3")


OUTCOMES = st.sampled_from(["result", "error", "not JSON"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    outcomes=st.dictionaries(st.integers(0, 10**8), OUTCOMES, min_size=1, max_size=30),
    threads=st.integers(1, 4),
    stop_after=st.none() | st.integers(1, 30),
)
def test_the_identifiers_answered_are_those_received_once_each(
    outcomes: dict[int, str], threads: int, stop_after: int | None
) -> None:
    taken: list[str] = []

    class Clock:
        """Time that stands still until so many items were taken."""

        def get_remaining_time_in_millis(self) -> int:
            return 10_000

    def one(outcome: str) -> object:
        taken.append(outcome)
        if stop_after is not None and len(taken) >= stop_after:
            clock.advance(60)
        if outcome == "error":
            raise ValueError(outcome)
        return {1} if outcome == "not JSON" else outcome

    with pytest.MonkeyPatch.context() as patch:
        clock = FakeClock(patch)
        handler = process_items(threads=threads, fail_at_percentage=None)(one)
        items = [{"index": index, "value": outcome} for index, outcome in outcomes.items()]
        answer = handler({"BatchInput": {"distmap": {"run": RUN}}, "Items": items}, Clock())
    results = [int(entry["itemIdentifier"]) for entry in answer["batchItemResults"]]
    failures = [int(entry["itemIdentifier"]) for entry in answer["batchItemFailures"]]
    unprocessed = [int(identifier) for identifier in answer["batchItemsUnprocessed"]]
    assert sorted([*results, *failures, *unprocessed]) == sorted(outcomes)
    assert all(outcomes[index] == "result" for index in results)
    assert all(outcomes[index] != "result" for index in failures)
    assert len(taken) == len(results) + len(failures)


class FakeClock:
    """The clock of the modules that watch the deadline, moved by hand."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._now = 1000.0
        for module in ("_batch", "_deadline", "_retry", "_process"):
            patch.setattr(f"distmap.{module}.monotonic", lambda: self._now)

    def advance(self, seconds: float) -> None:
        self._now += seconds


class NoSuchThingError(PermanentError):
    """A permanent error of a user's own."""


PERMANENT = [
    pytest.param(PermanentError, (), id="itself"),
    pytest.param(NoSuchThingError, (), id="a class below it"),
    pytest.param(KeyError, [LookupError], id="a named class"),
    pytest.param(KeyError, ["LookupError"], id="the name of a class"),
]


def fails_always(error: type[Exception], permanent_errors: Any, calls: list[Any]) -> Callable[..., Any]:
    @process_items(
        retry_errors=[Exception], retry_attempts=2, permanent_errors=permanent_errors, fail_at_percentage=None
    )
    def handler(item: Any) -> None:
        calls.append(item)
        raise error("gone")

    return handler


@pytest.mark.parametrize(("error", "permanent_errors"), PERMANENT)
def test_a_permanent_failure_of_a_batch_says_so_and_is_not_tried_again(
    error: type[Exception], permanent_errors: Any
) -> None:
    calls: list[Any] = []

    answer = fails_always(error, permanent_errors, calls)(batch_of([7]))

    (failure,) = answer["batchItemFailures"]
    assert (failure["error"], failure["permanent"], len(calls)) == (error.__name__, True, 1)


@pytest.mark.parametrize(("error", "permanent_errors"), PERMANENT)
def test_a_permanent_failure_of_a_single_item_is_known_by_its_name(
    error: type[Exception], permanent_errors: Any, run_nowhere: Run
) -> None:
    handler = fails_always(error, permanent_errors, [])

    with pytest.raises(PermanentError) as raised:
        handler({"index": 7, "value": 7, "run": run_nowhere})

    assert raised.type.__name__ == "PermanentError"
    assert error.__name__ in str(raised.value) or error is PermanentError
    assert "gone" in str(raised.value)


def test_other_failures_are_not_permanent() -> None:
    answer = process_items(fail_at_percentage=None)(fails_on_odd)(batch_of([1]))

    assert "permanent" not in answer["batchItemFailures"][0]


@pytest.mark.parametrize("permanent_errors", [ValueError, "ValueError", [1], [BaseException]])
def test_fails_when_permanent_errors_are_none(permanent_errors: Any) -> None:
    with pytest.raises(TypeError, match="permanent_errors takes"):
        process_items(permanent_errors=permanent_errors)
