# ruff: noqa: T201 - what items print is what this is about
"""``keep_output``: what a failed item printed and logged is kept with its failure, and goes where it went before."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import pytest

from distmap import process_items
from distmap._output import OUTPUT_CHARACTERS

ITEMS = {"Items": [0, 1, 2, 3]}
LOGGER = logging.getLogger("orders")


def outputs(handler: Callable[..., Any], event: dict[str, Any] = ITEMS) -> dict[str, str | None]:
    """Return what is kept of the items that failed."""
    answer = handler(event)
    return {each["itemIdentifier"]: each.get("output") for each in answer["batchItemFailures"]}


def fail(item: int) -> None:
    if item % 2:
        message = f"{item} is odd"
        raise ValueError(message)


def test_what_a_failed_item_printed_and_logged_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    @process_items(keep_output=True)
    def handler(item: int) -> int:
        print("item", item)
        print("to stderr", file=sys.stderr)
        LOGGER.warning("order %d", item)
        sys.stdout.writelines(["a", "b\n"])
        fail(item)
        return item

    assert outputs(handler) == {str(n): f"item {n}\nto stderr\nWARNING orders: order {n}\nab" for n in (1, 3)}
    shown = capsys.readouterr()
    assert [line for line in shown.out.splitlines() if line.startswith("item ")] == [f"item {n}" for n in range(4)]
    assert shown.err.count("to stderr") == 4


def test_nothing_is_kept_unless_it_is_asked_for_or_printed() -> None:
    def work(item: int) -> None:
        print(item)
        fail(item)

    assert outputs(process_items(work)) == {"1": None, "3": None}
    assert outputs(process_items(keep_output=True)(fail)) == {"1": None, "3": None}


@pytest.mark.parametrize("threads", [1, 4])
def test_each_thread_keeps_its_own(threads: int) -> None:
    @process_items(threads=threads, keep_output=True)
    def handler(item: int) -> None:
        print("begin", item)
        print("end", item)
        fail(item)

    assert outputs(handler, {"Items": list(range(40))}) == {str(n): f"begin {n}\nend {n}" for n in range(1, 40, 2)}


def test_each_task_keeps_its_own() -> None:
    @process_items(concurrency=4, keep_output=True)
    async def handler(item: int) -> None:
        print("begin", item)
        await asyncio.sleep(0)
        LOGGER.error("end %d", item)
        fail(item)

    assert outputs(handler) == {str(n): f"begin {n}\nERROR orders: end {n}" for n in (1, 3)}


def test_of_a_retried_item_the_last_attempt_is_kept() -> None:
    attempts: list[int] = []

    @process_items(keep_output=True, retry_errors=[ValueError], retry_attempts=1)
    def handler(item: int) -> None:
        attempts.append(item)
        print("attempt", attempts.count(item))
        fail(item)

    assert outputs(handler) == {"1": "attempt 2", "3": "attempt 2"}


def test_the_end_of_a_long_output_is_kept() -> None:
    @process_items(keep_output=True)
    def handler(item: int) -> None:
        for number in range(2_000):
            print(number, end=" ")
        print("x" * 10 if item == 1 else "x" * 10_000)
        fail(item)

    found = outputs(handler)
    assert str(found["1"]).endswith(" 1998 1999 " + "x" * 10)
    assert len(str(found["1"])) == OUTPUT_CHARACTERS - 1  # the line's end is not among them
    assert found["3"] == "x" * (OUTPUT_CHARACTERS - 1)


def test_a_record_is_kept_once_whatever_handlers_there_are(caplog: pytest.LogCaptureFixture) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.StreamHandler(io.StringIO())]

    @process_items(keep_output=True)
    def handler(item: int) -> None:
        here = logging.StreamHandler(sys.stdout)  # what sys.stdout is now
        LOGGER.addHandler(here)
        try:
            int("much") if item else None
        except ValueError:
            LOGGER.exception("no number")
        finally:
            LOGGER.removeHandler(here)
        LOGGER.debug("not enabled")
        LOGGER.warning("%d for a text", "wrong" if item == 1 else 1)
        fail(item)

    for each in handlers:
        LOGGER.addHandler(each)
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        found = str(outputs(handler)["1"])
    finally:
        logging.raiseExceptions = raising
        for each in handlers:
            LOGGER.removeHandler(each)
    assert found.count("no number") == 1
    assert "invalid literal for int()" in found
    assert found.endswith("WARNING orders: %d for a text")


def test_everything_is_as_it_was_afterwards() -> None:
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()

    @process_items(keep_output=True)
    def handler(item: int) -> str:
        assert sys.stdout.isatty() in {True, False}  # it is still a stream
        with redirect_stdout(io.StringIO()) as caught:
            print("caught")
        fail(item)
        return caught.getvalue()

    assert outputs(handler) == {"1": None, "3": None}
    assert (sys.stdout, sys.stderr, logging.getLogRecordFactory()) == before


def test_half_a_pair_of_surrogates_is_kept_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is logged is no part of the test's report, which can't be encoded with it.
    monkeypatch.setattr(LOGGER, "propagate", False)

    @process_items(keep_output=True)
    def handler(item: int) -> None:
        LOGGER.warning("\ud800")
        fail(item)

    assert outputs(handler)["1"] == "WARNING orders: \\ud800"


@pytest.mark.parametrize("value", [1, None, "yes", 1_000])
def test_fails_when_keep_output_is_neither_true_nor_false(value: Any) -> None:
    with pytest.raises(TypeError, match=rf"keep_output must be True or False, got {value!r}"):
        process_items(keep_output=value)(fail)
