"""Two validators of the Amazon States Language over every definition."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest

pytestmark = [pytest.mark.referee, pytest.mark.checkout]

Validate = Callable[[dict[str, Any]], list[dict[str, str]]]


@pytest.fixture(scope="module")
def problems(validate_states: Validate, definitions: dict[str, Any]) -> list[dict[str, str]]:
    return validate_states(definitions)


@pytest.mark.parametrize("referee", ["asl-validator", "language-service"])
def test_validator_finds_nothing(
    referee: str,
    problems: list[dict[str, str]],
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    findings = [
        new_finding(problem["rule"], f"{problem['name']}: {problem['where']}", problem["message"])
        for problem in problems
        if problem["referee"] == referee
    ]
    judge(referee, findings)


@pytest.fixture(scope="module")
def problems_of_a_broken_one(validate_states: Validate, definitions: dict[str, Any]) -> list[dict[str, str]]:
    name, definition = next((name, each) for name, each in definitions.items() if name.startswith("Ranges/"))
    broken = copy.deepcopy(definition)
    for state in broken["States"].values():
        if "Next" in state:
            state["Next"] = "Nowhere"
    return validate_states({name: broken})


@pytest.mark.parametrize("referee", ["asl-validator", "language-service"])
def test_validator_sees_a_next_that_leads_nowhere(referee: str, problems_of_a_broken_one: list[dict[str, str]]) -> None:
    assert referee in {problem["referee"] for problem in problems_of_a_broken_one}
