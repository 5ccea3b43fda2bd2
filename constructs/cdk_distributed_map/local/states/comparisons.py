"""The comparisons of a Choice state in JSONPath."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cdk_distributed_map.local.asl.intrinsics import same
from cdk_distributed_map.local.asl.json_text import Json, number, ordered
from cdk_distributed_map.local.asl.rules import Rule

_TIMESTAMP: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?)(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})", re.ASCII)


def timestamp(value: Json) -> tuple[datetime, str] | None:
    """Return a date-time that can be compared to the nanosecond, None where the text isn't one."""
    found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")), (found[2] or ".")[1:].ljust(9, "0")
    except ValueError:
        return None


def _text(value: Json) -> bytes | None:
    return ordered(value) if isinstance(value, str) else None


def _number(value: Json) -> float | None:
    return value if number(value) else None


def _boolean(value: Json) -> bool | None:
    return value if isinstance(value, bool) else None


def _ordered(convert: Callable[[Json], Any], compare: Callable[[Any, Any], bool]) -> Callable[[Json, Json], bool]:
    def test(value: Json, wanted: Json) -> bool:
        left, right = convert(value), convert(wanted)
        return left is not None and right is not None and bool(compare(left, right))

    return test


def _matches(value: Json, pattern: Json) -> bool:
    r"""``*`` is any text; ``\*`` is a star and ``\\`` a backslash."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        return False
    pieces = re.split(r"(\\[*\\]|\*)", pattern)
    expression = "".join(".*" if piece == "*" else re.escape(re.sub(r"^\\", "", piece)) for piece in pieces)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _tests(kind: str, convert: Callable[[Json], Any]) -> dict[str, Callable[[Json, Json], bool]]:
    operators = {
        "Equals": operator.eq,
        "LessThan": operator.lt,
        "GreaterThan": operator.gt,
        "LessThanEquals": operator.le,
        "GreaterThanEquals": operator.ge,
    }
    return {f"{kind}{name}": _ordered(convert, compare) for name, compare in operators.items()}


COMPARISONS: Final[dict[str, Callable[[Json, Json], bool]]] = {
    **_tests("String", _text),
    **_tests("Numeric", _number),
    **_tests("Timestamp", timestamp),
    "BooleanEquals": _ordered(_boolean, same),
    "StringMatches": _matches,
}
"""Value and operand. Each has a form with ``Path`` after its name, except StringMatches."""

TYPE_TESTS: Final[dict[str, Callable[[Json], bool]]] = {
    "IsNull": lambda value: value is None,
    "IsNumeric": number,
    "IsString": lambda value: isinstance(value, str),
    "IsBoolean": lambda value: isinstance(value, bool),
    "IsTimestamp": lambda value: timestamp(value) is not None,
}

_BOOLEAN: Final = Rule(lambda value: isinstance(value, bool), "give true or false")
_WANTED: Final = {
    "Path": Rule(lambda value: isinstance(value, str), "give a path"),
    "String": Rule(lambda value: isinstance(value, str), "give a string"),
    "Numeric": Rule(number, "give a number"),
    "Boolean": _BOOLEAN,
    "Timestamp": Rule(lambda value: timestamp(value) is not None, "give one such as 2026-01-31T12:00:00Z"),
    "Is": _BOOLEAN,
}


def wanted_of(name: str) -> Rule | None:
    """Return what the operand of a comparison must be, None for one that there isn't."""
    if name.endswith("Path"):
        return _WANTED["Path"]
    return next((rule for kind, rule in _WANTED.items() if name.startswith(kind)), None)
