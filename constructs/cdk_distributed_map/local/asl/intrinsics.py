"""The intrinsic functions of JSONPath states: ``States.Format``, ``States.Array`` and so on.

https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import math
import random
import re
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from cdk_distributed_map.local.asl.json_text import Json, dumps, loads, number
from cdk_distributed_map.local.asl.paths import NoArrayError, NotFoundError, Roots, compile_path
from cdk_distributed_map.local.errors import INTRINSIC, StateError, UnsupportedError

_MAX_NESTING = 10
_MAX_RANGE = 1_000
_MAX_TEXT = 10_000
_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*')
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=[\s,)])
      | (?P<word>true|false|null)(?=[\s,)])
      | (?P<name>States\.\w+)\s*\(
      | (?P<path>\$))""",
    re.VERBOSE,
)

Evaluator = Callable[[Roots], Json]


def is_intrinsic(text: str) -> bool:
    """Tell whether a text calls an intrinsic function."""
    return text.startswith("States.")


@lru_cache(maxsize=2048)
def compile_intrinsic(text: str) -> Evaluator:
    """Compile a call.

    Raises:
        UnsupportedError: It can't be read, or calls a function that doesn't exist.
    """
    evaluator, end = _argument(text, 0, 0)
    if text[end:].strip():
        raise UnsupportedError(f"{text!r} goes on after the call: {text[end:]!r}")
    return evaluator


def _argument(text: str, at: int, depth: int) -> tuple[Evaluator, int]:
    token = _TOKEN.match(text, at)
    if token is None:
        raise UnsupportedError(f"{text!r} can't be read from {text[at:]!r}: see the intrinsic functions of AWS")
    if token["path"] is not None:
        start = token.start("path")
        end = _path_end(text, start)
        return _path_argument(text[start:end].strip()), end
    if token["name"] is not None:
        return _call(text, token, depth)
    if token["text"] is not None:
        value: Json = _unescaped(token["text"][1:-1])
    else:
        value = json.loads(token["number"] or token["word"])
    return (lambda _roots: value), token.end()


def _path_argument(text: str) -> Evaluator:
    path = compile_path(text)

    def get(roots: Roots) -> Json:
        try:
            return path.get(roots)
        except NoArrayError:
            # As measured on AWS: what its library says, instead of the sentence below.
            raise
        except NotFoundError as error:
            # The state's input, even where the path leads into the context object.
            shown = dumps(roots.root)
            message = f"The JsonPath argument for the field '{path.shown}' could not be found in the input '{shown}'"
            raise NotFoundError(message) from error

    return get


def _call(text: str, token: re.Match[str], depth: int) -> tuple[Evaluator, int]:
    name = token["name"]
    function = _FUNCTIONS.get(name)
    if function is None:
        raise UnsupportedError(f"{name} is not an intrinsic function: use one of {', '.join(sorted(_FUNCTIONS))}")
    if depth >= _MAX_NESTING:
        raise UnsupportedError(f"{text!r} nests more than {_MAX_NESTING} calls: split it over two states")
    arguments: list[Evaluator] = []
    at = token.end()
    if text[at:].lstrip().startswith(")"):
        at = text.index(")", at)
    else:
        while True:
            argument, at = _argument(text, at, depth + 1)
            arguments.append(argument)
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at : at + 1] != ",":
                break
            at += 1
    if text[at : at + 1] != ")":
        raise UnsupportedError(f"{text!r} lacks a ')' at {text[at:]!r}")

    fits = _takes(name, len(arguments))

    def evaluate(roots: Roots) -> Json:
        values = [argument(roots) for argument in arguments]
        try:
            _wants(fits, f"{len(values)} is not a number of arguments that it takes")
            return function(*values)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, RecursionError) as error:
            # Whatever a function can't take is one error to AWS.
            cause = f"The function '{text[token.start('name') : at + 1]}' had the following error: {error}"
            raise StateError(INTRINSIC, cause, in_state=True) from error

    return evaluate, at + 1


def _takes(name: str, arguments: int) -> bool:
    try:
        inspect.signature(_FUNCTIONS[name]).bind(*range(arguments))
    except TypeError:
        return False
    return True


def _path_end(text: str, at: int) -> int:
    """Return where a path ends: at a comma or closing bracket outside its own brackets and quotes."""
    depth, quote = 0, ""
    while at < len(text):
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character in "[(":
            depth += 1
        elif character in "])":
            if depth == 0:
                return at
            depth -= 1
        elif character == "," and depth == 0:
            return at
        at += 1
    return at


def _unescaped(text: str) -> str:
    r"""Undo the escapes of a literal; ``\{`` and ``\}`` are left for States.Format."""
    return re.sub(r"\\(['\\])", r"\1", text)


def _wants(condition: object, what: str) -> None:
    if not condition:
        raise ValueError(what)


