"""Events that nobody waits for: how often they are tried, when they are given up, and what is told of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.functions.asynchronous import Asynchronous, EndedEvent
from cdk_distributed_map.local.functions.config import EventSettings, FunctionConfig
from cdk_distributed_map.local.functions.results import InvokeResult, ServiceError, inactive, too_many_requests

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def ran(*, failed: bool = False) -> InvokeResult:
    error = "Unhandled" if failed else None
    return InvokeResult("id", b'{"errorMessage": "no"}', error, "$LATEST", "", 1.0, None, None, 128, "success")


class Lab:
    """A function that goes as it is told to, and a clock that notes the waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.requests: list[str] = []
        self.ended: list[EndedEvent] = []
        self.said: list[str] = []

    def run(self, *outcomes: InvokeResult | ServiceError, **settings: Any) -> EndedEvent:
        """See one event through; the last outcome is that of all further attempts."""
        left = list(outcomes)

        async def run(function: str, payload: bytes, *, qualifier: str | None, request_id: str) -> InvokeResult:
            assert (function, payload, qualifier) == ("f", b"{}", None)
            self.requests.append(request_id)
            outcome = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(outcome, ServiceError):
                raise outcome
            return outcome

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async def ended(event: EndedEvent) -> None:
            self.ended.append(event)

        async def main() -> None:
            queue = Asynchronous(run, clock=None, warn=self.said.append)
            queue.sleep, queue.ended = sleep, ended
            config = FunctionConfig(
                name="f",
                arn=ARN,
                handler="",
                runtime="",
                code=Path(),
                revision="1",
                events=EventSettings(**settings),
            )
            request_id = queue.take(config, "f", b"{}", qualifier=None)
            await asyncio.gather(*queue.under_way)
            assert set(self.requests) == {request_id}

        asyncio.run(main())
        (event,) = self.ended
        return event


@pytest.fixture
def lab() -> Lab:
    """A function and a clock."""
    return Lab()


def test_one_attempt_is_enough_where_the_function_succeeds(lab: Lab) -> None:
    event = lab.run(ran())
    assert (event.condition, event.attempts, lab.waits, lab.said) == (None, 1, [], [])


def test_a_function_that_fails_is_tried_twice_more_as_the_same_request(lab: Lab) -> None:
    event = lab.run(ran(failed=True))
    assert (event.condition, event.attempts, lab.waits) == ("RetriesExhausted", 3, [60, 120])
    (said,) = lab.said
    assert "the function f was given up on for an event that nobody waits for (RetriesExhausted, 3 attempts" in said
    assert said.endswith('{"errorMessage": "no"}')


def test_as_often_as_the_function_wants(lab: Lab) -> None:
    assert lab.run(ran(failed=True), retries=0).attempts == 1
    assert lab.waits == []


def test_a_success_after_a_failure_is_one(lab: Lab) -> None:
    event = lab.run(ran(failed=True), ran())
    assert (event.condition, event.attempts, lab.said) == (None, 2, [])


@pytest.mark.parametrize("refused", [too_many_requests("CallerRateLimitExceeded"), inactive()], ids=["429", "409"])
def test_what_could_not_be_given_to_the_function_does_not_count(lab: Lab, refused: ServiceError) -> None:
    event = lab.run(*[refused] * 10, ran(failed=True), ran())
    assert (event.condition, event.attempts) == (None, 2)
    assert lab.waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 60]


def test_an_event_grows_too_old(lab: Lab) -> None:
    event = lab.run(too_many_requests("CallerRateLimitExceeded"), age=60.0)
    assert (event.condition, event.attempts, event.result) == ("EventAgeExceeded", 0, None)
    assert lab.waits == [1, 2, 4, 8, 16]
    assert "EventAgeExceeded, 0 attempts" in lab.said[0]


def test_a_function_that_can_never_run_is_given_up_at_once(lab: Lab) -> None:
    event = lab.run(ServiceError("AccessDeniedException", "its role is gone", status=403))
    assert (event.condition, event.attempts, lab.waits) == ("RetriesExhausted", 0, [])
    assert lab.said[0].endswith("AccessDeniedException: its role is gone")
