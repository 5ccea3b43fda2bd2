"""Items as the types that a function's parameter is annotated with: read strictly, and in words where one doesn't fit.

Pydantic reads what has a model of it in it, as its own validation says. Dataclasses and typed dicts are read by our own
code, so that they need no package in the function, and are the same where pydantic happens to be installed.
"""

from __future__ import annotations

import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

from distmap._errors import InvalidItemError, error_text
from distmap._hints import hints_of, is_keyword_only, members_of
from distmap._json import text_of

Read = Callable[[Any, str], Any]
"""Returns a value as a type, or raises the error that says at which place in the item it doesn't fit."""

_LISTS: Final = {
    **dict.fromkeys((list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection), list),
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)
_OF_JSON: Final = frozenset({Any, object, type(None), None, bool, int, float, str, *_LISTS, *_MAPPINGS} - {tuple, set})
_MOST_SHOWN: Final = 80
_NOT_REQUIRED: Final = {
    getattr(typing, name) for name in ("Required", "NotRequired", "ReadOnly") if hasattr(typing, name)
}


def reader_of(annotation: Any, who: str) -> Callable[[Any], Any] | None:
    """Return what reads an item as what a parameter is annotated with.

    Args:
        annotation: The annotation, resolved.
        who: The function, for the message.

    Returns:
        None where JSON's own types alone are in it: these say to a type checker what is so already.

    Raises:
        TypeError: Something in it can't be made of JSON.
    """
    if _is_of_json(annotation):
        return None
    if _has_model(annotation, set()):
        return _by_pydantic(annotation)
    try:
        read = _reader(annotation, {})
    except TypeError as error:
        message = (
            f"{who}: {error}; annotate the item with a dataclass, a TypedDict, a model of pydantic 2 or types of JSON"
        )
        raise TypeError(message) from error
    # A reader whose place is the item by default needs no other function around it.
    return read if read.__defaults__ else lambda value: read(value, "$")  # type: ignore[return-value] # it has a place by default


def _is_of_json(annotation: Any) -> bool:
    if isinstance(annotation, TypeVar):
        return True
    origin = get_origin(annotation)
    if origin is None:
        return annotation in _OF_JSON if _is_hashable(annotation) else False
    if origin in (Union, types.UnionType) or origin in _OF_JSON:
        return all(_is_of_json(each) for each in get_args(annotation))
    return False


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


# -- pydantic


def _has_model(annotation: Any, seen: set[int]) -> bool:
    if id(annotation) in seen or "pydantic" not in sys.modules:
        return False
    seen.add(id(annotation))
    if hasattr(annotation, "__pydantic_validator__"):
        return True
    parts = [*get_args(annotation), getattr(annotation, "__value__", None), getattr(annotation, "__supertype__", None)]
    if isinstance(annotation, type) and (is_dataclass(annotation) or typing.is_typeddict(annotation)):
        parts += hints_of(annotation).values()
    return any(_has_model(each, seen) for each in parts)


def _by_pydantic(annotation: Any) -> Callable[[Any], Any]:
    pydantic: Any = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(annotation)
    validate = adapter.validate_python

    def from_json(value: Any) -> Any:
        # A strict model takes a date, a UUID or a tuple only from JSON, which an item is.
        try:
            return adapter.validate_json(text_of(value))
        except pydantic.ValidationError as error:
            problems = [
                f"{_path_of(each['loc'])}: {each['msg'][:1].lower()}{each['msg'][1:]}, got {_shown(each['input'])}"
                for each in error.errors(include_url=False)[:5]
            ]
            more = f"; and {error.error_count() - 5:,} more" if error.error_count() > 5 else ""
            raise InvalidItemError("; ".join(problems) + more) from error

    def read(value: Any) -> Any:
        try:
            return validate(value)
        except pydantic.ValidationError:
            return from_json(value)

    return read


def _path_of(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in location)


# -- everything else


