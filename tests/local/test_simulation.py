"""Runs in simulated time: Lambda's limits, and hours that take no time."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.local.simulation import simulate
from cdk_distributed_map.plan import Setting
from tests.plan.simulated_runs import mapped


def machine(*, concurrency: int = 100, express: bool = True, **retry: Any) -> dict[str, Any]:
    """Return a map whose children call a function, and try again where that is throttled, every second."""
    throttled = {"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 1, "MaxAttempts": 99999}
    states = {
        "Work": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": "work", "Payload": {}},
            "Retry": [{**throttled, "BackoffRate": 1, **retry}],
            "End": True,
        }
    }
    return mapped(states, Setting(concurrency=concurrency), express=express, items="{% $states.input.items %}")


def items(number: int) -> dict[str, Any]:
    return {"items": [0] * number}


def test_hours_take_no_time() -> None:
    found = simulate(machine(concurrency=2, express=False), items(8), seconds=lambda _: 7_200.0)

    assert found.status == "SUCCEEDED"
    assert found.seconds == pytest.approx(4 * 7_200, abs=1)


@pytest.mark.parametrize(("express", "rate"), [(False, 100), (True, 1_000)], ids=["Standard", "Express"])
def test_children_start_at_the_rates_of_aws(*, express: bool, rate: int) -> None:
    found = simulate(machine(concurrency=1_000, express=express), items(500), seconds=lambda _: 0.001)

    assert found.seconds == pytest.approx(500 / rate, rel=0.05)


def test_what_is_over_the_concurrency_is_throttled() -> None:
    reserved = simulate(machine(), items(40), seconds=lambda _: 10.0, reserved={"work": 10})
    account = simulate(machine(), items(40), seconds=lambda _: 10.0, account_concurrency=10)

    for found in (reserved, account):
        assert found.environments == 10
        assert found.throttled > 30
        assert 40 <= found.seconds <= 45


def test_environments_are_added_by_steps() -> None:
    found = simulate(machine(), items(60), seconds=lambda _: 100.0, scaling_step=20)

    # 20 at once, then two a second: the last one begins after 20 s.
    assert found.environments == 60
    assert found.seconds == pytest.approx(120, abs=3)


def test_requests_a_second_are_ten_times_the_concurrency() -> None:
    # Fifty at a time would make 500 in 0.01 s each.
    found = simulate(machine(concurrency=50), items(500), seconds=lambda _: 0.01, reserved={"work": 10})

    assert found.seconds >= (500 - 100) / 100


def test_a_new_environment_starts_before_it_works() -> None:
    found = simulate(machine(concurrency=1), items(3), seconds=lambda _: 1.0, cold_seconds=5.0)

    assert found.seconds == pytest.approx(8, abs=0.1)


def test_a_run_that_fails_says_so() -> None:
    found = simulate(machine(MaxAttempts=0), items(3), seconds=lambda _: 9.0, reserved={"work": 1})

    assert (found.status, found.error) == ("FAILED", "States.ExceedToleratedFailureThreshold")
