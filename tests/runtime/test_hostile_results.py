"""Results and errors that run code of their own while they are encoded, and objects that change afterwards."""

from __future__ import annotations

import io
import json
import sys
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from distmap import NotJsonError, process_items
from distmap._json import ESCAPES_NON_ASCII, plain
from distmap.wire import Run
from tests.runtime.answers import causes

Batch = Callable[[list[Any]], dict[str, Any]]


@pytest.fixture
def batch(run_nowhere: Run) -> Batch:
    def make(values: list[Any]) -> dict[str, Any]:
        items = [{"index": position, "value": value} for position, value in enumerate(values)]
        return {"BatchInput": {"distmap": {"run": run_nowhere}}, "Items": items}

    return make


def results_of(answer: Any) -> list[Any]:
    return [entry["result"] for entry in answer["batchItemResults"]]


# -- a result is what it was when it was returned


@pytest.mark.parametrize("threads", [1, 3], ids=["one-thread", "three-threads"])
@pytest.mark.parametrize("nested", [False, True], ids=["itself", "inside-another"])
def test_a_handler_may_return_the_same_object_for_each_item(nested: object, threads: int, batch: Batch) -> None:
    shared: dict[str, list[int]] = {"seen": []}

    @process_items(threads=threads)
    def handler(item: int) -> object:
        shared["seen"].append(item)
        return {"all": shared} if nested else shared

    answer = handler(batch([0, 1, 2, 3]))
    lengths = sorted(len((result["all"] if nested else result)["seen"]) for result in results_of(answer))
    # Several threads may add before one of them returns, but nothing is added to what was returned.
    assert lengths == [1, 2, 3, 4] if threads == 1 else lengths[-1] == 4
    shared["seen"].clear()
    assert len(results_of(answer)[0].get("all", results_of(answer)[0])["seen"]) >= 1


def test_a_result_that_belongs_to_its_item_is_kept_too(batch: Batch) -> None:
    last: list[dict[str, int]] = []

    @process_items
    def handler(item: dict[str, int]) -> dict[str, int]:
        for earlier in last:
            earlier["n"] = -1
        last.append(item)
        return item

    assert results_of(handler(batch([{"n": 1}, {"n": 2}, {"n": 3}]))) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_an_item_that_its_function_altered_is_whole_again_in_its_next_attempt(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._retry.sleep", lambda _: None)
    attempts: list[int] = []

    @process_items(retry_errors=[OSError])
    def handler(item: dict[str, list[int]]) -> int:
        number = item.pop("n").pop()
        attempts.append(number)
        if len(attempts) < 3:
            raise OSError
        return number

    assert results_of(handler(batch([{"n": [7]}]))) == [7]
    attempts.clear()
    assert handler({"n": [7]}) == 7


def test_an_answer_holds_the_types_of_json_alone(batch: Batch) -> None:
    point = namedtuple("point", "x y")

    class Text(str):
        __slots__ = ()

    given = [point(1, 2), OrderedDict(a=1), {3: 4}, Text("t"), 2.5, True, None, "ünï 🎉", 2**70, [], {}]
    results = results_of(process_items(lambda item: given[item])(batch(list(range(len(given))))))
    assert results == [[1, 2], {"a": 1}, {"3": 4}, "t", 2.5, True, None, "ünï 🎉", 2**70, [], {}]
    assert {type(result) for result in results} == {list, dict, str, float, bool, type(None), int}


# -- a result that cannot be encoded is its item's failure


class LazyMapping(dict[str, int]):
    def items(self) -> Any:
        raise KeyError("loaded too late")


class BrokenIterator(list[int]):
    """What the encoder iterates over."""

    def __iter__(self) -> Any:
        raise LookupError("gone")

    def __len__(self) -> int:
        return 1


class BrokenName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override] # broken on purpose
        raise RuntimeError


class Nameless(metaclass=BrokenName):
    pass


class NoClass:
    @property  # type: ignore[misc] # broken on purpose
    def __class__(self) -> Any:
        raise RuntimeError


class NamelessError(Exception, metaclass=BrokenName):
    def __str__(self) -> str:
        raise RuntimeError


class RaisesNameless(dict[str, int]):
    def items(self) -> Any:
        raise NamelessError


class BrokenDecimal(Decimal):
    def __str__(self) -> str:
        raise ZeroDivisionError


class OddText(str):
    __slots__ = ()

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise RuntimeError


