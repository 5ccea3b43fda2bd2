"""From what users write (numbers, JSONPath, JSONata) to the JSONata that the states are rendered in.

Every state of a pipeline is rendered in JSONata with its own ``QueryLanguage``, because that is the one form
Step Functions accepts in a JSONPath machine and in a JSONata machine alike: a machine whose top level is
JSONata refuses single states in JSONPath (https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html).
JSONPath stays what users may write. No library translates one into the other, so the reference paths are
translated here: fields and indexes, and ``[*]`` at the end. Everything else is refused with the remedy; ``[*].name``
too, since JSONata would flatten what JSONPath keeps apart.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack, Token
from aws_cdk import aws_stepfunctions as sfn
from constructs import IConstruct

from cdk_distributed_map.settings import checks, intrinsics
from distmap import limits

_SEGMENT = re.compile(
    r"""\.(?P<name>[^\W\d][\w-]*)            # .name
      | \[\s*'(?P<single>[^'\\]+)'\s*\]      # ['name']
      | \[\s*"(?P<double>[^"\\]+)"\s*\]      # ["name"]
      | \[\s*(?P<index>-?\d+)\s*\]           # [3]
      | (?P<all>\[\*\])\Z                    # [*], which is the array itself
    """,
    re.VERBOSE,
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset({"and", "or", "in", "true", "false", "null", "function"})

INPUT = "$states.input"
CONTEXT = "$states.context"


def is_jsonata(value: object) -> bool:
    """Tell whether a value is a JSONata expression as Step Functions writes it: ``{% ... %}``."""
    return isinstance(value, str) and value.startswith("{%") and value.rstrip().endswith("%}")


def wrap(jsonata: str) -> str:
    """Return a JSONata expression as Step Functions writes it."""
    return f"{{% {jsonata} %}}"


def quote(text: str) -> str:
    """Return a string as a JSONata literal; tokens inside it survive."""
    return json.dumps(text, ensure_ascii=False)


def from_json_path(path: str, *, name: str) -> str:
    """Translate a reference path into JSONata.

    Args:
        path: JSONPath such as ``$.a.b[0]`` or ``$$.Execution.Name``.
        name: What the path is for, named in errors.

    Returns:
        JSONata over ``$states``.

    Raises:
        ValueError: The path uses something other than fields and indexes.
    """
    root, rest = (CONTEXT, path[2:]) if path.startswith("$$") else (INPUT, path[1:])
    out, at = [root], 0
    while at < len(rest):
        segment = _SEGMENT.match(rest, at)
        if segment is None:
            raise ValueError(
                f"{name} has the path {path!r}, of which {rest[at:]!r} can't be translated: "
                "use fields and indexes, or write JSONata as '{% ... %}'"
            )
        at = segment.end()
        field = segment["name"] or segment["single"] or segment["double"]
        if field is not None:
            out.append(f".{_field(field, path=path, name=name)}")
        elif segment["index"] is not None:
            out.append(f"[{segment['index']}]")
    return "".join(out)


def _field(field: str, *, path: str, name: str) -> str:
    if _PLAIN_NAME.match(field) and field not in _RESERVED:
        return field
    if "`" in field:
        raise ValueError(f"{name} has the path {path!r} with a back quote in a name: write JSONata as '{{% ... %}}'")
    return f"`{field}`"


def to_jsonata(scope: IConstruct, value: str, *, name: str) -> str:
    """Return the JSONata (without its braces) of a JSONPath, a JSONata string or a ``JsonPath`` token.

    Raises:
        ValueError: The value is neither.
    """
    text = Stack.of(scope).resolve(value) if sfn.JsonPath.is_encoded_json_path(value) else value
    if is_jsonata(text):
        return str(text).strip()[2:-2].strip()
    if isinstance(text, str) and text.startswith("$"):
        return from_json_path(text, name=name)
    if intrinsics.is_intrinsic(text):
        return intrinsics.to_jsonata(text, name=name, path=lambda path: from_json_path(path, name=name))
    raise ValueError(
        f"{name} got {text!r}: give a JSONPath such as '$.bucket', a context path such as '$$.Execution.Name', "
        "or JSONata as '{% ... %}'"
    )


def expression(scope: IConstruct, value: str, *, name: str) -> str:
    """Return :func:`to_jsonata` with the braces of a state's field."""
    return wrap(to_jsonata(scope, value, name=name))


