"""JSONata's language as jsonata-python has it, mended where it differs from the reference implementation.

AWS runs the reference implementation, 2.0.6, whose errors users see: their codes, and their messages with the values
and names as JSON. The library has the codes, but loses some of the values, puts Python's own errors in their place,
and takes null for undefined where it checks the arguments of a function.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from jsonata import jsonata as library
from jsonata.functions import Functions
from jsonata.jexception import JException
from jsonata.signature import Signature
from jsonata.utils import Utils

from cdk_distributed_map.local.asl.json_text import ordered

NULL: Final = Utils.NULL_VALUE
PYTHON_ERRORS: Final = (
    ArithmeticError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    RecursionError,
    RuntimeError,
)
"""What the library raises on operands that it doesn't check itself."""

# In the library's messages a search for "function" has left "Object" behind, and quotes are doubled.
_MESSAGES: Final = {
    code: text.replace("Object", "function").replace('"', "'") for code, text in JException.error_codes.items()
}
_CODES: Final = {text: code for code, text in _MESSAGES.items()}
_PLACE: Final = re.compile(r"(\{\{\{?)(\w+)\}\}\}?")
_TYPES: Final = {"a": "arrays", "b": "booleans", "f": "functions", "n": "numbers", "o": "objects", "s": "strings"}
# Functions that fail with an error of Python's: the code of theirs, and how many of their arguments it tells.
_FAILURES: Final = {
    "number": ("D3030", 1),
    "sort": ("D3070", 0),
    "string": ("D3001", 0),
    "power": ("D3061", 2),
    "toMillis": ("D3110", 1),
}
_MAX_DEPTH: Final = 100
# AWS gives an expression one second; this library takes some ten times as long.
MAX_SECONDS: Final = 10
_LOOK_EVERY: Final = 256
_TOO_DEEP: Final = (
    "Stack overflow error: Check for non-terminating recursive function. Consider rewriting as tail-recursive"
)
_TOO_LONG: Final = "Expression evaluation timeout: Check for infinite loop"
# Up to here a whole number is written with all its digits.
_WHOLE: Final = 1e21
_ROUNDING: Final = frozenset({"abs", "ceil", "floor", "round"})
_ISO: Final = re.compile(
    r"\d{4}(-[01]\d)*(-[0-3]\d)*(T[0-2]\d:[0-5]\d:[0-5]\d)*(\.\d+)?([+-][0-2]\d:?[0-5]\d|Z)?", re.ASCII
)


class BoundError(Exception):
    """An expression nests too deeply or takes too long. AWS tells no code of it."""


def message(error: JException) -> str:
    """Return code and message of an error as the reference implementation has them."""
    code = _CODES.get(error.error, error.error)
    if code not in _MESSAGES:
        return str(error)
    values: list[Any] = [error.current, error.expected, error.extra]
    if code == "D1002":
        values = values[1:]
    if code == "D3100":
        values = [error.location]
    left = iter(values)

    def filled(place: re.Match[str]) -> str:
        value = next(left, None)
        if place[2] == "type":
            value = _TYPES.get(str(value)[:1], value)
        return str(value) if place[1] == "{{{" else _shown(value)

    return f"{code}: {_PLACE.sub(filled, _MESSAGES[code])}"


def _shown(value: Any) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, separators=(",", ":"), ensure_ascii=False, default=_no_json)


def _no_json(value: Any) -> Any:
    return None if value is NULL else {}


class _Bounds:
    """How deep an evaluation may nest and how long it may take."""

    __slots__ = ("calls", "depth", "until")

    def __init__(self) -> None:
        self.depth = 0
        self.calls = 0
        self.until = time.monotonic() + MAX_SECONDS

    def enter(self) -> None:
        """Count a part of the expression that begins.

        Raises:
            BoundError: It is one too many.
        """
        self.depth += 1
        self.calls += 1
        if self.depth > _MAX_DEPTH:
            raise BoundError(_TOO_DEEP)
        if self.calls % _LOOK_EVERY == 0 and time.monotonic() > self.until:
            raise BoundError(_TOO_LONG)


_THREAD: Final = threading.local()


