"""JSONPath as Step Functions reads it: ``$.input``, ``$$.context``, ``$variable``.

Fields and indexes are walked here, compiled: a library's general evaluation is twenty times slower and this runs for
every item. Wildcards, slices, filters and ``..`` go to python-jsonpath.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import UnsupportedError

_STEP = re.compile(
    r"""\.(?P<name>[^\s.\[\]()*?@$'"=<>!&|,:]+)
      | \[\s*'(?P<single>(?:[^'\\]|\\.)*)'\s*\]
      | \[\s*"(?P<double>(?:[^"\\]|\\.)*)"\s*\]
      | \[\s*(?P<index>-?\d+)\s*\]""",
    re.VERBOSE,
)
_VARIABLE = re.compile(r"\$(?P<name>[^\W\d]\w*)")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<==~)\s*/(?:[^/\\]|\\.)*/""")
_CALL = re.compile(r"\b(?!n?in\b)[A-Za-z_]\w*\s*\(|@\.length\b")
# The library's own: parents, keys, unions and intersections.
_FOREIGN = re.compile(r"[\^#]|(?<!=)~|(?<!\|)\|(?!\|)|(?<!&)&(?!&)")
_INDEFINITE = re.compile(r"\.\.|\*|\[\s*-?\d*\s*:|\[\s*\?|\[[^\]']*,")


class NotFoundError(LookupError):
    """A definite path leads nowhere. The argument is what Jayway, the library that AWS uses, says of it."""


class BeyondError(NotFoundError):
    """A path ends with the index of an item that an array doesn't have."""


class NoArrayError(NotFoundError):
    """A path has an index where there is no array."""


class Roots(Protocol):
    """What a path can start from."""

    root: Json
    context: Mapping[str, Any]
    variables: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path."""

    text: str
    steps: tuple[str | int, ...] | None
    """Fields and indexes; None for a path that python-jsonpath evaluates."""
    rest: str
    """The path from its root, as ``$...``."""
    kind: str
    """``input``, ``context`` or the name of a variable behind a ``$``."""

    @property
    def shown(self) -> str:
        """The path as errors have it: into the context object, it begins at the context object's root."""
        return self.rest if self.kind == "context" else self.text

    def get(self, roots: Roots) -> Json:
        """Return the value, a list for a path that can match more than once.

        Raises:
            NotFoundError: A definite path leads nowhere.
        """
        if self.kind == "input":
            value = roots.root
        elif self.kind == "context":
            value = roots.context
        elif self.kind[1:] in roots.variables:
            value = roots.variables[self.kind[1:]]
        else:
            raise NotFoundError(f"The variable {self.kind} is not assigned")
        return self.walk(value)

    def walk(self, value: Json) -> Json:
        """Return the value that the path leads to from its root.

        Raises:
            NotFoundError: A definite path leads nowhere.
        """
        if self.steps is None:
            return _found(self.rest, value)
        for depth, step in enumerate(self.steps):
            if isinstance(step, str):
                if not isinstance(value, Mapping) or step not in value:
                    raise NotFoundError(self._missing(depth))
                value = value[step]
            elif not isinstance(value, list):
                raise NoArrayError(self._no_array(depth, value))
            elif -len(value) <= step < len(value):
                value = value[step]
            elif depth == len(self.steps) - 1:
                raise BeyondError(self._missing(depth))
            else:
                raise NotFoundError(self._missing(depth))
        return value

    def _no_array(self, depth: int, value: Json) -> str:
        steps = self.steps or ()
        if value is None:
            return f"The path {_normal(steps[:depth])} is null"
        return f"Filter: [{steps[depth]}] can only be applied to arrays. Current context is: {dumps(value)}"

    def _missing(self, depth: int) -> str:
        steps = self.steps or ()
        if depth < len(steps) - 1:
            return f"Missing property in path {_normal(steps[: depth + 1])}"
        return f"No results for path: {_normal(steps)}"


def _normal(steps: tuple[str | int, ...]) -> str:
    """Return a path in Jayway's bracket form."""
    return "$" + "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in steps)


@lru_cache(maxsize=4096)
def compile_path(text: str) -> Path:
    """Compile a path.

    Raises:
        UnsupportedError: It isn't one.
    """
    if text.startswith("$$"):
        kind, rest = "context", text[1:]
    elif (variable := _VARIABLE.match(text)) is not None:
        kind, rest = f"${variable['name']}", "$" + text[variable.end() :]
    elif text.startswith("$"):
        kind, rest = "input", text
    else:
        raise UnsupportedError(f"{text!r} is not a path: begin it with '$', '$$' or a variable such as '$name'")
    steps: list[str | int] = []
    at = 1
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            _library_path(rest)
            return Path(text, None, rest, kind)
        at = step.end()
        if step["index"] is not None:
            steps.append(int(step["index"]))
        else:
            name = step["name"] or step["single"] or step["double"] or ""
            steps.append(re.sub(r"\\(.)", r"\1", name) if step["name"] is None else name)
    return Path(text, tuple(steps), rest, kind)


@lru_cache(maxsize=1024)
def _library_path(rest: str) -> Callable[[Json], list[Json]]:
    try:
        import jsonpath  # noqa: PLC0415 - only paths beyond fields and indexes need it
    except ImportError as error:
        raise UnsupportedError(
            f"the path {rest!r} has a wildcard, slice, filter or '..': pip install 'cdk-distributed-map[local]'"
        ) from error
    unquoted = _QUOTED.sub("''", rest)
    if _CALL.search(unquoted):
        raise UnsupportedError(f"the path {rest!r} calls a function: use JSONata or an intrinsic function instead")
    foreign = _FOREIGN.search(unquoted)
    if foreign is not None:
        raise UnsupportedError(f"the path {rest!r} has {foreign[0]!r}, which AWS's paths haven't: use JSONata instead")
    if re.search(r"\[\s*(?:'[^']*'|\"[^\"]*\")\s*,", rest):
        raise UnsupportedError(f"the path {rest!r} selects several fields at once: select them one by one")
    try:
        compiled = jsonpath.compile(rest)
    except jsonpath.JSONPathError as error:
        raise UnsupportedError(f"{rest!r} is not a path that can be read: {str(error).splitlines()[0]}") from error
    return lambda value: list(compiled.findall(value))


def _found(rest: str, value: Json) -> Json:
    found = _library_path(rest)(value) if isinstance(value, list | dict) else []
    if _INDEFINITE.search(rest) is None:
        if not found:
            raise NotFoundError(f"No results for path: {rest}")
        return found[0]
    return found


def put(path: Path, document: Json, value: Json) -> Json:
    """Return a copy of a document with a value at a reference path, as ResultPath does.

    Raises:
        NotFoundError: The path runs through something that is neither an object nor an array.
        UnsupportedError: The path can match more than once.
    """
    if path.steps is None:
        raise UnsupportedError(f"{path.text!r} can match more than once: give ResultPath fields and indexes only")
    return _put(path, path.steps, document, value)


def _put(path: Path, steps: tuple[str | int, ...], document: Json, value: Json) -> Json:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(document, list) or not -len(document) <= step < len(document):
            raise NotFoundError(f"{path.text} runs through a value that is neither an object nor an array")
        changed = list(document)
        changed[step] = _put(path, rest, document[step], value)
        return changed
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise NotFoundError(f"{path.text} runs through a value that is neither an object nor an array")
    return {**document, step: _put(path, rest, document.get(step), value)}