def number(scope: IConstruct, value: float | str, *, name: str, bounds: tuple[int, int] | None = None) -> float | str:
    """Return a number as it is, a token as it is, and a path or JSONata as an expression.

    Args:
        scope: Where tokens are resolved.
        value: The number.
        name: What it is, named in errors.
        bounds: Least and most that an expression may yield, for numbers of which AWS takes some for something else:
            with 0 as MaxItems it reads everything, with 0 as MaxConcurrency it runs 10,000 children. Default: any.
    """
    text: str | None = None
    if isinstance(value, str):
        if checks.is_token(value) and not sfn.JsonPath.is_encoded_json_path(value):
            return value
        text = value
    elif checks.is_token(value):
        resolved = Stack.of(scope).resolve(value)
        if isinstance(resolved, str) and resolved.startswith(("$", "States.")):
            text = resolved
    if text is None:
        return value
    expression = to_jsonata(scope, text, name=name)
    return wrap(expression if bounds is None else _bounded(expression, bounds, name=name))


def _bounded(jsonata: str, bounds: tuple[int, int], *, name: str) -> str:
    """Return JSONata that fails where what it yields is not a whole number within bounds."""
    least, most = bounds
    wrong = f"$n < {least} or $n > {most} or $floor($n) != $n"
    message = quote(f"{name} must be a whole number between {least:,} and {most:,}, got ")
    return (
        f'($n := {jsonata}; $bad := $type($n) = "number" ? ({wrong}) : true; '
        f"$bad ? $error({message} & $string($n)) : $n)"
    )


def is_expression(value: object) -> bool:
    """Tell whether a text is a path, JSONata or a token of ``JsonPath``, not a literal or a token of a deployment."""
    if not isinstance(value, str):
        return False
    return value.startswith(("$.", "$$.", "$[", "{%")) or value == "$" or sfn.JsonPath.is_encoded_json_path(value)