def _reader(annotation: Any, known: dict[Any, Read]) -> Read:  # noqa: PLR0911 - one for each form of a type
    """Return what reads a value as a type; ``known`` has those under way, for types that have themselves in them."""
    if isinstance(annotation, TypeVar) or annotation in (Any, object):
        return lambda value, _: value
    if _is_hashable(annotation) and annotation in known:
        return known[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin in _NOT_REQUIRED:
        return _reader(arguments[0], known)
    if hasattr(annotation, "__supertype__"):  # NewType
        return _reader(annotation.__supertype__, known)
    if hasattr(annotation, "__value__"):  # type Name = ...
        known[annotation] = lambda value, place: read(value, place)  # noqa: PLW0108 - it isn't there yet
        read = _reader(annotation.__value__, known)
        return read
    if origin is Literal:
        return _literal(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments, known)
    if (origin or annotation) in _LISTS:
        return _collection(_LISTS[origin or annotation], arguments, known)
    if (origin or annotation) in _MAPPINGS:
        return _mapping(arguments, known)
    return _class_reader(origin or annotation, annotation, known)


def _class_reader(kind: Any, annotation: Any, known: dict[Any, Read]) -> Read:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if isinstance(kind, type):
        if issubclass(kind, Enum):
            return _enumeration(kind)
        if is_dataclass(kind) or typing.is_typeddict(kind) or _is_named_tuple(kind):
            return _record(kind, annotation, known)
    message = f"an item can't be read as {getattr(annotation, '__name__', annotation)}"
    raise TypeError(message)


def _misfit(expected: str, value: Any, place: str) -> InvalidItemError:
    return InvalidItemError(f"{place}: expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = text_of(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def _exact(kind: type, expected: str) -> Read:
    def read(value: Any, place: str) -> Any:
        if type(value) is not kind:
            raise _misfit(expected, value, place)
        return value

    return read


def _read_integer(value: Any, place: str) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():  # 1e3 is a whole number to JSON
        return int(value)
    raise _misfit("a whole number", value, place)


def _read_float(value: Any, place: str) -> float:
    if type(value) in (float, int):
        with suppress(OverflowError):  # JSON has whole numbers of any size
            return float(value)
    raise _misfit("a number", value, place)


def _parsed(parse: Callable[[str], Any], expected: str) -> Read:
    def read(value: Any, place: str) -> Any:
        if type(value) is str:
            try:
                return parse(value)
            except ValueError:
                pass
        raise _misfit(expected, value, place)

    return read


def _read_decimal(value: Any, place: str) -> Decimal:
    if type(value) in (int, float, str):
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = Decimal("nan")
        if number.is_finite():
            return number
    raise _misfit("a decimal number", value, place)


_SCALARS: Final[Mapping[Any, Read]] = {
    None: _exact(type(None), "null"),
    type(None): _exact(type(None), "null"),
    bool: _exact(bool, "true or false"),
    str: _exact(str, "a text"),
    int: _read_integer,
    float: _read_float,
    Decimal: _read_decimal,
    UUID: _parsed(UUID, "a UUID"),
    date: _parsed(date.fromisoformat, "a date such as 2026-01-31"),
    datetime: _parsed(datetime.fromisoformat, "a date and time such as 2026-01-31T12:00:00Z"),
    time: _parsed(time.fromisoformat, "a time such as 12:00:00"),
    Path: _parsed(Path, "a path"),
    PurePath: _parsed(PurePath, "a path"),
}


def _literal(values: tuple[Any, ...]) -> Read:
    expected = " or ".join(_shown(value) for value in values)

    def read(value: Any, place: str) -> Any:
        for each in values:
            if type(each) is type(value) and each == value:
                return each
        raise _misfit(expected, value, place)

    return read


def _enumeration(kind: type[Enum]) -> Read:
    expected = " or ".join(_shown(member.value) for member in kind)

    def read(value: Any, place: str) -> Enum:
        for member in kind:
            if type(member.value) is type(value) and member.value == value:
                return member
        raise _misfit(expected, value, place)

    return read


def _union(arguments: tuple[Any, ...], known: dict[Any, Read]) -> Read:
    readers = [_reader(each, known) for each in arguments]
    exact = {each for each in arguments if each in (bool, int, float, str, type(None))}

    def read(value: Any, place: str) -> Any:
        if type(value) in exact:
            return value
        problems = []
        for each in readers:
            try:
                return each(value, place)
            except InvalidItemError as error:
                problems.append(error)
        # Of several the one that came furthest into the item says most.
        deepest = max(problems, key=lambda error: len(str(error).partition(":")[0]))
        if str(deepest).startswith(f"{place}:"):
            expected = " or ".join(str(each).partition(": expected ")[2].partition(", got ")[0] for each in problems)
            raise _misfit(expected, value, place)
        raise deepest

    return read


def _collection(collection: Callable[[list[Any]], Any], arguments: tuple[Any, ...], known: dict[Any, Read]) -> Read:
    if collection is tuple and arguments and arguments[-1] is not Ellipsis:
        readers = [_reader(each, known) for each in arguments]

        def read_each(value: Any, place: str) -> Any:
            if type(value) is not list or len(value) != len(readers):
                raise _misfit(f"a list of {len(readers)}", value, place)
            pairs = enumerate(zip(readers, value, strict=True))
            return tuple(each(element, f"{place}[{at}]") for at, (each, element) in pairs)

        return read_each
    element_reader = _reader(arguments[0], known) if arguments else _reader(Any, known)

    def read(value: Any, place: str) -> Any:
        if type(value) is not list:
            raise _misfit("a list", value, place)
        return collection([element_reader(each, f"{place}[{at}]") for at, each in enumerate(value)])

    return read


def _mapping(arguments: tuple[Any, ...], known: dict[Any, Read]) -> Read:
    key_type, value_type = arguments or (str, Any)
    read_value = _reader(value_type, known)
    read_key = _parsed(int, "a whole number") if key_type is int else _reader(key_type, known)

    def read(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _misfit("an object", value, place)
        return {read_key(key, place): read_value(each, f"{place}.{key}") for key, each in value.items()}

    return read


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _record(kind: Any, annotation: Any, known: dict[Any, Read]) -> Read:
    known[annotation] = lambda value, place: read(value, place)  # noqa: PLW0108 - it isn't there yet
    members, needed = members_of(kind, annotation)
    readers = {name: _reader(each, known) for name, each in members.items()}
    is_dictionary = typing.is_typeddict(kind)

    def read(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _misfit(f"an object ({kind.__name__})", value, place)
        lacking = [name for name in members if name in needed and name not in value]
        if lacking:
            message = f"{place}: {kind.__name__} lacks {', '.join(lacking)}, got {_shown(value)}"
            raise InvalidItemError(message)
        found = {name: each(value[name], f"{place}.{name}") for name, each in readers.items() if name in value}
        if is_dictionary:
            return {**value, **found}
        try:
            return kind(**found)
        except (TypeError, ValueError) as error:  # its own checks, in __post_init__
            message = f"{place}: {error_text(error)}, got {_shown(value)}"
            raise InvalidItemError(message) from error

    return _quick(kind, members, read)


def _quick(kind: Any, members: dict[str, Any], read: Read) -> Read:
    """Return a reader that takes a short way to a flat class whose members are all of JSON's own types."""
    plain = all(each in (bool, int, str) for each in members.values())
    if typing.is_typeddict(kind) or not plain or len(members) < 2 or is_keyword_only(kind):
        return read
    get, expected = itemgetter(*members), list(members.values())

    def read_quickly(value: Any, place: str = "$") -> Any:
        try:
            values = get(value)
            if list(map(type, values)) == expected and type(value) is dict:
                return kind(*values)
        except (KeyError, TypeError, ValueError):
            pass  # said better below
        return read(value, place)

    return read_quickly
