"""From the intrinsic functions of JSONPath, which ``JsonPath`` of the CDK writes, to the JSONata that does the same.

https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*')
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[\s,)])
      | (?P<word>true|false|null)(?=[\s,)])
      | States\.(?P<call>\w+)\s*\(
      | (?P<path>\$(?:\[(?:'[^']*'|"[^"]*"|[^\]])*\]|[^\s,()\[])*))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class _Argument:
    jsonata: str
    literal: str | None = None
    """The text of a literal string, its escapes still in it."""
    is_literal: bool = False


def is_intrinsic(text: object) -> bool:
    """Tell whether a text calls an intrinsic function."""
    return isinstance(text, str) and text.startswith("States.")


def to_jsonata(text: str, *, name: str, path: Callable[[str], str]) -> str:
    """Return the JSONata of a call.

    Args:
        text: Such as ``States.Format('{}.csv', $.id)``.
        name: What it is for, named in errors.
        path: Translates a path inside it.

    Raises:
        ValueError: It can't be read, or does what JSONata has no words for.
    """
    argument, end = _argument(text, 0, name, path)
    if text[end:].strip():
        raise ValueError(f"{name} has {text!r}, which goes on after the call: write JSONata as '{{% ... %}}'")
    return argument.jsonata


def _argument(text: str, at: int, name: str, path: Callable[[str], str]) -> tuple[_Argument, int]:
    token = _TOKEN.match(text, at)
    if token is None:
        raise ValueError(f"{name} has {text!r}, which can't be read from {text[at:]!r}: write JSONata as '{{% ... %}}'")
    if token["path"] is not None:
        return _Argument(path(token["path"])), token.end()
    if token["call"] is None:
        if token["text"] is not None:
            literal = token["text"][1:-1]
            return _Argument(json.dumps(_plain(literal), ensure_ascii=False), literal, is_literal=True), token.end()
        return _Argument(token["number"] or token["word"], is_literal=True), token.end()
    arguments, end = _arguments(text, token.end(), name, path)
    translate = _FUNCTIONS.get(token["call"])
    if translate is None:
        raise ValueError(f"{name} calls States.{token['call']}, which isn't known: write JSONata as '{{% ... %}}'")
    try:
        return _Argument(translate(*arguments)), end
    except TypeError:
        count = len(arguments)
        raise ValueError(f"{name} calls States.{token['call']} with {count} arguments: see its documentation") from None
    except ValueError as error:
        raise ValueError(f"{name} has {text!r}: {error}") from None


def _arguments(text: str, at: int, name: str, path: Callable[[str], str]) -> tuple[list[_Argument], int]:
    arguments: list[_Argument] = []
    while not text[at:].lstrip().startswith(")"):
        argument, at = _argument(text, at, name, path)
        arguments.append(argument)
        rest = text[at:].lstrip()
        if not rest.startswith((",", ")")):
            raise ValueError(f"{name} has {text!r}, which lacks a ')' or ',' at {rest!r}")
        if rest.startswith(","):
            at = text.index(",", at) + 1
    return arguments, text.index(")", at) + 1


def _plain(literal: str) -> str:
    return re.sub(r"\\(['{}\\])", r"\1", literal)


def array(parts: list[tuple[str, bool]]) -> str:
    """Return an array of expressions, each an element whatever it is.

    Args:
        parts: JSONata, and whether it is known to be no array: ``[...]`` would put an array's elements in its place.
    """
    text = "[]"
    for jsonata, is_literal in parts:
        one = f"[{jsonata}]"
        if not is_literal:
            one = f'($one := {jsonata}; $type($one) = "array" ? [[$one]] : [$one])'
        text = f"$append({text}, {one})"
    return text


def _format(template: _Argument, *values: _Argument) -> str:
    if template.literal is None:
        raise ValueError("the first argument of States.Format must be a literal: write JSONata with '&'")
    # Pieces between the places, with the escaped braces left in them.
    pieces = re.split(r"(?<!\\)\{\}", template.literal)
    if len(pieces) != len(values) + 1:
        raise ValueError(f"States.Format has {len(pieces) - 1} places and {len(values)} values: give as many")
    parts = [json.dumps(_plain(pieces[0]), ensure_ascii=False)]
    for value, piece in zip(values, pieces[1:], strict=True):
        parts += [f"$string({value.jsonata})", json.dumps(_plain(piece), ensure_ascii=False)]
    return f"({' & '.join(parts)})"


def _split(text: _Argument, separators: _Argument) -> str:
    if separators.literal is None:
        raise ValueError("the separators of States.StringSplit must be literal: write JSONata with $split(...)")
    if separators.literal == "":
        return f"[{text.jsonata}]"
    # Each character separates, and nothing stands between two of them.
    characters = re.sub(r"([\\\]\[^/-])", r"\\\1", _plain(separators.literal))
    return f'[$filter($split({text.jsonata}, /[{characters}]/), function($piece) {{ $piece != "" }})]'


def _merge(one: _Argument, other: _Argument, deep: _Argument) -> str:
    if deep.jsonata != "false":
        raise ValueError("States.JsonMerge merges objects at their top alone: give false as its third argument")
    return f"$merge([{one.jsonata}, {other.jsonata}])"


def _random(first: _Argument, last: _Argument, seed: _Argument | None = None) -> str:
    random = f"$random({'' if seed is None else seed.jsonata})"
    return f"($first := {first.jsonata}; $first + $floor({random} * ({last.jsonata} - $first)))"


def _json_text(value: _Argument) -> str:
    # $string leaves a text as it is, without the quotes that make it JSON.
    quoted = "$substring($string([$value]), 1, $length($string([$value])) - 2)"
    return f'($value := {value.jsonata}; $type($value) = "string" ? {quoted} : $string($value))'


_FUNCTIONS: dict[str, Callable[..., str]] = {
    "Array": lambda *values: array([(value.jsonata, value.is_literal) for value in values]),
    "ArrayContains": lambda items, value: (
        f"($wanted := {value.jsonata}; $exists($filter({items.jsonata}, function($each) {{ $each = $wanted }})))"
    ),
    "ArrayGetItem": lambda items, index: f"($all := {items.jsonata}; $all[{index.jsonata}])",
    "ArrayLength": lambda items: f"$count({items.jsonata})",
    "ArrayPartition": lambda items, size: f"$partition({items.jsonata}, {size.jsonata})",
    "ArrayRange": lambda first, last, step: f"$range({first.jsonata}, {last.jsonata}, {step.jsonata})",
    "ArrayUnique": lambda items: f"$distinct({items.jsonata})",
    "Base64Decode": lambda text: f"$base64decode({text.jsonata})",
    "Base64Encode": lambda text: f"$base64encode({text.jsonata})",
    "Format": _format,
    "Hash": lambda value, algorithm: f"$hash($string({value.jsonata}), {algorithm.jsonata})",
    "JsonMerge": _merge,
    "JsonToString": _json_text,
    # Each argument is rounded, halves up.
    "MathAdd": lambda one, other: f"($floor({one.jsonata} + 0.5) + $floor({other.jsonata} + 0.5))",
    "MathRandom": _random,
    "StringSplit": _split,
    "StringToJson": lambda text: f"$parse({text.jsonata})",
    "UUID": lambda: "$uuid()",
}
