"""JSONata as Step Functions runs it: ``$states``, variables, six functions of AWS's own, and undefined is an error.

The language is jsonata-python's. It says None for undefined and for null alike, so nulls are kept apart here; and it
takes some 15 microseconds for a plain path, so the expressions that run for every item are compiled by ``fast_path``.
"""

from __future__ import annotations

import base64
import json
import math
import random
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from jsonata.jexception import JException
from jsonata.utils import Utils

from cdk_distributed_map.local.asl import fast_path
from cdk_distributed_map.local.asl.intrinsics import hash_text
from cdk_distributed_map.local.asl.json_text import Json, dumps, type_name
from cdk_distributed_map.local.asl.jsonata_language import NULL, PYTHON_ERRORS, BoundError, Language, function, message
from cdk_distributed_map.local.errors import StateError, UnsupportedError, evaluation_error

UNDEFINED: Final = fast_path.UNDEFINED
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
        self._fast = fast_path.compile_node(self._compiled.ast)
        self.invariant = fast_path.is_invariant(self._compiled.ast)
        """Whether it says the same for every item of a map: it reads neither the item nor a clock or generator."""

    def evaluate(self, bindings: Mapping[str, Json]) -> Json:
        """Return the result, ``UNDEFINED`` where there is none.

        Raises:
            JException: The evaluation failed.
        """
        if self._fast is not None:
            try:
                return self._fast(bindings)
            except fast_path.SlowError:
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
            raise evaluation_error(f"{what} returned an unsupported result type.", field) from None
        except JException as error:
            raise evaluation_error(f"{what} threw an error during evaluation. {message(error)}", field) from error
        except BoundError as error:
            raise evaluation_error(f"{what} threw an error during evaluation: {error}", field) from error
        except PYTHON_ERRORS as error:
            raise evaluation_error(f"{what} threw an error during evaluation. {error}", field) from error
        if result is UNDEFINED:
            raise evaluation_error(f"{what} returned nothing (undefined).", field)
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
    return evaluation_error(cause, field)


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
        return _number(value)
    if depth > _MAX_DEPTH:
        raise ValueError("the result is nested too deeply")
    if isinstance(value, list):
        if isinstance(value, Utils.RangeList):
            return list(range(value.a, value.b + 1))
        return [_json(item, depth + 1) for item in value if not _is_function(item)]
    if isinstance(value, dict):
        return {str(key): _json(item, depth + 1) for key, item in value.items() if not _is_function(item)}
    raise _UnsupportedTypeError(type(value).__name__)


def _number(value: float) -> Json:
    if not math.isfinite(value):
        # JSON has no such numbers: AWS writes their names.
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() and abs(value) < 1e15 and str(value) == "-0.0" else value


def _is_function(value: Any) -> bool:
    return not (value is None or value is NULL or isinstance(value, str | bool | int | float | list | dict))


class _Error(JException):  # type: ignore[misc]  # the library has no types
    """An error of a function that only AWS has."""

    def __init__(self, text: str) -> None:
        super().__init__("D3137", -1, text)


def _partition(items: Json = None, chunk: Json = None) -> Json:
    if items is None or chunk is None:
        return None
    size = math.floor(chunk)
    if size < 0:
        raise _Error("The chunk size of function partition must not be negative")
    if size == 0 or not items:
        return None
    return [items[at : at + size] for at in range(0, len(items), size)]


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
        # As AWS reads it: texts may stand in single quotes; names of an object that are there twice may not.
        parsed = _PARSER.decode(_SINGLE_QUOTED.sub(_double_quoted, text).strip())
    except (ValueError, RecursionError) as error:
        raise _Error(f"The argument of function parse is not JSON: {error}") from error
    return NULL if parsed is None else parsed


_SINGLE_QUOTED: Final = re.compile(r"""("(?:[^"\\]|\\.)*")|'((?:[^'\\]|\\.)*)'""", re.DOTALL)


def _double_quoted(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1]
    inside = re.sub(r"""\\'|(?<!\\)\"""", lambda quote: "'" if quote[0] == "\\'" else '\\"', found[2])
    return f'"{inside}"'


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


_PARSER: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)


def _base64decode(text: Json = None) -> Json:
    if text is None:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8", "replace")
    except ValueError as error:
        raise _Error(f"The argument of function base64decode is not Base64: {error}") from error


def _decode_url_component(text: Json = None) -> Json:
    if text is None:
        return None
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise JException("D3140", -1, "decodeUrlComponent", text)
    return unquote_plus(text, errors="replace")


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
        ("base64decode", "<s-:s>", _base64decode),
        ("decodeUrlComponent", "<s-:s>", _decode_url_component),
        ("eval", "<x?x?:x>", _no_eval),
    )
}

__all__ = ["UNDEFINED", "Expression", "StateError", "compile_expression", "is_expression"]
