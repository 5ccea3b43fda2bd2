"""What the values of a definition's fields may be, beside which fields there are.

A value that AWS would reject, or that would do nothing here, is refused before anything runs.

https://states-language.net/spec.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cdk_distributed_map.local.asl.jsonata import is_expression
from cdk_distributed_map.local.errors import UnsupportedError
from distmap import limits

MAX_SECONDS: Final = 99_999_999
_MAX_DELAY: Final = 31_622_400
_MAX_VARIABLE: Final = 80
_VARIABLE: Final = re.compile(r"[^\W\d]\w*")


class Rule(NamedTuple):
    """What one field takes."""

    accepts: Callable[[Any], bool]
    remedy: str


def _whole(least: int, most: int) -> Rule:
    return Rule(lambda value: _is_whole(value) and least <= value <= most, f"give an integer from {least} to {most}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TEXT: Final = Rule(lambda value: isinstance(value, str), "give a string")
_TEXTS: Final = Rule(
    lambda value: isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value),
    "give a list of strings",
)
_OBJECT: Final = Rule(lambda value: isinstance(value, dict), "give an object, or leave it out")
_SECONDS: Final = _whole(1, MAX_SECONDS)
TOP: Final[Mapping[str, Rule]] = {
    "Comment": _TEXT,
    "TimeoutSeconds": _SECONDS,
    "Version": Rule(lambda value: value == "1.0", 'give "1.0", the only version there is'),
}
STATE: Final[Mapping[str, Rule]] = {
    "Comment": _TEXT,
    "End": Rule(lambda value: isinstance(value, bool), "give true, or Next instead"),
    "Next": _TEXT,
    "Default": _TEXT,
    "Label": _TEXT,
    "TimeoutSeconds": _SECONDS,
    "HeartbeatSeconds": _SECONDS,
    "Error": _TEXT,
    "Cause": _TEXT,
    "ResultPath": Rule(lambda value: value is None or isinstance(value, str), "give a path, or null"),
    "Items": Rule(lambda value: isinstance(value, list | dict), "give an array, or an expression as '{% ... %}'"),
    "ItemReader": _OBJECT,
    "ItemBatcher": _OBJECT,
    "ResultWriter": _OBJECT,
    "ItemProcessor": _OBJECT,
    "Iterator": _OBJECT,
    "Assign": _OBJECT,
    "Retry": Rule(lambda value: isinstance(value, list), "give a list"),
    "Catch": Rule(lambda value: isinstance(value, list), "give a list"),
}
RETRY: Final[Mapping[str, Rule]] = {
    "Comment": _TEXT,
    "IntervalSeconds": _SECONDS,
    "MaxAttempts": _whole(0, MAX_SECONDS),
    "MaxDelaySeconds": _whole(1, _MAX_DELAY),
    "BackoffRate": Rule(
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value >= 1,
        "give a number of at least 1.0",
    ),
}
CATCH: Final[Mapping[str, Rule]] = {"Comment": _TEXT, "Next": _TEXT, "ResultPath": STATE["ResultPath"]}
READER: Final[Mapping[str, Rule]] = {"ReaderConfig": _OBJECT}
READER_CONFIG: Final[Mapping[str, Rule]] = {"CSVHeaders": _TEXTS, "ItemsPointer": _TEXT}
WRITER: Final[Mapping[str, Rule]] = {"WriterConfig": _OBJECT}


def check(where: str, fields: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check the values of fields; expressions are checked when they are evaluated.

    Args:
        where: The fields' place, as in ``state 'Map', ItemReader``.
        fields: The fields.
        rules: What they take.

    Raises:
        UnsupportedError: One has a value that it doesn't take.
    """
    for name, rule in rules.items():
        if name in fields and not is_expression(fields[name]) and not rule.accepts(fields[name]):
            raise UnsupportedError(f"{where} has {name} {fields[name]!r}: {rule.remedy}")