class OddTextError(Exception):
    def __str__(self) -> str:
        return OddText("odd")


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE = {
    "lazy-mapping": lambda: LazyMapping(a=1),
    "broken-name": Nameless,
    "broken-class": NoClass,
    "nameless-error": lambda: RaisesNameless(a=1),
    "broken-decimal": lambda: BrokenDecimal(1),
    "in-a-list": lambda: [LazyMapping(a=1)],
    "deep": lambda: deep(100_000),
    "just-too-deep": lambda: deep(sys.getrecursionlimit() - 2),
    "as-a-key": lambda: {Nameless(): 1},
    "an-integer-of-5000-digits": lambda: 10**5000,
    "not-a-number": lambda: Decimal("NaN"),
    "signalling": lambda: Decimal("sNaN"),
    "infinite": lambda: Decimal("-Infinity"),
    "beyond-a-double": lambda: Decimal("1E+400"),
    "user-dict": lambda: UserDict(a=1),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("threads", [1, 2], ids=["one-thread", "two-threads"])
def test_a_result_that_breaks_while_it_is_encoded_fails_its_item_only(
    make: Callable[[], object], threads: int, batch: Batch
) -> None:
    answer = process_items(threads=threads)(lambda item: make() if item == 1 else item)(batch([0, 1, 2]))
    assert results_of(answer) == [0, 2]
    (failure,) = answer["batchItemFailures"]
    assert (failure["itemIdentifier"], failure["error"]) == ("1", "NotJsonError")
    assert failure["cause"].startswith("the result is not JSON: ")
    json.dumps(answer)


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_fails_when_a_bare_items_result_breaks_while_it_is_encoded(make: Callable[[], object]) -> None:
    with pytest.raises(NotJsonError, match="the result is not JSON: "):
        process_items(lambda _: make())(0)


def test_a_failure_names_what_the_results_own_code_raised(batch: Batch) -> None:
    answer = process_items(lambda item: item or LazyMapping(a=1))(batch([0, 1]))
    assert "KeyError: 'loaded too late'" in answer["batchItemFailures"][0]["cause"]


@pytest.mark.parametrize(
    ("error", "name", "cause"),
    [
        (NamelessError(), "NamelessError", "its message cannot be read: RuntimeError"),
        (OddTextError(), "OddTextError", "its message cannot be read: RuntimeError"),
        (ExceptionGroup("two", [ValueError(1), NamelessError()]), "ExceptionGroup", "two (2 sub-exceptions)"),
    ],
    ids=["nameless", "odd-text", "group"],
)
@pytest.mark.parametrize("retry_errors", [(), ("OSError",)], ids=["no-retry", "retry"])
def test_an_error_that_breaks_when_it_is_looked_at_fails_its_item_only(
    error: Exception, name: str, cause: str, retry_errors: tuple[str, ...], batch: Batch
) -> None:
    @process_items(retry_errors=retry_errors)
    def handler(item: int) -> int:
        if item == 1:
            raise error
        return item

    answer = handler(batch([0, 1, 2]))
    assert results_of(answer) == [0, 2]
    assert causes(answer["batchItemFailures"]) == [("1", name, cause)]


def test_an_error_whose_attributes_break_is_not_tried_again(batch: Batch) -> None:
    class NoResponseError(Exception):
        @property
        def response(self) -> Any:
            raise RuntimeError

    @process_items(retry_errors=["ThrottlingException"])
    def handler(item: int) -> int:
        if item == 1:
            raise NoResponseError
        return item

    assert handler(batch([0, 1]))["batchItemFailures"][0]["error"] == "NoResponseError"


def test_an_item_is_not_tried_again_for_a_result_that_is_not_json(batch: Batch) -> None:
    calls: list[int] = []

    @process_items(retry_errors=[Exception])
    def handler(item: int) -> object:
        calls.append(item)
        return {item}

    with pytest.raises(Exception, match="2 of 2 items failed"):
        handler(batch([0, 1]))
    assert calls == [0, 1]


def test_fails_when_memory_ends_while_a_result_is_encoded(batch: Batch) -> None:
    class Huge(dict[str, int]):
        def items(self) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        process_items(lambda item: item or Huge(a=1))(batch([0, 1]))


# -- the log never fails the work


def test_an_item_that_its_function_made_circular_is_answered_all_the_same(
    batch: Batch, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    @process_items(log_items=True)
    def handler(item: dict[str, Any]) -> int:
        item["self"] = item
        if item["n"] == 1:
            raise ValueError
        return 1

    assert results_of(handler(batch([{"n": 0}, {"n": 1}]))) == [1]
    (line,) = log_lines()
    assert (line["succeeded"], line["failed"]) == (1, 1)
    assert "failures" in line["leftOut"]


def test_a_function_that_closed_standard_output_is_answered_all_the_same(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stdout", closed)
    assert results_of(process_items(lambda item: item)(batch([1]))) == [1]


# -- Decimal, as every item of DynamoDB has


@pytest.mark.parametrize(
    ("number", "expected"),
    [("5", 5), ("-0", 0), ("3.14159", 3.14159), ("5.0", 5.0), ("1E+2", 100.0), ("1E-7", 1e-7), (str(2**80), 2**80)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_decimal_is_the_number_that_lambdas_serializer_makes_of_it(
    number: str, expected: float, batch: Batch
) -> None:
    handler = process_items(lambda _: {"price": [Decimal(number)]})
    (result,) = results_of(handler(batch([0])))
    assert result == handler(0) == {"price": [expected]}
    assert type(result["price"][0]) is type(expected)


@pytest.mark.parametrize("character", ["x", "ü", "語", "🎉"], ids=["ascii", "two-bytes", "three-bytes", "four-bytes"])
def test_an_answer_is_as_large_as_lambda_sends_it(character: str) -> None:
    value = {"text": [character * 9, Decimal("2.50"), 1.5, None]}
    copy, size = plain(value, what="it")
    assert copy == {"text": [character * 9, 2.5, 1.5, None]}
    assert size == len(json.dumps(copy, ensure_ascii=ESCAPES_NON_ASCII).encode())
