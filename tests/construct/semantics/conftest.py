"""A JSONata library that knows nothing of the construct, to evaluate what it renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonata import jsonata
from jsonata.utils import Utils


def evaluated(value: Any, states: Mapping[str, Any]) -> Any:
    """Return a rendered value with its JSONata evaluated by a library that knows nothing of the construct.

    Raises:
        LookupError: An expression has no result, which Step Functions answers with States.QueryEvaluationError.
    """
    if isinstance(value, Mapping):
        return {key: evaluated(item, states) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluated(item, states) for item in value]
    if not (isinstance(value, str) and value.startswith("{%")):
        return value
    expression = jsonata.Jsonata(value.removeprefix("{%").removesuffix("%}"))
    expression.set_output_convert_nulls(False)
    result = expression.evaluate(None, {"states": _library_nulls(states)})
    if result is None:
        raise LookupError(f"undefined: {value}")
    return _json_nulls(result)


def _library_nulls(value: Any) -> Any:
    # The library says None for what is undefined.
    if isinstance(value, Mapping):
        return {key: _library_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_library_nulls(item) for item in value]
    return Utils.NULL_VALUE if value is None else value


def _json_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_nulls(item) for item in value]
    return None if value is Utils.NULL_VALUE else value


@pytest.fixture
def evaluate() -> Callable[[Any, Mapping[str, Any]], Any]:
    """Evaluates rendered values: ``evaluate(value, {"input": ..., "context": ..., "result": ...})``."""
    return evaluated
