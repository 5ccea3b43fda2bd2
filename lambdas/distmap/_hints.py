"""What classes and functions are annotated with, and which members of a class a value must have."""

from __future__ import annotations

import inspect
import typing
from dataclasses import MISSING, InitVar, is_dataclass
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints


def hint_of(function: Any, name: str) -> Any:
    """Return what a parameter is annotated with, names in texts resolved.

    Raises:
        NameError: One isn't defined, or not yet.
    """
    return hints_of(inspect.unwrap(function)).get(name, Any)


def hints_of(kind: Any) -> dict[str, Any]:
    """Return the annotations of a class or function, names in texts resolved.

    Raises:
        NameError: One isn't defined, or not yet, or a text is no type: it is for readers alone.
    """
    try:
        return get_type_hints(kind, include_extras=True)
    except (AttributeError, SyntaxError) as error:
        raise NameError(str(error)) from error


def members_of(kind: Any, annotation: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the members of a class with their types, and those that a value must have.

    Args:
        kind: A dataclass, typed dict or named tuple.
        annotation: The same, with the types that it was given where it is generic, such as ``Page[Order]``.

    Raises:
        NameError: See :func:`hints_of`.
    """
    type_arguments = _given(kind, annotation)
    hints = {name: _with(type_arguments, member) for name, member in hints_of(kind).items()}
    if is_dataclass(kind):
        # A parameter of __init__ alone (InitVar) is among these, and not among dataclasses.fields().
        members = {
            name: member
            for name, member in kind.__dataclass_fields__.items()
            if member.init and get_origin(hints[name]) is not ClassVar and hints[name] is not ClassVar
        }
        needed = {
            name for name, member in members.items() if member.default is MISSING and member.default_factory is MISSING
        }
        return {name: hints[name] for name in members}, frozenset(needed)
    if typing.is_typeddict(kind):
        return hints, frozenset(kind.__required_keys__)
    own = {name: hints.get(name, Any) for name in kind._fields if get_origin(hints.get(name)) is not ClassVar}
    return own, frozenset(own.keys() - kind._field_defaults.keys())


def is_keyword_only(kind: Any) -> bool:
    """Return whether a class takes some of its members by name alone."""
    # A class variable has a mark in the place of True or False.
    return is_dataclass(kind) and any(each.kw_only is True for each in kind.__dataclass_fields__.values())


def _given(kind: Any, annotation: Any) -> dict[Any, Any]:
    """Return which types stand for the type variables of a generic class."""
    found: dict[Any, Any] = {}
    for each in [*getattr(kind, "__orig_bases__", ()), annotation]:
        found |= zip(getattr(get_origin(each), "__parameters__", ()), get_args(each), strict=False)
    return found


def _with(given: dict[Any, Any], hint: Any) -> Any:
    if isinstance(hint, InitVar):
        hint = hint.type
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    if not given or not variables or (isinstance(hint, type) and get_origin(hint) is None):
        return hint
    return hint[tuple(given.get(each, each) for each in variables)]
