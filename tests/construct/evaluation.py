"""A JSONata library that knows nothing of the construct, to evaluate what it renders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from jsonata import jsonata
from jsonata.utils import Utils


def evaluated(value: Any, states: Mapping[str, Any]) -> Any:
    """Return a rendered value with its JSONata evaluated by a library that knows nothing of the construct.

    Args:
        value: The value.
        states: ``$states``; under ``variables`` those that states before it have assigned.

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
    # What Step Functions adds to the language.
    expression.register_lambda("hash", lambda text, _algorithm: hashlib.sha256(text.encode()).hexdigest())
    expression.register_lambda("parse", json.loads)
    own = {name: item for name, item in states.items() if name != "variables"}
    bindings = {"states": own, **states.get("variables", {})}
    result = expression.evaluate(None, _library_nulls(bindings))
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
