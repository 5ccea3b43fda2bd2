"""The clock that skips waits only while nothing real is running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from cdk_distributed_map.local.execution.clock import Clock, iso, new_loop


class Runner:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._loop = new_loop(clock)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self._loop.close()


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner(Clock())
    yield made
    made.close()


def test_a_year_passes_at_once(runner: Runner) -> None:
    began, real = runner.clock.now(), time.monotonic()
    runner.run(runner.clock.sleep(31_536_000))
    assert runner.clock.now() - began >= 31_536_000
    assert time.monotonic() - real < 3_600


def test_sleepers_wake_in_order(runner: Runner) -> None:
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await runner.clock.sleep(seconds)
        woken.append(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (300, 1, 20)))

    runner.run(all_of_them())
    assert woken == [1, 20, 300]


def test_time_is_not_skipped_while_something_real_runs(runner: Runner) -> None:
    async def work() -> float:
        began = runner.clock.now()
        timer = asyncio.ensure_future(runner.clock.sleep(3_600))
        with runner.clock.real():
            await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)
        passed = runner.clock.now() - began
        timer.cancel()
        return passed

    assert runner.run(work()) < 3_600


def test_cancelled_timers_are_not_kept(runner: Runner) -> None:
    async def work() -> None:
        for _ in range(5_000):
            runner.clock.call_later(1_000, lambda: None).cancel()

    runner.run(work())
    assert len(runner.clock._sleepers) < 3_000  # noqa: SLF001 - memory, which nothing else shows


def test_times_have_milliseconds() -> None:
    assert iso(1_790_204_286.0) == "2026-09-23T22:58:06.000Z"
    assert iso(1_790_204_286.0625) == "2026-09-23T22:58:06.062Z"
