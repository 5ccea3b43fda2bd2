"""What values are of: inferred from JSON values batch by batch, and widened until every value of a run fits.

Arrow infers the type of a list in C++, and is asked first. It refuses mixed types, and hides some (a boolean among
numbers with decimals becomes 1.0): those are walked here, value by value.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

MOST_FIELDS: Final = 1_000
"""Fields of one object that get a column: more are keys that are data."""
_DEEPEST: Final = 16
"""Levels of lists and objects that are columns of columns. Readers of Parquet take 100, of which a list is two; with
each level above 18 DuckDB needs twice as long to open a file."""
_EXACT: Final = 2**53
"""Integers up to here are exact as numbers with decimals."""
_INT64: Final = 2**63


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of one place are of."""

    name: str
    """``null``, ``boolean``, ``integer``, ``large integer``, ``number``, ``text``, ``list``,
    ``object`` or ``mixed``."""
    element: Kind | None = None
    """Of the elements of lists."""
    fields: tuple[tuple[str, Kind], ...] = ()
    """Of the fields of objects, in the order they were met."""
    of: frozenset[str] = frozenset()
    """Names of the kinds that are mixed."""

    @property
    def why_text(self) -> str | None:
        """Why such values are written as JSON texts; None where they have a type of their own."""
        if self.name == "mixed":
            return " and ".join(sorted(_PLURALS[each] for each in self.of))
        if self.name == "object":
            names = {name.casefold() for name, _ in self.fields}
            if not names:
                return "objects without fields"
            if len(names) < len(self.fields):
                return "objects with fields that differ in case alone"
            if len(names) > MOST_FIELDS:
                return f"objects with more than {MOST_FIELDS:,} different fields"
        return None


NULL: Final = Kind("null")
_BOOLEAN: Final = Kind("boolean")
_INTEGER: Final = Kind("integer")
_LARGE: Final = Kind("large integer")
_HUGE: Final = Kind("mixed", of=frozenset({"huge integer"}))
_DEEP: Final = Kind("mixed", of=frozenset({"deep"}))
_NUMBER: Final = Kind("number")
_TEXT: Final = Kind("text")
_PLURALS: Final = {
    "boolean": "booleans",
    "integer": "integers",
    "large integer": f"integers beyond {_EXACT:,}",
    "huge integer": "integers of more than 64 bits",
    "number": "numbers with decimals",
    "text": "texts",
    "list": "lists",
    "object": "objects",
    "deep": f"lists and objects below {_DEEPEST} levels of others",
}


def merged(one: Kind, other: Kind) -> Kind:
    """Return what values of two kinds are of together."""
    if one is other or one == other or other is NULL:
        return one
    if one.name == "null":
        return other
    names = {one.name, other.name}
    if names == {"list"}:
        assert one.element is not None  # noqa: S101 - lists have it
        assert other.element is not None  # noqa: S101 - likewise
        return Kind("list", element=merged(one.element, other.element))
    if names == {"object"}:
        fields = dict(one.fields)
        for name, kind in other.fields:
            fields[name] = merged(fields.get(name, NULL), kind)
        return Kind("object", fields=tuple(fields.items()))
    wider = {frozenset({"integer", "large integer"}): _LARGE, frozenset({"integer", "number"}): _NUMBER}
    return wider.get(frozenset(names)) or Kind("mixed", of=_names(one) | _names(other))


def _names(kind: Kind) -> frozenset[str]:
    return kind.of if kind.name == "mixed" else frozenset({kind.name})


