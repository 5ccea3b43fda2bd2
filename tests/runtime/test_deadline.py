"""Workers that run out of time: the polite way, and the way Lambda ends the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from distmap import DeadlineError, process_items
from distmap._deadline import Deadline
from distmap.wire import Run


class Clock:
    """A clock moved by hand, for the modules that watch the deadline and as the Lambda context."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now = 5000.0
        self._ends = self.now + seconds
        for module in ("_batch", "_deadline", "_retry", "_process"):
            patch.setattr(f"distmap.{module}.monotonic", lambda: self.now)

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends - self.now) * 1000)


def event_of(values: list[Any], run: Run) -> dict[str, Any]:
    items = [{"index": position, "value": value} for position, value in enumerate(values)]
    return {"BatchInput": {"distmap": {"run": run}}, "Items": items}


def test_items_that_would_not_end_in_time_are_left_and_named(monkeypatch: pytest.MonkeyPatch, run_nowhere: Run) -> None:
    clock = Clock(monkeypatch, seconds=100)

    def work(seconds: float) -> float:
        clock.now += seconds
        return seconds

    answer = process_items(work)(event_of([10] * 20, run_nowhere), clock)
    done = len(answer["batchItemResults"])
    # 5 s are kept, so at most 9 items end in time; what is learned makes it stop earlier, never later.
    assert 5 <= done <= 9
    assert answer["batchItemsUnprocessed"] == [str(position) for position in range(done, 20)]
    assert clock.get_remaining_time_in_millis() >= 5000


def test_an_outlier_is_forgotten(monkeypatch: pytest.MonkeyPatch, run_nowhere: Run) -> None:
    clock = Clock(monkeypatch, seconds=100)

    def work(seconds: float) -> None:
        clock.now += seconds

    answer = process_items(work)(event_of([1, 1, 15, *[1] * 100], run_nowhere), clock)
    assert len(answer["batchItemResults"]) > 70


@pytest.mark.parametrize(
    ("reserve", "items"), [(0, 9), (30, 6), (95, 1)], ids=["no-reserve", "30-seconds", "95-seconds"]
)
def test_the_reserve_is_settable(reserve: float, items: int, monkeypatch: pytest.MonkeyPatch, run_nowhere: Run) -> None:
    clock = Clock(monkeypatch, seconds=100)

    def work(seconds: float) -> None:
        clock.now += seconds

    answer = process_items(reserve_seconds=reserve)(work)(event_of([10] * 20, run_nowhere), clock)
    assert len(answer["batchItemResults"]) == items
    assert clock.get_remaining_time_in_millis() >= (0 if reserve == 95 else reserve * 1000)


@pytest.mark.parametrize("event", ["batch", "envelope", "item"])
def test_fails_when_there_is_no_time_for_even_one_item(
    event: str, monkeypatch: pytest.MonkeyPatch, run_nowhere: Run
) -> None:
    clock = Clock(monkeypatch, seconds=3)
    calls: list[int] = []
    events = {"batch": event_of([1], run_nowhere), "envelope": {"index": 0, "value": 1, "run": run_nowhere}, "item": 1}
    with pytest.raises(DeadlineError, match=r"3\.000 s were left when the function started, and 3\.000 s are kept"):
        process_items(reserve_seconds=3)(calls.append)(events[event], clock)
    assert calls == []


def test_no_attempt_is_made_again_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch, run_nowhere: Run) -> None:
    clock = Clock(monkeypatch, seconds=100)
    calls: list[int] = []

    @process_items(retry_errors=[ValueError], retry_attempts=5)
    def handler(item: int) -> int:
        calls.append(item)
        if item == 0:
            return item
        clock.now += 94.99
        raise ValueError

    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    answer = handler(event_of([0, 1, 2], run_nowhere), clock)
    assert calls == [0, 1]
    assert answer["batchItemsUnprocessed"] == ["2"]
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["1"]


def test_a_context_without_a_clock_has_no_deadline(run_nowhere: Run) -> None:
    answer = process_items(lambda item: item)(event_of([1, 2], run_nowhere), object())
    assert len(answer["batchItemResults"]) == 2


WORKER = """
    import json, sys, time
    from distmap import process_items

    class Context:
        aws_request_id = "r"
        def __init__(self, seconds):
            self.ends = time.monotonic() + seconds
        def get_remaining_time_in_millis(self):
            return max(0, int((self.ends - time.monotonic()) * 1000))

    @process_items(threads=int(sys.argv[2]))
    def handler(item):
        time.sleep(item)
        return item

    event = json.load(sys.stdin)
    answer = handler(event, Context(float(sys.argv[1])))
    print("ANSWER" + json.dumps(answer), flush=True)
"""