def template(scope: IConstruct, value: Any, *, name: str) -> Any:
    """Render a payload template: every JSONPath and JSONata inside it becomes an expression.

    Paths are given as ``JsonPath.string_at("$.x")``, or under a key that ends in ``.$`` as in the Amazon States
    Language. A bare string that looks like a path is refused rather than taken literally.

    Raises:
        ValueError: A string looks like a path but isn't marked as one, a path can't be translated, a key occurs both
            with and without ``.$``, or a value would come out of jsii as another one.
        TypeError: A key isn't a string, or a value isn't JSON.
    """
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, str) and f"{key}.$" in value:
                raise ValueError(f"{name} has both {key!r} and {key + '.$'!r}, which are one key: take out one of them")
        return {_key(key, name): _entry(scope, key, item, name=f"{name}[{key!r}]") for key, item in value.items()}
    if _may_be_token(value) and checks.is_token(value):
        return _token(scope, value, name=name)
    if isinstance(value, list | tuple):
        return [template(scope, item, name=f"{name}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(scope, _exact(value, name), name=name)
    if isinstance(value, str):
        return _text(scope, _whole_text(value, name), name=name)
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"{name} must be JSON, got {value!r}")
    return value


def _token(scope: IConstruct, value: Any, *, name: str) -> Any:
    """Return a path to a list or an object, an intrinsic function, or a list that is known only at deployment."""
    resolved = Stack.of(scope).resolve(value)
    if isinstance(resolved, str) and resolved.startswith(("$", "States.")):
        return expression(scope, resolved, name=name)
    if _is_list_token(value):
        return value
    raise ValueError(
        f"{name} is a token of {json.dumps(resolved):.80}, which would not come out of jsii: give what it stands "
        "for, or Token.as_string of it where that is a text"
    )


def _may_be_token(value: object) -> bool:
    """Tell what Node is to be asked about: it knows nothing of Python's own objects, and no NaN inside a list."""
    return _is_list_token(value) or (value is not None and hasattr(value, "resolve"))


def _is_list_token(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0].startswith("#{")


def _exact(value: float, name: str) -> float:
    """Return a number as plain JSON, or refuse one that a double, which is what jsii and JSONata have, can't hold."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be JSON, got {value!r}: JSON has no such number")
        return value
    if abs(value) > limits.MAX_EXACT_INTEGER:
        raise ValueError(
            f"{name} must be a number within {limits.MAX_EXACT_INTEGER:,}, which a double holds exactly, got {value}: "
            "give it as a string"
        )
    return int(value)


def _whole_text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be text, got {value!r:.100}: half of a character has no UTF-8") from error
    return str.__str__(value)


def _text(scope: IConstruct, value: str, *, name: str) -> str:
    if value == sfn.JsonPath.DISCARD:
        raise ValueError(f"{name} got JsonPath.DISCARD, which only the paths of states have: give None for a null")
    if is_jsonata(value) or sfn.JsonPath.is_encoded_json_path(value):
        return expression(scope, value, name=name)
    if value.strip().startswith("{%") or value.strip().endswith("%}"):
        raise ValueError(f"{name} got {value!r}: JSONata begins with '{{%' and ends with '%}}', without spaces outside")
    if re.match(r"\$\$?[.\[]", value) or value in {"$", "$$"}:
        raise ValueError(
            f"{name} got the text {value!r}, which looks like a path but would be taken literally: "
            "use JsonPath.string_at(...), or end the key in '.$'"
        )
    return value


def _key(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has the key {key!r}, which must be a string")
    if key.startswith("$jsii.") or key == "__proto__":
        raise ValueError(f"{name} has the key {key!r}, which means something else to jsii: give it another name")
    return _whole_text(key, name).removesuffix(".$")


def _entry(scope: IConstruct, key: str, value: Any, *, name: str) -> Any:
    if key.endswith(".$"):
        if not isinstance(value, str):
            raise TypeError(f"{name} ends in '.$' and must hold a path, got {value!r}")
        return expression(scope, value, name=name)
    return template(scope, value, name=name)


def source_text(rendered: Any) -> str:
    """Return a rendered template as one JSONata expression, so that it can stand inside another."""
    if isinstance(rendered, Mapping):
        return "{" + ", ".join(f"{quote(key)}: {source_text(item)}" for key, item in rendered.items()) + "}"
    if _is_list_token(rendered):
        raise ValueError(
            "a list that is known only at deployment can't stand in item_selector: give its elements, as in "
            "Fn.select(0, ...), or put it into batch_input"
        )
    if isinstance(rendered, list):
        return _list_text(rendered)
    if is_jsonata(rendered):
        return f"({rendered.strip()[2:-2].strip()})"
    if isinstance(rendered, str):
        return quote(rendered)
    return json.dumps(rendered)


def number_text(rendered: float | str) -> str:
    """Return a rendered number (see :func:`number`) as JSONata, so that it can stand inside an expression."""
    if isinstance(rendered, str):
        return source_text(rendered) if is_jsonata(rendered) else f"$number({quote(rendered)})"
    return Token.as_string(rendered) if checks.is_token(rendered) else json.dumps(rendered)


def _list_text(items: list[Any]) -> str:
    if not any(is_jsonata(item) for item in items):
        return "[" + ", ".join(source_text(item) for item in items) + "]"
    return intrinsics.array([(source_text(item), not is_jsonata(item)) for item in items])
