from __future__ import annotations

import pytest

from cdk_distributed_map.plan import Cost, express_children, invocations, standard_children

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (standard_children(MILLION), 50.00),
        (standard_children(MILLION // 100), 0.50),
        (standard_children(MILLION, states=2), 75.00),
        (standard_children(0, retries=4), 0.0001),
        (express_children(MILLION, seconds=1), 27.04),
        (express_children(MILLION // 100, seconds=10), 0.364),
        (express_children(MILLION, seconds=0.3), 26.31),
        (express_children(MILLION, seconds=1, memory_mb=65), 28.08),
    ],
    ids=[
        "standard",
        "standard-batched",
        "two-states",
        "retries",
        "express",
        "express-batched",
        "three-tenths",
        "two-chunks",
    ],
)
def test_children_cost_their_transitions_or_their_time(cost: Cost, expected: float) -> None:
    assert cost.step_functions == pytest.approx(expected, rel=0.002)
    assert cost.functions == 0


def test_cost_of_invocations_adds_requests_and_time() -> None:
    cost = invocations([1000] * 10, memory_mb=1024)
    assert cost.total == pytest.approx(10 * 0.2e-6 + 10 * 13.3334e-6)
    assert invocations([], memory_mb=128).total == 0
    assert invocations([1], memory_mb=128, architecture="x86_64").total > invocations([1], memory_mb=128).total


def test_costs_add_up() -> None:
    cost = standard_children(4) + invocations([100], memory_mb=512)
    assert cost.total == cost.step_functions + cost.functions
    assert cost.step_functions == standard_children(4).step_functions


def test_fails_when_the_architecture_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"one of \['arm64', 'x86_64'\], got 'riscv'"):
        invocations([1], memory_mb=128, architecture="riscv")


def test_fails_when_a_number_is_negative() -> None:
    with pytest.raises(ValueError, match="children must not be negative, got -1"):
        standard_children(-1)
