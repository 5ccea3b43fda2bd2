"""JSONata as Step Functions runs it: ``$states``, variables, six functions of AWS's own, and undefined is an error.

The language is jsonata-python's. It says None for undefined and for null alike, so nulls are kept apart here; and it
takes some 15 microseconds for a plain path, so the expressions that run for every item are compiled by ``_fastpath``.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jsonata.jexception import JException
from jsonata.utils import Utils

from cdk_distributed_map.local import _fastpath
from cdk_distributed_map.local._errors import StateError, UnsupportedError, evaluation
from cdk_distributed_map.local._intrinsics import array_partition, hash_text
from cdk_distributed_map.local._json import Json, dumps, loads, type_name
from cdk_distributed_map.local._jsonata_language import NULL, PYTHON_ERRORS, Language, function, message

UNDEFINED: Final = _fastpath.UNDEFINED
_MAX_DEPTH: Final = 100
_MAX_RANGE: Final = 1_000_000


def is_expression(value: object) -> bool:
    """Tell whether a string is a JSONata expression: ``{% ... %}``."""
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


class _UnsupportedTypeError(TypeError):
    """A result that isn't JSON: a function."""


class Expression:
    """A compiled expression.

    Args:
        text: The expression without its braces.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = Language(text)
        except KeyError as error:
            raise UnsupportedError(
                f"the JSONata expression {text!r} has the operator {error}, which isn't one"
            ) from error
        except JException as error:
            raise UnsupportedError(f"the JSONata expression {text!r} can't be parsed: {error}") from error
        self._compiled.set_validate_input(False)
        self._compiled.set_output_convert_nulls(False)
        for name, own in _FUNCTIONS.items():
            self._compiled.register_function(name, own)
        self._fast = _fastpath.compile_node(self._compiled.ast)
        self.invariant = _fastpath.is_invariant(self._compiled.ast)
        """Whether it says the same for every item of a map: it reads neither the item nor a clock or generator."""

    def evaluate(self, bindings: Mapping[str, Json]) -> Json:
        """Return the result, ``UNDEFINED`` where there is none.

        Raises:
            JException: The evaluation failed.
        """
        if self._fast is not None:
            try:
                return self._fast(bindings)
            except _fastpath.SlowError:
                pass
        return _plain(self._compiled.evaluate(None, bindings))

    def value(self, bindings: Mapping[str, Json], field: str) -> Json:
        """Return the result.

        Raises:
            StateError: ``States.QueryEvaluationError`` in AWS's words.
        """
        what = f"The JSONata expression '{self.text}' specified for the field '{field}'"
        try:
            result = self.evaluate(bindings)
        except _UnsupportedTypeError:
            raise evaluation(f"{what} returned an unsupported result type.", field) from None
        except JException as error:
            raise evaluation(f"{what} threw an error during evaluation. {message(error)}", field) from error
        except PYTHON_ERRORS as error:
            raise evaluation(f"{what} threw an error during evaluation. {error}", field) from error
        if result is UNDEFINED:
            raise evaluation(f"{what} returned nothing (undefined).", field)
        return result


def unexpected_type(written: Json, field: str, expected: str, value: Json) -> StateError:
    """Return the error of a field whose value is of another type than the field takes.

    Args:
        written: The field as it is written: an expression with its braces, or a value.
        field: Its name.
        expected: JSONata's name of the type it takes.
        value: The value.
    """
    text = written[2:-2].strip() if is_expression(written) else dumps(written)
    cause = (
        f"The JSONata expression '{text}' specified for the field '{field}' returned an unexpected result type. "
        f"Expected '{expected}', but was '{type_name(value)}' for value: {dumps(value)}"
    )
    return evaluation(cause, field)


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Compile what stands between ``{%`` and ``%}``, in a field of a state.

    Raises:
        UnsupportedError: It can't be parsed.
    """
    return Expression(text[2:-2].strip())


def _plain(value: Any) -> Json:
    if value is None:
        return UNDEFINED
    return _json(value, 0)


def _json(value: Any, depth: int) -> Json:
    if value is NULL or value is None:
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 and str(value) == "-0.0" else value
    if depth > _MAX_DEPTH:
        raise ValueError("the result is nested too deeply")
    if isinstance(value, list):
        if isinstance(value, Utils.RangeList):
            return list(range(value.a, value.b + 1))
        return [_json(item, depth + 1) for item in value if not _is_function(item)]
    if isinstance(value, dict):
        return {str(key): _json(item, depth + 1) for key, item in value.items() if not _is_function(item)}
    raise _UnsupportedTypeError(type(value).__name__)


def _is_function(value: Any) -> bool:
    return not (value is None or value is NULL or isinstance(value, str | bool | int | float | list | dict))


class _Error(JException):  # type: ignore[misc]  # the library has no types
    """An error of a function that only AWS has."""

    def __init__(self, text: str) -> None:
        super().__init__("D3137", -1, text)


def _partition(items: Json = None, chunk: Json = None) -> Json:
    if items is None or chunk is None:
        return None
    try:
        return array_partition(items, chunk)
    except ValueError as error:
        raise _Error(f"Argument 2 of function partition is not valid: {error}") from error


def _range(first: Json, last: Json, step: Json) -> Json:
    if first is None or last is None or step is None:
        return None
    if step == 0:
        raise _Error("The step of function range must not be zero")
    if abs((last - first) / step) > _MAX_RANGE:
        raise JException("D2014", -1, int(abs((last - first) / step)) + 1)
    values, at = [], first
    while (at <= last) if step > 0 else (at >= last):
        values.append(at)
        at += step
    return Utils.create_sequence_from_iter(values)


def _hash(value: Json = None, algorithm: Json = None) -> Json:
    if value is None:
        return None
    try:
        return hash_text(None if value is NULL else value, "SHA-256" if algorithm is None else algorithm)
    except ValueError as error:
        raise _Error(f"Argument 2 of function hash is not valid: {error}") from error


def _random(seed: Json = None) -> Json:
    # A seeded number repeats itself here too, though it isn't the one that AWS's generator gives.
    generator = random.Random() if seed is None else random.Random(seed)  # noqa: S311 - not for secrets
    return generator.random()


def _parse(text: Json = None) -> Json:
    if text is None:
        return None
    try:
        parsed = loads(text)
    except ValueError as error:
        raise _Error(f"The argument of function parse is not JSON: {error}") from error
    return NULL if parsed is None else parsed


def _distinct(values: Json) -> Json:
    """Return each value once; an array of one stays an array, where the library makes it that one."""
    if not isinstance(values, list) or len(values) <= 1:
        return values
    unique: dict[str, Json] = {}
    for value in values:
        unique.setdefault(json.dumps(_whole(_json(value, 0)), sort_keys=True), value)
    if Utils.is_sequence(values):
        return Utils.create_sequence_from_iter(unique.values())
    return list(unique.values())


def _whole(value: Json) -> Json:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_eval(*_arguments: Json) -> Json:
    raise JException("T1006", 0)


_FUNCTIONS: Final = {
    name: function(name, signature, implementation)
    for name, signature, implementation in (
        ("partition", "<an:a>", _partition),
        ("range", "<nnn:a>", _range),
        ("hash", "<xs?:s>", _hash),
        ("random", "<n?:n>", _random),
        ("uuid", "<:s>", lambda: str(uuid.uuid4())),
        ("parse", "<s:x>", _parse),
        ("distinct", "<x:x>", _distinct),
        ("eval", "<x?x?:x>", _no_eval),
    )
}

__all__ = ["UNDEFINED", "Expression", "StateError", "compile_expression", "is_expression"]
