"""Mock configuration files of Step Functions Local: states, and what each of their calls answers.

https://docs.aws.amazon.com/step-functions/latest/dg/sfn-local-mock-cfg-file.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_CALLS: Final = re.compile(r"(\d+)(?:-(\d+))?")

Response = tuple[int, Mapping[str, Any]]
"""How many calls in a row are answered so, and the answer: ``Return`` or ``Throw``."""


def responses_of(file: Path, state_machine: str, test_case: str) -> dict[str, list[Response]]:
    """Return the responses of a test case by state, in the order of its calls.

    Raises:
        ValueError: The file has no such test case, or isn't a mock configuration.
        OSError: It can't be read.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"the mock configuration {file} must be JSON: {error}"
        raise ValueError(message) from error
    machine = _member(config, "StateMachines", state_machine, file)
    states = _member(machine, "TestCases", test_case, file)
    if not isinstance(states, dict):
        message = f"the test case {test_case!r} in {file} must name a response for each state, got {states!r:.80}"
        raise ValueError(message)
    return {
        state: _in_order(_member(config, "MockedResponses", name, file), f"{name!r} in {file}")
        for state, name in states.items()
    }


def _member(value: Any, field: str, name: str, file: Path) -> Any:
    members = value.get(field) if isinstance(value, dict) else None
    if not isinstance(members, dict) or name not in members:
        known = ", ".join(members) if isinstance(members, dict) and members else "none"
        message = f"{field} in {file} must have {name!r}, and has {known}"
        raise ValueError(message)
    return members[name]


def _in_order(responses: Any, where: str) -> list[Response]:
    if not isinstance(responses, dict) or not responses:
        message = (
            f'the mocked response {where} must be an object with calls such as "0" and "1-2", got {responses!r:.80}'
        )
        raise ValueError(message)
    spans = sorted(
        ((*_span(calls, where), response) for calls, response in responses.items()), key=lambda span: span[0]
    )
    due = 0
    for first, last, response in spans:
        if first != due:
            message = f"the mocked response {where} must say what call {due} answers, and goes on with call {first}"
            raise ValueError(message)
        due = last + 1
        _check(response, where)
    return [(last - first + 1, response) for first, last, response in spans]


def _span(calls: str, where: str) -> tuple[int, int]:
    match = _CALLS.fullmatch(calls)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first:
        message = f'the mocked response {where} has {calls!r}: give a number of a call from 0, or a range such as "1-2"'
        raise ValueError(message)
    return first, last


def _check(response: Any, where: str) -> None:
    if not isinstance(response, dict) or len({"Return", "Throw"} & set(response)) != 1 or len(response) != 1:
        message = f"the mocked response {where} must have either Return or Throw, got {response!r:.80}"
        raise ValueError(message)
    thrown = response.get("Throw")
    if "Throw" in response and not (isinstance(thrown, dict) and isinstance(thrown.get("Error"), str)):
        message = f"the mocked response {where} throws {thrown!r:.80}: give Error, and Cause beside it"
        raise ValueError(message)