def kind_of(values: Sequence[Any]) -> Kind:
    """Return what some JSON values are of."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - optional, without types

    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return _merged_all(map(_walked, values))
    kind = _of_array(array, 0)
    return _merged_all(map(_walked, values)) if _has_number(kind) and any(map(_has_boolean, values)) else kind


def _merged_all(kinds: Iterable[Kind]) -> Kind:
    # Values of one batch are of few kinds: only those are merged.
    return functools.reduce(merged, dict.fromkeys(kinds), NULL)


def _of_array(array: Any, depth: int) -> Kind:
    import pyarrow as pa  # noqa: PLC0415 - see kind_of
    import pyarrow.compute as pc  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise

    kind = array.type
    if depth >= _DEEPEST and pa.types.is_nested(kind):
        return _DEEP
    if pa.types.is_struct(kind):
        fields = ((kind.field(n).name, _of_array(array.field(n), depth + 1)) for n in range(len(kind)))
        return Kind("object", fields=tuple(fields))
    if pa.types.is_list(kind):
        return Kind("list", element=_of_array(array.values, depth + 1))
    if pa.types.is_int64(kind):
        ends = pc.min_max(array).as_py()
        return _LARGE if max(abs(ends["min"] or 0), abs(ends["max"] or 0)) > _EXACT else _INTEGER
    if pa.types.is_null(kind):
        return NULL
    return {"bool": _BOOLEAN, "double": _NUMBER}.get(str(kind), _TEXT)


def _has_number(kind: Kind) -> bool:
    if kind.name == "list" and kind.element is not None:
        return _has_number(kind.element)
    return kind.name == "number" or any(_has_number(each) for _, each in kind.fields)


def _has_boolean(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict | list):
        return isinstance(value, bool)
    inner = value.values() if isinstance(value, dict) else value
    return depth < _DEEPEST and any(_has_boolean(each, depth + 1) for each in inner)


def _walked(value: Any, depth: int = 0) -> Kind:
    if depth >= _DEEPEST and isinstance(value, dict | list):
        return _DEEP
    if isinstance(value, dict):
        return Kind("object", fields=tuple((name, _walked(each, depth + 1)) for name, each in value.items()))
    if isinstance(value, list):
        return Kind("list", element=_merged_all(_walked(each, depth + 1) for each in value))
    if isinstance(value, int) and not isinstance(value, bool):
        size = abs(value)
        return _INTEGER if size <= _EXACT else _LARGE if size < _INT64 else _HUGE
    return NULL if value is None else {bool: _BOOLEAN, float: _NUMBER}.get(type(value), _TEXT)


def arrow(kind: Kind) -> Any:
    """Return the Arrow type of a kind."""
    import pyarrow as pa  # noqa: PLC0415 - see kind_of

    if kind.why_text is not None:
        return pa.string()
    if kind.name == "object":
        return pa.struct([(storable(name), arrow(each)) for name, each in kind.fields])
    if kind.element is not None:
        return pa.list_(arrow(kind.element))
    types = {"boolean": pa.bool_, "integer": pa.int64, "large integer": pa.int64, "number": pa.float64}
    return types.get(kind.name, pa.string)()


def array_of(kind: Kind, values: Sequence[Any], kind_as: Any) -> Any:
    """Return values as an array.

    Args:
        kind: What they are of.
        values: The values.
        kind_as: Its Arrow type.
    """
    import pyarrow as pa  # noqa: PLC0415 - see kind_of

    if not _has_text(kind):
        try:
            return pa.array(values, type=kind_as)
        except UnicodeEncodeError:
            pass  # halves of surrogate pairs
    return pa.array([_written(kind, value) for value in values], type=kind_as)


def _has_text(kind: Kind) -> bool:
    """Whether anything of it is written as JSON text."""
    if kind.why_text is not None:
        return True
    return (kind.element is not None and _has_text(kind.element)) or any(_has_text(each) for _, each in kind.fields)


def _written(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind.why_text is not None:
        return storable(json.dumps(value, ensure_ascii=False))
    if kind.name == "object":
        return {storable(name): _written(each, value.get(name)) for name, each in kind.fields}
    if kind.element is not None:
        return [_written(kind.element, each) for each in value]
    return storable(value)


def read_back(kind: Kind, value: Any) -> Any:
    """Return a value that was written as a kind as it was before; a field that is null is left out of its object."""
    if value is None:
        return None
    if kind.why_text is not None:
        return json.loads(value)
    if kind.name == "object":
        found = ((name, value.get(storable(name)), each) for name, each in kind.fields)
        return {name: read_back(each, inner) for name, inner, each in found if inner is not None}
    if kind.element is not None:
        return [read_back(kind.element, each) for each in value]
    return value


def texts(kind: Kind, name: str) -> Iterable[str]:
    """Yield what to say of every place below a name whose values are written as JSON texts."""
    why = kind.why_text
    if why is not None:
        yield f"{name} is JSON text: it holds {why}"
        return
    for field, each in kind.fields:
        yield from texts(each, f"{name}.{field}")
    if kind.element is not None:
        yield from texts(kind.element, f"{name}[]")


def storable(value: Any) -> Any:
    """Return a text with escapes for halves of surrogate pairs, which UTF-8 hasn't; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
