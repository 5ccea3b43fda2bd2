"""What the decorators take for a user's function, and what they refuse when the module is imported."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from distmap import NotJsonError, capture_items, combine_results, process_items
from distmap._signature import UserFunction

Decorator = Callable[[Callable[..., Any]], Any]


def plain(item: Any) -> Any:
    return item


async def coroutine(item: Any) -> Any:
    return item


async def async_generator(item: Any) -> AsyncIterator[Any]:
    yield item


def generator(item: Any) -> Iterator[Any]:
    yield item


class Plain:
    def __call__(self, item: Any) -> Any:
        return item

    def method(self, item: Any) -> Any:
        return item


class Coroutine:
    async def __call__(self, item: Any) -> Any:
        return item

    async def method(self, item: Any) -> Any:
        return item

    @classmethod
    async def of_class(cls, item: Any) -> Any:
        return item

    @staticmethod
    async def of_nothing(item: Any) -> Any:
        return item


class AsyncGenerator:
    async def __call__(self, item: Any) -> AsyncIterator[Any]:
        yield item


class Generator:
    def __call__(self, item: Any) -> Iterator[Any]:
        yield item

    def method(self, item: Any) -> Iterator[Any]:
        yield item


class Inherits(Coroutine):
    pass


class PartialCall:
    __call__ = functools.partial(coroutine)


@functools.wraps(plain)
async def async_around_plain(item: Any) -> Any:
    return plain(item)


@functools.wraps(coroutine)
def plain_around_coroutine(item: Any) -> Any:
    return asyncio.run(coroutine(item))


@functools.wraps(generator)
def plain_around_generator(item: Any) -> Any:
    return next(generator(item))


class Decorated:
    """A decorator written as a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)

    def __call__(self, item: Any) -> Any:
        return asyncio.run(self.__wrapped__(item))  # type: ignore[attr-defined] # by update_wrapper


ASYNC: dict[str, Any] = {
    "function": coroutine,
    "async-generator": async_generator,
    "object": Coroutine(),
    "object-of-a-subclass": Inherits(),
    "object-async-generator": AsyncGenerator(),
    "object-whose-call-is-a-partial": PartialCall(),
    "method": Coroutine().method,
    "class-method": Coroutine.of_class,
    "static-method": Coroutine.of_nothing,
    "static-method-object": staticmethod(coroutine),
    "partial": functools.partial(coroutine),
    "partial-of-a-partial": functools.partial(functools.partial(coroutine)),
    "partial-of-an-object": functools.partial(Coroutine()),
    "partial-of-a-method": functools.partial(Coroutine().method),
    "cached": functools.cache(coroutine),
    "around-a-plain-function": async_around_plain,
    "mock": AsyncMock(),
}
YIELDS: dict[str, Any] = {
    "function": generator,
    "object": Generator(),
    "method": Generator().method,
    "partial": functools.partial(generator),
    "partial-of-an-object": functools.partial(Generator()),
    "cached": functools.cache(generator),
}
TAKEN: dict[str, Any] = {
    "function": plain,
    "lambda": lambda item: item,
    "object": Plain(),
    "method": Plain().method,
    "partial": functools.partial(plain),
    "cached": functools.cache(plain),
    "runs-a-coroutine": plain_around_coroutine,
    "runs-a-generator": plain_around_generator,
    "decorator-of-a-class": Decorated(coroutine),
}


@pytest.mark.parametrize(
    "name",
    sorted(ASYNC.keys() - {"async-generator", "object-async-generator", "object-whose-call-is-a-partial", "mock"}),
)
def test_a_worker_may_be_async(name: str) -> None:
    answer = process_items(ASYNC[name])({"Items": [1, 2]})
    assert [each["itemIdentifier"] for each in answer["batchItemResults"]] == ["0", "1"]


@pytest.mark.parametrize("name", ["async-generator", "object-async-generator"])
def test_fails_when_a_worker_yields_and_is_async(name: str) -> None:
    with pytest.raises(TypeError, match=r"^@process_items takes a plain .* is async; call asyncio\.run inside"):
        process_items(ASYNC[name])


@pytest.mark.parametrize("decorator", [capture_items, combine_results])
@pytest.mark.parametrize("function", ASYNC.values(), ids=ASYNC)
def test_fails_when_the_function_is_async(function: Any, decorator: Decorator) -> None:
    with pytest.raises(TypeError, match=rf"^@{decorator.__name__} takes a plain .* is async; call asyncio\.run inside"):
        decorator(function)


@pytest.mark.parametrize("decorator", [process_items, combine_results])
@pytest.mark.parametrize("function", YIELDS.values(), ids=YIELDS)
def test_fails_when_the_function_yields(function: Any, decorator: Decorator) -> None:
    with pytest.raises(TypeError, match=rf"^@{decorator.__name__}: .* yields; return the "):
        decorator(function)


@pytest.mark.parametrize("function", YIELDS.values(), ids=YIELDS)
def test_a_capture_takes_whatever_yields(function: Any) -> None:
    capture_items(function)
    assert UserFunction(function, decorator="capture_items", argument="the input").is_generator


@pytest.mark.parametrize("function", TAKEN.values(), ids=TAKEN)
def test_whatever_returns_its_result_is_taken(function: Any) -> None:
    assert process_items(function)(7) == 7


@pytest.mark.parametrize(
    "function",
    [int, len, MagicMock(return_value=3), str.upper, {}.get],
    ids=["class", "function", "mock", "method-of-a-type", "method"],
)
def test_what_is_not_written_in_python_is_taken(function: Any) -> None:
    process_items(function)


@pytest.mark.parametrize(
    ("returned", "remedy"),
    [
        (coroutine, "call asyncio.run on it"),
        (async_generator, "call asyncio.run"),
        (generator, "return a list of what"),
    ],
    ids=["coroutine", "async-generator", "generator"],
)
def test_fails_when_what_is_returned_has_still_to_be_run(returned: Any, remedy: str) -> None:
    def hands_on(item: Any) -> Any:  # a plain function to look at
        return returned(item)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that a coroutine was never awaited
        with pytest.raises(NotJsonError, match=remedy):
            process_items(hands_on)(1)
