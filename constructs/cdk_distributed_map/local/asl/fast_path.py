"""Compiles the plain part of JSONata into closures: paths, literals, comparisons, conditions, objects.

That is most of what stands in a Distributed Map's ItemSelector, which runs for every item. A closure does exactly
what JSONata does as long as a path meets no array on its way; where it meets one, or anything else that needs
JSONata's sequences, it gives up and the library evaluates the whole expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json


class _Undefined:
    """What JSONata calls undefined."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = _Undefined()

Closure = Callable[[Mapping[str, Json]], Json]


class SlowError(Exception):
    """This evaluation needs the library."""


def compile_node(node: Any) -> Closure | None:
    """Return a closure over the bindings, None where the node isn't plain."""
    compiler = _COMPILERS.get(node.type)
    if compiler is None or getattr(node, "predicate", None) or getattr(node, "group", None):
        return None
    if getattr(node, "keep_array", False) or getattr(node, "stages", None):
        return None
    return compiler(node)


def _literal(node: Any) -> Closure:
    value = node.value
    return lambda _bindings: value


def _variable(node: Any) -> Closure | None:
    name = node.value
    if not name or name == "$":
        return None

    def read(bindings: Mapping[str, Json]) -> Json:
        try:
            return bindings[name]
        except KeyError:
            # A function of JSONata, or undefined: the library knows.
            raise SlowError from None

    return read


def _path(node: Any) -> Closure | None:
    first = node.steps[0]
    if first.type != "variable" or getattr(node, "keep_singleton_array", False) or getattr(node, "tuple", False):
        return None
    if any(_special(step) or (step is not first and step.type != "name") for step in node.steps):
        return None
    read = _variable(first)
    if read is None:
        return None
    names = tuple(str(step.value) for step in node.steps[1:])

    def walk(bindings: Mapping[str, Json]) -> Json:
        value = read(bindings)
        for name in names:
            if type(value) is not dict:
                if isinstance(value, list):
                    raise SlowError
                if not isinstance(value, dict):
                    return UNDEFINED
            if name not in value:
                return UNDEFINED
            value = value[name]
        return value

    return walk


def _special(step: Any) -> bool:
    marks = ("predicate", "stages", "group", "focus", "index", "ancestor", "tuple", "keep_array", "consarray")
    return any(getattr(step, mark, None) for mark in marks)


def _condition(node: Any) -> Closure | None:
    test, then = compile_node(node.condition), compile_node(node.then)
    otherwise = None if getattr(node, "_else", None) is None else compile_node(node._else)  # noqa: SLF001 - its AST
    if test is None or then is None or otherwise is None:
        return None
    return lambda bindings: then(bindings) if _truth(test(bindings)) else otherwise(bindings)


def _truth(value: Json) -> bool:
    if isinstance(value, list):
        raise SlowError
    return value is not UNDEFINED and bool(value)


def _binary(node: Any) -> Closure | None:
    left, right = compile_node(node.lhs), compile_node(node.rhs)
    if left is None or right is None:
        return None
    operator = node.value
    if operator == "=":
        return lambda bindings: _equal(left(bindings), right(bindings))
    if operator == "and":
        return lambda bindings: _truth(left(bindings)) and _truth(right(bindings))
    if operator == "or":
        return lambda bindings: _truth(left(bindings)) or _truth(right(bindings))
    if operator == "&":
        return lambda bindings: _text(left(bindings)) + _text(right(bindings))
    return None


def _equal(left: Json, right: Json) -> bool:
    if left is UNDEFINED or right is UNDEFINED:
        return False
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise SlowError
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _text(value: Json) -> str:
    if value is UNDEFINED:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise SlowError


def _block(node: Any) -> Closure | None:
    return compile_node(node.expressions[0]) if len(node.expressions) == 1 else None


def _object(node: Any) -> Closure | None:
    if node.value != "{":
        return None
    pairs = []
    for key, item in node.lhs_object:
        value = compile_node(item)
        if key.type != "string" or value is None:
            return None
        pairs.append((str(key.value), value))

    def build(bindings: Mapping[str, Json]) -> Json:
        built = {}
        for key, value in pairs:
            item = value(bindings)
            if item is not UNDEFINED:
                built[key] = item
        return built

    return build


def _function(node: Any) -> Closure | None:
    if node.value != "(" or node.procedure.type != "variable" or len(node.arguments) != 1:
        return None
    argument = compile_node(node.arguments[0])
    name = str(node.procedure.value)
    if argument is None or name not in {"exists", "not"}:
        return None

    def call(bindings: Mapping[str, Json]) -> Json:
        if name in bindings:
            raise SlowError
        value = argument(bindings)
        if name == "exists":
            return value is not UNDEFINED
        return UNDEFINED if value is UNDEFINED else not _truth(value)

    return call


_COMPILERS: dict[str, Callable[[Any], Closure | None]] = {
    "string": _literal,
    "number": _literal,
    "value": _literal,
    "variable": _variable,
    "path": _path,
    "condition": _condition,
    "binary": _binary,
    "block": _block,
    "unary": _object,
    "function": _function,
}

_CHANGING: Final = frozenset({"random", "uuid", "now", "millis", "eval"})
_STEADY: Final = frozenset({"Execution", "StateMachine", "State"})


def is_invariant(node: Any) -> bool:  # noqa: PLR0911 - one return for each kind of node
    """Tell whether a node reads nothing that differs between the items of a map."""
    kind = node.type
    if kind in {"string", "number", "value", "name"}:
        return True
    if kind == "variable":
        return bool(node.value) and node.value not in {"$", "states"}
    if kind == "path":
        return _steady_path(node)
    if kind == "condition":
        parts = [node.condition, node.then, getattr(node, "_else", None)]
        return all(part is None or is_invariant(part) for part in parts)
    if kind == "binary":
        return node.value in {"=", "!=", "and", "or", "&", "+", "-", "*", "/"} and all(
            is_invariant(part) for part in (node.lhs, node.rhs)
        )
    if kind == "block":
        return all(is_invariant(part) for part in node.expressions)
    if kind == "unary" and node.value == "{":
        return all(is_invariant(part) for pair in node.lhs_object for part in pair)
    if kind == "function" and node.value == "(" and node.procedure.type == "variable":
        return node.procedure.value not in _CHANGING and all(is_invariant(part) for part in node.arguments)
    return False


def _steady_path(node: Any) -> bool:
    if any(_special(step) or step.type not in {"variable", "name"} for step in node.steps):
        return False
    names = [str(step.value) for step in node.steps]
    if node.steps[0].type != "variable" or not names[0] or names[0] == "$":
        return False
    if names[0] != "states":
        return True
    return names[1:2] == ["input"] or (names[1:2] == ["context"] and names[2:3] != [] and names[2] in _STEADY)
