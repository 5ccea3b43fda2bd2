"""The evaluation context of a state: what its expressions can see while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local.asl.json_text import Json


class EvaluationContext:
    """The values behind ``$``, ``$$``, ``$states`` and the variables.

    Args:
        input: Raw input of the state.
        context: Context object.
        variables: Variables assigned so far.
    """

    __slots__ = ("_bindings", "context", "error", "input", "result", "root", "variables")

    def __init__(self, input: Json, context: Mapping[str, Any], variables: Mapping[str, Json]) -> None:
        self.input = input
        self.context = context
        self.variables = variables
        self.root = input
        self.result: Json = None
        self.error: Json = None
        self._bindings: dict[str, Json] | None = None

    def with_root(self, root: Json) -> EvaluationContext:
        """Return the context with another root of JSONPath."""
        other = EvaluationContext(self.input, self.context, self.variables)
        other.root = root
        return other

    def with_context(self, context: Mapping[str, Any]) -> EvaluationContext:
        """Return the context with another context object."""
        other = EvaluationContext(self.input, context, self.variables)
        other.root = self.root
        return other

    def with_result(self, result: Json) -> EvaluationContext:
        """Return the context in which the state has a result."""
        other = self.with_root(result)
        other._bindings = {  # noqa: SLF001 - its own class
            **self.variables,
            "states": {"input": self.input, "context": self.context, "result": result},
        }
        return other

    def with_error(self, error_output: Json) -> EvaluationContext:
        """Return the context in which the state has failed."""
        other = self.with_root(error_output)
        other._bindings = {  # noqa: SLF001 - its own class
            **self.variables,
            "states": {"input": self.input, "context": self.context, "errorOutput": error_output},
        }
        return other

    @property
    def bindings(self) -> Mapping[str, Json]:
        """What JSONata can see."""
        if self._bindings is None:
            self._bindings = {**self.variables, "states": {"input": self.input, "context": self.context}}
        return self._bindings
