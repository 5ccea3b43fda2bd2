"""How data goes through a state: one class for JSONPath, one for JSONata."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.asl.paths import NotFoundError, Path, compile_path, put
from cdk_distributed_map.local.asl.templates import (
    Template,
    constant,
    json_path_template,
    jsonata_template,
    plain_path,
)
from cdk_distributed_map.local.errors import UnsupportedError, conflict

JSON_PATH = "JSONPath"
JSONATA = "JSONata"


class Flow(abc.ABC):
    """The fields of a state that change its data.

    Args:
        name: Name of the query language.
        assign: Compiled ``Assign``, None without one.
    """

    language: str
    assign: Template | None

    @abc.abstractmethod
    def template(self, value: Json, field: str) -> Template:
        """Compile a field of this language."""

    @abc.abstractmethod
    def enter(self, evaluation: EvaluationContext) -> EvaluationContext:
        """Return the evaluation context with the state's effective input as its root."""

    @abc.abstractmethod
    def arguments(self, evaluation: EvaluationContext, default: Json) -> Json:
        """Return ``Parameters`` or ``Arguments``, or the default without them."""

    @abc.abstractmethod
    def output(self, evaluation: EvaluationContext, result: Json) -> Json:
        """Return the output of a state that has a result."""

    @abc.abstractmethod
    def passed(self, evaluation: EvaluationContext) -> Json:
        """Return the output of a state that has no result: Choice, Wait, Succeed."""

    @abc.abstractmethod
    def assigned(self, evaluation: EvaluationContext, result: Json) -> Mapping[str, Json]:
        """Return the variables that ``Assign`` sets."""


class JsonPathFlow(Flow):
    """InputPath, Parameters, ResultSelector, ResultPath, OutputPath and Assign.

    Args:
        state: The state's fields.
        parameters: Name of the field with its parameters. Default: ``Parameters``.
    """

    language = JSON_PATH

    def __init__(self, state: Mapping[str, Any], *, parameters: str = "Parameters") -> None:
        self._input = _path_field(state, "InputPath")
        self._output = _path_field(state, "OutputPath")
        self._parameters = json_path_template(state[parameters]) if parameters in state else None
        self._selector = json_path_template(state["ResultSelector"]) if "ResultSelector" in state else None
        self._result_text = state.get("ResultPath", "$")
        self._result = None
        if isinstance(self._result_text, str) and self._result_text != "$":
            self._result = reference_path(self._result_text, "a state")
        self.assign = json_path_template(state["Assign"]) if "Assign" in state else None

    def template(self, value: Json, field: str) -> Template:
        """Compile a payload template."""
        del field
        return json_path_template(value)

    def enter(self, evaluation: EvaluationContext) -> EvaluationContext:
        """Apply InputPath."""
        return evaluation if self._input is None else evaluation.with_root(self._input(evaluation))

    def arguments(self, evaluation: EvaluationContext, default: Json) -> Json:
        """Apply Parameters."""
        return default if self._parameters is None else self._parameters(evaluation)

    def select(self, evaluation: EvaluationContext, result: Json) -> Json:
        """Apply ResultSelector."""
        return result if self._selector is None else self._selector(evaluation.with_root(result))

    def output(self, evaluation: EvaluationContext, result: Json) -> Json:
        """Apply ResultSelector, ResultPath and OutputPath."""
        return self.place(evaluation, self.select(evaluation, result))

    def place(self, evaluation: EvaluationContext, selected: Json) -> Json:
        """Apply ResultPath and OutputPath."""
        if self._result_text is None:
            placed = evaluation.input
        elif self._result is None:
            placed = selected
        else:
            try:
                placed = put(self._result, evaluation.input, selected)
            except NotFoundError as error:
                raise conflict(str(self._result_text), dumps(evaluation.input)) from error
        return placed if self._output is None else self._output(evaluation.with_root(placed))

    def passed(self, evaluation: EvaluationContext) -> Json:
        """Apply OutputPath."""
        return evaluation.root if self._output is None else self._output(evaluation)

    def assigned(self, evaluation: EvaluationContext, result: Json) -> Mapping[str, Json]:
        """Evaluate Assign, whose ``$`` is the state's result."""
        return {} if self.assign is None else self.assign(evaluation.with_root(result))


class JsonataFlow(Flow):
    """Arguments, Output and Assign.

    Args:
        state: The state's fields.
    """

    language = JSONATA

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._arguments = jsonata_template(state["Arguments"], "Arguments") if "Arguments" in state else None
        self._output = jsonata_template(state["Output"], "Output") if "Output" in state else None
        self.assign = jsonata_template(state["Assign"], "Assign") if "Assign" in state else None

    def template(self, value: Json, field: str) -> Template:
        """Compile a value with expressions in it."""
        return jsonata_template(value, field)

    def enter(self, evaluation: EvaluationContext) -> EvaluationContext:
        """Return the evaluation context: JSONata has no InputPath."""
        return evaluation

    def arguments(self, evaluation: EvaluationContext, default: Json) -> Json:
        """Evaluate Arguments."""
        return default if self._arguments is None else self._arguments(evaluation)

    def output(self, evaluation: EvaluationContext, result: Json) -> Json:
        """Evaluate Output, the result without it."""
        return result if self._output is None else self._output(evaluation.with_result(result))

    def passed(self, evaluation: EvaluationContext) -> Json:
        """Evaluate Output, the input without it."""
        return evaluation.input if self._output is None else self._output(evaluation)

    def assigned(self, evaluation: EvaluationContext, result: Json) -> Mapping[str, Json]:
        """Evaluate Assign."""
        return {} if self.assign is None else self.assign(evaluation.with_result(result))


def reference_path(text: str, where: str) -> Path:
    """Compile a path that leads to one place, as ResultPath must.

    Raises:
        UnsupportedError: It can lead to several, or not into the input.
    """
    path = compile_path(text)
    if path.steps is None or path.kind != "input":
        raise UnsupportedError(f"{where} has ResultPath {text!r}: give '$' with fields and indexes, or null")
    return path


def _path_field(state: Mapping[str, Any], field: str) -> Any:
    text = state.get(field, "$")
    if text is None:
        return constant({})
    return None if text == "$" else plain_path(text, field)