def run_worker(
    event: dict[str, Any], seconds: float, threads: int, kill_after: float
) -> tuple[int, dict[str, Any] | None]:
    """Run a worker in a process of its own and end it at its deadline, as Lambda does: at once, without a word."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(seconds), str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    try:
        output, _ = process.communicate(json.dumps(event), timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    lines = [line.removeprefix("ANSWER") for line in output.splitlines() if line.startswith("ANSWER")]
    return process.returncode, json.loads(lines[0]) if lines else None


@pytest.mark.parametrize("threads", [1, 2], ids=["one-thread", "two-threads"])
def test_a_real_worker_answers_before_its_deadline(threads: int, run_nowhere: Run) -> None:
    code, answer = run_worker(event_of([0.1] * 40, run_nowhere), 1.5, threads, kill_after=60)
    assert code == 0
    assert answer is not None
    done = [entry["itemIdentifier"] for entry in answer["batchItemResults"]]
    assert done
    assert sorted([*done, *answer["batchItemsUnprocessed"]], key=int) == [str(n) for n in range(40)]
    assert answer["batchItemsUnprocessed"]


def test_a_worker_killed_by_its_deadline_answers_nothing_at_all(run_nowhere: Run) -> None:
    # One item outlasts the function: nothing can be answered, so nothing may be taken for done. Step Functions sees
    # a timeout of the whole batch, and its input names every item.
    code, answer = run_worker(event_of([0, 0, 60], run_nowhere), 1.0, 1, kill_after=2)
    assert (code, answer) == (-signal.SIGKILL, None)


def learned(*seconds: float) -> float:
    """What is expected after pieces of work one after the other."""
    deadline, now = Deadline(None, reserve=None, share=0.1, most=5), 0.0
    for each in seconds:
        deadline.learn(now, now + each)
        now += each
    return deadline.expected


def test_the_reserve_is_a_share_of_the_time_that_is_left(lambda_context: Callable[[float], Any]) -> None:
    assert Deadline(lambda_context(100), reserve=None, share=0.1, most=5).reserve == 5
    assert Deadline(lambda_context(10), reserve=None, share=0.1, most=5).reserve == pytest.approx(1, abs=0.1)


def test_the_next_piece_is_expected_to_take_as_long_as_the_slowest_lately() -> None:
    assert learned() == 0
    assert learned(2) == 2
    assert learned(9, 2) == learned(0, 2) == 2
    assert learned(9, 2, 3, 2.99) == pytest.approx(3, rel=0.02)
    assert learned(0, 8, *[1] * 45) == pytest.approx(4, rel=0.05)


def test_what_several_threads_began_with_counts_only_until_what_they_began_later_has_ended() -> None:
    deadline = Deadline(None, reserve=None, share=0.1, most=5)
    deadline.learn(0, 2)
    deadline.learn(0.1, 3)
    assert deadline.expected == pytest.approx(2.9)
    deadline.learn(2, 3.5)
    assert deadline.expected == 1.5
    deadline.learn(0.2, 9)  # begun with the first ones, and the last of them to end
    assert deadline.expected == 1.5


PATTERNS = {
    "slow-first": [2.0, *[0.001] * 99],
    "slower-first": [4.4, *[0.001] * 99],
    "slow-second": [0.001, 2.0, *[0.001] * 98],
    "slow-in-the-middle": [*[0.001] * 50, 3.0, *[0.001] * 49],
    "slow-last": [*[0.001] * 99, 5.0],
    "two-modes": [0.3 if position % 5 == 0 else 0.001 for position in range(100)],
    "slow-and-then-quick": [1.0, 1.0, 1.0, *[0.02] * 97],
    "even": [0.08] * 100,
    "two-items": [4.0, 4.0],
    "one-item": [8.9],
}


@pytest.mark.parametrize("seconds", PATTERNS.values(), ids=PATTERNS)
def test_a_batch_that_there_is_time_for_is_done(
    seconds: list[float], monkeypatch: pytest.MonkeyPatch, run_nowhere: Run
) -> None:
    clock = Clock(monkeypatch, seconds=10)

    @process_items
    def handler(item: float) -> None:
        clock.now += item

    assert handler(event_of(seconds, run_nowhere), clock)["batchItemsUnprocessed"] == []


@pytest.mark.parametrize(
    "seconds",
    [[6.0] * 4, [3.0] * 10, [0.5] * 100, [2.0, *[0.7] * 30], [0.1, *[1.5, 0.1] * 30], [5.0, 0.1, *[1.2] * 9]],
    ids=["over-half-of-the-time", "three-fit", "many", "slow-first", "two-modes", "growing"],
)
def test_a_batch_that_there_is_no_time_for_is_answered_before_the_deadline(
    seconds: list[float], monkeypatch: pytest.MonkeyPatch, run_nowhere: Run
) -> None:
    clock = Clock(monkeypatch, seconds=10)

    @process_items
    def handler(item: float) -> None:
        clock.now += item

    answer = handler(event_of(seconds, run_nowhere), clock)
    assert answer["batchItemResults"]
    assert answer["batchItemsUnprocessed"]
    assert clock.get_remaining_time_in_millis() >= 1000  # the reserve
