"""Writes the JSON Schema of every wire shape, from the declarations in ``distmap.wire``: ``make docs``.

A worker in another language than Python validates what it gets and answers by them. Libraries that make such schemas
(pydantic, msgspec) leave out the words on the fields, which say more than the types, and pydantic refuses the
``TypedDict`` of Python 3.11, which the runtime supports; so they are made here, of the few types that the shapes have.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

from distmap import wire

FOLDER = Path(__file__).resolve().parent / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: dict[Any, dict[str, Any]] = {
    Any: {},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    int: {"type": "integer"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}


def shapes() -> dict[str, type]:
    """Return every wire shape by its name."""
    return {name: each for name, each in vars(wire).items() if typing.is_typeddict(each)}


def documents() -> dict[str, str]:
    """Return the text of every schema, by the name of its file."""
    return {f"{name}.schema.json": json.dumps(schema(name), indent=2) + "\n" for name in shapes()}


def schema(name: str) -> dict[str, Any]:
    """Return the schema of a shape, with those that it holds."""
    inner: dict[str, Any] = {}
    own = _object(name, inner)
    found = {"$schema": DIALECT, "title": name, **own}
    # One that holds itself, as settings of nested maps do, is there as both.
    return {**found, "$defs": dict(sorted(inner.items()))} if inner else found


def _object(name: str, inner: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(shapes()[name], include_extras=True)
    about, words = _words()[name]
    properties, required = {}, []
    for key, hint in hints.items():
        if typing.get_origin(hint) is typing.NotRequired:
            (kind,) = typing.get_args(hint)
        else:
            kind = hint
            required.append(key)
        description = {"description": words[key]} if key in words else {}
        properties[key] = {**description, **_of_type(kind, inner)}
    found: dict[str, Any] = {"description": about, "type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def _of_type(kind: Any, inner: dict[str, Any]) -> dict[str, Any]:
    if kind in _SIMPLE:
        return dict(_SIMPLE[kind])
    if typing.is_typeddict(kind):
        name = str(kind.__name__)
        if name not in inner:
            inner[name] = {}  # it may hold itself
            inner[name] = _object(name, inner)
        return {"$ref": f"#/$defs/{name}"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0], inner)}
    if origin is dict and arguments[0] is str:
        return {"type": "object", "additionalProperties": _of_type(arguments[1], inner)}
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [_of_type(each, inner) for each in arguments]}
    message = f"a wire shape has the type {kind!r}, of which no schema is made: use one of JSON's, or add it here"
    raise TypeError(message)


@cache
def _words() -> dict[str, tuple[str, dict[str, str]]]:
    """Return what is said about each shape and its fields."""
    tree = ast.parse(Path(str(wire.__file__)).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: (_plain(ast.get_docstring(node) or ""), _fields(node)) for node in classes}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    """Return the words that stand below fields, also those that stand below several."""
    found: dict[str, str] = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = _plain(str(below.value.value))  # type: ignore[attr-defined]  # it is a text
    return found


def _plain(text: str) -> str:
    """Return words without the marks of the documentation."""
    return " ".join(re.sub(r":\w+:`\.?([\w.]+)`", r"\1", text).replace("``", "").split())


def write() -> list[str]:
    """Write every schema and remove those of shapes that are gone; return the names of the files that changed."""
    FOLDER.mkdir(exist_ok=True)
    wanted = documents()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    for name in there.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


if __name__ == "__main__":
    changed = write()
    sys.stdout.write(f"docs/schemas {'has changed: ' + ', '.join(changed) if changed else 'is up to date'}\n")