def check_fits(where: str, value: Any, known: frozenset[str] | set[str], needed: set[str]) -> None:
    """Check the names in the arguments of a reader or writer, as far as they are written out.

    Args:
        where: Their place.
        value: The arguments, in JSONPath with ``.$`` after the names of those that are paths.
        known: Names there may be.
        needed: Names there must be.

    Raises:
        UnsupportedError: One is unknown or missing.
    """
    if is_expression(value):
        return
    if not isinstance(value, dict):
        raise UnsupportedError(f"{where} is {value!r}: give an object with {', '.join(sorted(known))}")
    names = {name.removesuffix(".$") for name in value}
    if names - known:
        raise UnsupportedError(
            f"{where} has {min(names - known)!r}, which is not read: remove it; it takes {', '.join(sorted(known))}"
        )
    if needed - names:
        raise UnsupportedError(f"{where} has no {min(needed - names)!r}: give it")


def check_state(name: str, fields: Any) -> None:
    """Check what holds for states of every type.

    Raises:
        UnsupportedError: A value is not one that its field takes.
    """
    if not isinstance(fields, dict):
        raise UnsupportedError(f"state {name!r} is {fields!r}: give an object with a Type")
    if len(name) > limits.MAX_NAME_LENGTH:
        raise UnsupportedError(
            f"state {name!r} has a name of {len(name)} characters: give at most {limits.MAX_NAME_LENGTH}"
        )
    where = f"state {name!r}"
    check(where, fields, STATE)
    timeout, heartbeat = fields.get("TimeoutSeconds", ""), fields.get("HeartbeatSeconds", "")
    if _is_whole(timeout) and _is_whole(heartbeat) and heartbeat >= timeout:
        raise UnsupportedError(f"{where} has HeartbeatSeconds {heartbeat}: give less than TimeoutSeconds, {timeout}")
    for field in ("Retry", "Catch"):
        _check_handlers(where, field, fields.get(field, []))
    check_assign(where, fields.get("Assign", {}))


def _check_handlers(where: str, field: str, entries: list[Any]) -> None:
    for at, entry in enumerate(entries):
        place = f"{where}, {field}[{at}]"
        if not isinstance(entry, dict):
            raise UnsupportedError(f"{place} is {entry!r}: give an object with ErrorEquals")
        check(place, entry, RETRY if field == "Retry" else CATCH)
        errors = entry.get("ErrorEquals", [])
        if not _TEXTS.accepts(errors):
            raise UnsupportedError(f"{place} has ErrorEquals {errors!r}: {_TEXTS.remedy}")
        if "States.ALL" in errors and (len(errors) > 1 or at < len(entries) - 1):
            raise UnsupportedError(f"{place} has ErrorEquals {errors!r}: give States.ALL alone, in the last entry")
        if field == "Catch" and "Next" not in entry:
            raise UnsupportedError(f"{place} has no Next: give the state to go to")
        if "MaxDelaySeconds" in entry and entry["MaxDelaySeconds"] <= entry.get("IntervalSeconds", 1):
            raise UnsupportedError(
                f"{place} has MaxDelaySeconds {entry['MaxDelaySeconds']}: give more than IntervalSeconds, "
                f"{entry.get('IntervalSeconds', 1)}"
            )
        check_assign(place, entry.get("Assign", {}))


def check_assign(where: str, assigned: Any) -> None:
    """Check the names of variables.

    Raises:
        UnsupportedError: One can't be a variable's.
    """
    if not isinstance(assigned, dict):
        raise UnsupportedError(f"{where} has Assign {assigned!r}: give an object of variables")
    for key in assigned:
        name = key.removesuffix(".$")
        if name == "states" or len(name) > _MAX_VARIABLE or not _VARIABLE.fullmatch(name):
            raise UnsupportedError(
                f"{where} has Assign of {name!r}: give a name of letters, digits and '_', at most {_MAX_VARIABLE} "
                "characters, that begins with no digit and is not 'states'"
            )