def _format(template: Json, *values: Json) -> str:
    _wants(isinstance(template, str), "the first argument must be a string")
    pieces = re.split(r"(\\[{}\\]|\{\})", template)
    left = list(values)
    out = []
    for piece in pieces:
        if piece == "{}":
            _wants(left, f"there are fewer arguments than {{}} in {template!r}")
            value = left.pop(0)
            out.append(_shown(value))
        else:
            out.append(piece[1:] if re.fullmatch(r"\\[{}\\]", piece) else piece)
    _wants(not left, f"there are more arguments than {{}} in {template!r}")
    return "".join(out)


def _shown(value: Json) -> str:
    """Write a value as States.Format does: objects and arrays are no JSON, but the texts of Java's collections."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return value if isinstance(value, str) else dumps(value)


def _whole(value: Json) -> int:
    """Numbers are rounded to integers, as AWS documents for its array and math functions: halves always go up."""
    _wants(number(value), f"{value!r} is not a number")
    return value if isinstance(value, int) else math.floor(value + 0.5)


def _list(value: Json) -> list[Json]:
    _wants(isinstance(value, list), f"{value!r} is not an array")
    return list(value)


def _text(value: Json) -> str:
    _wants(isinstance(value, str), f"{value!r} is not a string")
    return str(value)


def array_partition(items: Json, chunk: Json) -> list[Json]:
    """Cut an array into arrays of a size: ``States.ArrayPartition`` and ``$partition``."""
    items, chunk = _list(items), _whole(chunk)
    _wants(chunk > 0, "the chunk size must be positive")
    return [items[at : at + chunk] for at in range(0, len(items), chunk)]


def _array_range(first: Json, last: Json, step: Json) -> list[Json]:
    first, last, step = _whole(first), _whole(last), _whole(step)
    _wants(step != 0, "the step must not be 0")
    values = range(first, last + (1 if step > 0 else -1), step)
    _wants(len(values) <= _MAX_RANGE, f"an array range has at most {_MAX_RANGE} items")
    return list(values)


def same(one: Json, other: Json) -> bool:
    """Compare as JSON: true is not 1."""
    return dumps(one) == dumps(other) if isinstance(one, dict | list) else type(one) is type(other) and one == other


def _array_unique(items: Json) -> list[Json]:
    unique: dict[str, Json] = {}
    for item in _list(items):
        unique.setdefault(dumps(item), item)
    return list(unique.values())


def _array_get(items: Json, index: Json) -> Json:
    items, index = _list(items), _whole(index)
    _wants(0 <= index < len(items), f"index {index} is outside an array of {len(items)}")
    return items[index]


def _base64_encode(text: Json) -> str:
    _wants(len(_text(text)) <= _MAX_TEXT, f"the text may have {_MAX_TEXT} characters")
    return base64.b64encode(text.encode()).decode()


def _base64_decode(text: Json) -> str:
    _wants(len(_text(text)) <= _MAX_TEXT, f"the text may have {_MAX_TEXT} characters")
    # As Java's decoder: strict in its alphabet, though not about padding.
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-8", "replace")


def hash_text(value: Json, algorithm: Json) -> str:
    """Return a hash in hexadecimal digits: ``States.Hash`` and ``$hash``."""
    _wants(algorithm in _HASHES, f"the algorithm must be one of {', '.join(_HASHES)}")
    text = value if isinstance(value, str) else dumps(value)
    return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()


def _merge(one: Json, other: Json, deep: Json) -> dict[str, Json]:
    _wants(isinstance(one, dict) and isinstance(other, dict), "both must be objects")
    _wants(deep is False, "only a shallow merge is supported: give false")
    return {**one, **other}


def random_between(first: Json, last: Json, *seed: Json) -> int:
    """Return a whole number from the first on and below the last: ``States.MathRandom``."""
    _wants(len(seed) <= 1, "there are at most three arguments")
    first, last = _whole(first), _whole(last)
    _wants(first < last, "the end must be above the start")
    # A seeded number repeats itself here too, though it isn't the one that AWS's generator gives.
    generator = random.Random(_whole(seed[0])) if seed else random.Random()  # noqa: S311 - not for secrets
    return generator.randrange(first, last)


def _split(text: Json, delimiters: Json) -> list[str]:
    if not _text(delimiters):
        return [text] if _text(text) else []
    pattern = "[" + re.escape(delimiters) + "]"
    return [piece for piece in re.split(pattern, _text(text)) if piece]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "States.Format": _format,
    "States.Array": lambda *values: list(values),
    "States.ArrayPartition": array_partition,
    "States.ArrayContains": lambda items, value: any(same(item, value) for item in _list(items)),
    "States.ArrayRange": _array_range,
    "States.ArrayGetItem": _array_get,
    "States.ArrayLength": lambda items: len(_list(items)),
    "States.ArrayUnique": _array_unique,
    "States.Base64Encode": _base64_encode,
    "States.Base64Decode": _base64_decode,
    "States.Hash": hash_text,
    "States.JsonMerge": _merge,
    "States.StringToJson": lambda text: loads(_text(text)) if _text(text).strip() else None,
    "States.JsonToString": dumps,
    "States.MathRandom": random_between,
    "States.MathAdd": lambda one, other: _whole(one) + _whole(other),
    "States.StringSplit": _split,
    "States.UUID": lambda: str(uuid.uuid4()),
}
