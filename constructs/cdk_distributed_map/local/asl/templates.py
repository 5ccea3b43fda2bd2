"""Fields with expressions inside them, compiled: payload templates of JSONPath and JSONata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.intrinsics import compile_intrinsic, is_intrinsic
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.asl.jsonata import UNDEFINED, compile_expression, is_expression
from cdk_distributed_map.local.asl.paths import BeyondError, NotFoundError, Path, compile_path
from cdk_distributed_map.local.errors import UnsupportedError, runtime

Evaluator = Callable[[EvaluationContext], Json]
_NULL: Final = "Unable to apply Path transformation to null or empty input."


class Template:
    """A compiled field.

    Args:
        evaluate: What gives its value.
        constant: Whether it has no expression at all.
        invariant: Whether it says the same for every item of a map.
    """

    __slots__ = ("constant", "evaluate", "invariant")

    def __init__(self, evaluate: Evaluator, *, constant: bool = False, invariant: bool = False) -> None:
        self.evaluate = evaluate
        self.constant = constant
        self.invariant = constant or invariant

    def __call__(self, evaluation: EvaluationContext) -> Json:
        """Return the value."""
        return self.evaluate(evaluation)

    def frozen(self, evaluation: EvaluationContext) -> Template:
        """Return the template with what doesn't change between items filled in."""
        if not self.invariant or self.constant:
            return self
        value = self.evaluate(evaluation)
        return Template(lambda _evaluation: value, constant=True)


class Object(Template):
    """An object whose values are templates."""

    __slots__ = ("items",)

    def __init__(self, items: dict[str, Template]) -> None:
        self.items = items
        super().__init__(
            _build(items),
            constant=all(item.constant for item in items.values()),
            invariant=all(item.invariant for item in items.values()),
        )

    def frozen(self, evaluation: EvaluationContext) -> Template:
        """Return the object with what doesn't change between items filled in."""
        if self.invariant:
            return super().frozen(evaluation)
        return Object({key: item.frozen(evaluation) for key, item in self.items.items()})


def _build(items: dict[str, Template]) -> Evaluator:
    pairs = [(key, item.evaluate) for key, item in items.items()]
    return lambda evaluation: {key: evaluate(evaluation) for key, evaluate in pairs}


def constant(value: Json) -> Template:
    """Return a template that is a value."""
    return Template(lambda _evaluation: value, constant=True)


def jsonata_template(value: Json, field: str) -> Template:
    """Compile a value in which any string may be an expression.

    Raises:
        UnsupportedError: An expression can't be parsed.
    """
    if is_expression(value):
        expression = compile_expression(value)
        return Template(lambda evaluation: expression.value(evaluation.bindings, field), invariant=expression.invariant)
    if isinstance(value, dict):
        return Object({key: jsonata_template(item, f"{field}/{key}") for key, item in value.items()})
    if isinstance(value, list):
        items = [jsonata_template(item, f"{field}[{at}]") for at, item in enumerate(value)]
        if all(item.constant for item in items):
            return constant(value)
        invariant = all(item.invariant for item in items)
        return Template(lambda evaluation: [item.evaluate(evaluation) for item in items], invariant=invariant)
    return constant(value)


def json_path_template(value: Json) -> Template:
    """Compile a payload template: keys that end in ``.$`` hold paths or intrinsic functions.

    Raises:
        UnsupportedError: A path or a call can't be read.
    """
    if isinstance(value, dict):
        items: dict[str, Template] = {}
        for key, item in value.items():
            if key.endswith(".$"):
                items[key[:-2]] = Template(path_or_intrinsic(item, key), invariant=_steady(item))
            else:
                items[key] = json_path_template(item)
        return Object(items)
    if isinstance(value, list):
        parts = [json_path_template(item) for item in value]
        if all(part.constant for part in parts):
            return constant(value)
        return Template(lambda evaluation: [part.evaluate(evaluation) for part in parts])
    return constant(value)


def _steady(text: str) -> bool:
    """A path from the input or a variable, or into a part of the context that is the same for all items."""
    if text.startswith("$$"):
        return text.startswith(("$$.Execution", "$$.StateMachine", "$$.State."))
    return text.startswith("$") and "(" not in text


def path_or_intrinsic(text: Any, field: str) -> Evaluator:
    """Compile a path or an intrinsic function, for a field named in errors.

    Raises:
        UnsupportedError: It is neither.
    """
    if not isinstance(text, str):
        raise UnsupportedError(f"{field!r} holds {text!r}: give a path or an intrinsic function as a string")
    if is_intrinsic(text):
        call = compile_intrinsic(text)

        def invoke(evaluation: EvaluationContext) -> Json:
            try:
                return call(evaluation)
            except NotFoundError as error:
                raise runtime(f"The function '{text}' had the following error: {error}") from error

        return invoke
    path = compile_path(text)

    def missing(evaluation: EvaluationContext, error: NotFoundError) -> Json:
        if isinstance(error, BeyondError) and field.endswith(".$"):
            # As measured on AWS: in a payload template it is null, and no error as elsewhere.
            return None
        shown = dumps(evaluation.context if path.kind == "context" else evaluation.root)
        raise runtime(
            f"The JSONPath '{path.shown}' specified for the field '{field}' could not be found in the input '{shown}'"
        ) from error

    return _getter(path, missing)


def plain_path(text: Any, field: str) -> Evaluator:
    """Compile a path of a field such as InputPath, whose errors AWS words another way.

    Raises:
        UnsupportedError: It isn't a path.
    """
    if not isinstance(text, str):
        raise UnsupportedError(f"{field!r} holds {text!r}: give a path as a string")
    if is_intrinsic(text):
        return path_or_intrinsic(text, field)

    def missing(_evaluation: EvaluationContext, error: NotFoundError) -> Json:
        raise runtime(f"Invalid path '{text}' : {error}") from error

    return _getter(compile_path(text), missing)


def _getter(path: Path, missing: Callable[[EvaluationContext, NotFoundError], Json]) -> Evaluator:
    """Return what follows a path, and asks what to do where it leads nowhere."""

    def get(evaluation: EvaluationContext) -> Json:
        if evaluation.root is None and path.kind == "input":
            raise runtime(_NULL)
        try:
            return path.get(evaluation)
        except NotFoundError as error:
            return missing(evaluation, error)

    return get


__all__ = ["UNDEFINED", "Evaluator", "Template", "constant", "json_path_template", "jsonata_template"]
