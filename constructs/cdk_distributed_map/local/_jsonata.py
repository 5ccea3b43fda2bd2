"""JSONata as Step Functions runs it: ``$states``, variables, six functions of AWS's own, and undefined is an error.

The language is jsonata-python's. It says None for undefined and for null alike, so nulls are kept apart here; and it
takes some 15 microseconds for a plain path, so the expressions that run for every item are compiled by ``_fastpath``.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from jsonata import jsonata as library
from jsonata.jexception import JException
from jsonata.utils import Utils

from cdk_distributed_map.local import _fastpath
from cdk_distributed_map.local._errors import StateError, UnsupportedError, evaluation
from cdk_distributed_map.local._intrinsics import array_partition, hash_text
from cdk_distributed_map.local._json import Json

UNDEFINED: Final = _fastpath.UNDEFINED
_NULL: Final = Utils.NULL_VALUE
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
            self._compiled = library.Jsonata(text)
        except JException as error:
            raise UnsupportedError(f"the JSONata expression {text!r} can't be parsed: {error}") from error
        self._compiled.set_validate_input(False)
        self._compiled.set_output_convert_nulls(False)
        for name, function in _FUNCTIONS.items():
            self._compiled.register_lambda(name, function)
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
            message = f"{what} threw an error during evaluation. {error.error}: {error}"
            raise evaluation(message, field) from error
        except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            # What the library raises on operands that it doesn't check itself.
            raise evaluation(f"{what} threw an error during evaluation. {error}", field) from error
        if result is UNDEFINED:
            raise evaluation(f"{what} returned nothing (undefined).", field)
        return result


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
    if value is _NULL or value is None:
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
    return not (value is None or value is _NULL or isinstance(value, str | bool | int | float | list | dict))


def _fail(code: str, message: str) -> JException:
    error = JException(code)
    error.args = (message,)
    return error


def _partition(items: Json = None, chunk: Json = None, *_rest: Json) -> Json:
    if items is None:
        return None
    try:
        return array_partition(items if isinstance(items, list) else [items], chunk)
    except ValueError as error:
        raise _fail("T0410", f"Argument of function partition does not match function signature: {error}") from error


def _range(first: Json = None, last: Json = None, step: Json = None, *_rest: Json) -> Json:
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in (first, last, step)):
        raise _fail("T0410", "Argument of function range does not match function signature")
    if step == 0:
        raise _fail("D3140", "The step of function range must not be zero")
    if abs((last - first) / step) > _MAX_RANGE:
        raise _fail("D2014", "The size of the sequence allocated by function range is too large")
    values, at = [], first
    while (at <= last) if step > 0 else (at >= last):
        values.append(at)
        at += step
    return Utils.create_sequence_from_iter(values)


def _hash(value: Json = None, algorithm: Json = "SHA-256", *_rest: Json) -> Json:
    if value is None:
        return None
    try:
        return hash_text(value, algorithm)
    except ValueError as error:
        raise _fail("D3137", str(error)) from error


def _random(*seed: Json) -> Json:
    # A seeded number repeats itself here too, though it isn't the one that AWS's generator gives.
    generator = random.Random(seed[0]) if seed and seed[0] is not None else random.Random()  # noqa: S311 - not for secrets
    return generator.random()


def _parse(text: Json = None, *_rest: Json) -> Json:
    if text is None:
        return None
    if not isinstance(text, str):
        raise _fail("T0410", "Argument 1 of function parse does not match function signature")
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise _fail("D3137", f"The argument of function parse is not JSON: {error}") from error
    return _NULL if parsed is None else parsed


def _no_eval(*_arguments: Json) -> Json:
    raise _fail("T1006", "Attempted to invoke a non-function")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": lambda *_arguments: str(uuid.uuid4()),
    "parse": _parse,
    "eval": _no_eval,
}

__all__ = ["UNDEFINED", "Expression", "StateError", "compile_expression", "is_expression"]