class Language(library.Jsonata):  # type: ignore[misc]  # the library has no types
    """A parsed expression.

    Args:
        text: The expression.
    """

    def __init__(self, text: str) -> None:
        # Operators that came to JSONata after 2.0.6: AWS doesn't know them.
        for later in ("??", "?:"):
            library.Jsonata.get_parser().symbol_table.pop(later, None)
        super().__init__(text)

    def evaluate(self, input: Any, bindings: Any = None) -> Any:
        """Return the result.

        Raises:
            JException: The evaluation failed.
            BoundError: It went too deep, or took too long.
        """
        outer = getattr(_THREAD, "bounds", None)
        _THREAD.bounds = _Bounds()
        try:
            return super().evaluate(input, bindings)
        finally:
            _THREAD.bounds = outer

    def eval(self, expr: Any, input: Any, environment: Any) -> Any:
        """Return the result of a part of the expression.

        Raises:
            JException: The evaluation failed.
            BoundError: It went too deep, or took too long.
        """
        bounds = _THREAD.bounds
        try:
            bounds.enter()
            return super().eval(expr, input, environment)
        finally:
            bounds.depth -= 1

    def validate_arguments(self, signature: Any, args: Any, context: Any) -> Any:
        """Return the arguments as a function takes them.

        Raises:
            JException: It doesn't take them.
        """
        checked = getattr(signature, "signature", None)
        if isinstance(checked, Signature):
            return _validated(checked, args, context)
        return super().validate_arguments(signature, args, context)

    def apply_inner(self, proc: Any, args: Any, input: Any, environment: Any) -> Any:
        """Call a function.

        Raises:
            JException: It isn't one, or it failed.
        """
        known = isinstance(proc, library.Jsonata.JFunction | library.Jsonata.JLambda)
        if not (known or Functions.is_lambda(proc) or Functions.is_regex(proc)):
            raise JException("T1006", 0)
        name = str(getattr(proc, "function_name", None))
        first = args[0] if args else None
        if name == "string" and isinstance(first, int | float) and not isinstance(first, bool):
            digits = _digits(first)
            if digits is not None:
                return digits
        if name in _ROUNDING and isinstance(first, float) and not math.isfinite(first):
            return first
        if name == "toMillis" and isinstance(first, str) and len(args) == 1 and not _ISO.fullmatch(first):
            raise JException("D3110", -1, first)
        try:
            return super().apply_inner(proc, args, input, environment)
        except JException:
            raise
        except PYTHON_ERRORS as error:
            if name == "parseInteger" and isinstance(error, ValueError):
                return math.nan
            failure = _FAILURES.get(name)
            if failure is None:
                raise
            code, argument_count = failure
            raise JException(code, -1, *[*args[:argument_count], None, None][:2]) from error

    def evaluate_comparison_expression(self, lhs: Any, rhs: Any, op: str | None) -> Any:
        """Return the result of an operator of order.

        Raises:
            JException: The operands have no order.
        """
        if isinstance(lhs, str) and isinstance(rhs, str):
            lhs, rhs = ordered(lhs), ordered(rhs)
            return {"<": lhs < rhs, "<=": lhs <= rhs, ">": lhs > rhs, ">=": lhs >= rhs}[str(op)]
        return super().evaluate_comparison_expression(lhs, rhs, op)

    def evaluate_numeric_expression(self, lhs: Any, rhs: Any, op: str | None) -> Any:
        """Return the result of an arithmetic operator.

        Raises:
            JException: An operand isn't a number, or the result isn't one.
        """
        both = Utils.is_numeric(lhs) and Utils.is_numeric(rhs)
        if both and op in {"/", "%"} and rhs == 0:
            # As in JavaScript: it is no error until it is calculated with.
            return math.nan if op == "%" or lhs == 0 else math.copysign(math.inf, lhs)
        if both and op == "%":
            return Utils.convert_number(math.fmod(lhs, rhs))
        if both and op == "*" and not math.isfinite(float(lhs) * float(rhs)):
            return float(lhs) * float(rhs)
        return super().evaluate_numeric_expression(lhs, rhs, op)


def _digits(value: float) -> str | None:
    """Return a whole number that the library would write with an exponent, None for others.

    Raises:
        JException: It isn't a number of JSON's.
    """
    if not math.isfinite(value):
        raise JException("D3001", -1)
    if abs(value) >= _WHOLE or value != math.floor(value):
        return None
    if isinstance(value, int) and abs(value) < 2**63:
        return str(value)
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


def function(name: str, signature: str, implementation: Any) -> Any:
    """Return a function that can be registered, with its signature as JSONata writes them."""
    function_object = library.Jsonata.JFunction(library.Jsonata.JLambda(implementation), signature)
    function_object.function_name = name
    function_object.signature.set_function_name(name)
    return function_object


def _symbol(signature: Signature, value: Any) -> str:
    return "l" if value is NULL else str(signature.get_symbol(value))


def _validated(signature: Signature, args: Sequence[Any], context: Any) -> list[Any]:
    # Its own validation takes null for undefined.
    params = signature._params  # noqa: SLF001 - it tells them nowhere else
    symbols = "".join(_symbol(signature, arg) for arg in args)
    found = signature._regex.fullmatch(symbols)  # noqa: SLF001 - as above
    if found is None:
        raise _mismatch(signature, symbols)
    validated: list[Any] = []
    at = 0
    for param, matched in zip(params, found.groups(), strict=True):
        if matched == "" and param.context:
            if not re.fullmatch(str(param.regex), _symbol(signature, context)):
                raise JException("T0411", -1, at + 1, signature.function_name)
            validated.append(context)
            continue
        for single in matched or "m":
            arg = args[at] if at < len(args) else None
            at += 1
            validated.append(_array(signature, param, at, single, arg) if param.type == "a" else arg)
    return validated


def _array(signature: Signature, param: Any, number: int, single: str, arg: Any) -> Any:
    """Return an argument as an array: a function that takes one takes a single value too."""
    if single == "m":
        return None
    items = arg if single == "a" else [arg]
    if param.subtype is not None:
        wanted = str(param.subtype)[0]
        if any(_symbol(signature, item) != wanted for item in items):
            raise JException("T0412", -1, number, signature.function_name, param.subtype)
    return items


def _mismatch(signature: Signature, symbols: str) -> JException:
    pattern, good = "^", 0
    for param in signature._params:  # noqa: SLF001 - it tells them nowhere else
        pattern += str(param.regex)
        found = re.match(pattern, symbols)
        if found is None:
            break
        good = found.end()
    name = None if signature.function_name == "lambda" else signature.function_name
    return JException("T0410", -1, good + 1, name)
