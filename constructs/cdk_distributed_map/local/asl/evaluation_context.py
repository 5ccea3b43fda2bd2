"""What the expressions of a state can see while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local.asl.json_text import Json


class Scene:
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

    def at(self, root: Json) -> Scene:
        """Return the scene with another root of JSONPath."""
        other = Scene(self.input, self.context, self.variables)
        other.root = root
        return other

    def in_context(self, context: Mapping[str, Any]) -> Scene:
        """Return the scene with another context object."""
        other = Scene(self.input, context, self.variables)
        other.root = self.root
        return other

    def after(self, result: Json) -> Scene:
        """Return the scene in which the state has a result."""
        other = self.at(result)
        other._bindings = {  # noqa: SLF001 - its own class
            **self.variables,
            "states": {"input": self.input, "context": self.context, "result": result},
        }
        return other

    def failed(self, error_output: Json) -> Scene:
        """Return the scene in which the state has failed."""
        other = self.at(error_output)
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
