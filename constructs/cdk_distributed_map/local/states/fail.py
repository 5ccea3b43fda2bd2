"""Fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA
from cdk_distributed_map.local.asl.json_text import dumps
from cdk_distributed_map.local.asl.jsonata import unexpected_type
from cdk_distributed_map.local.asl.templates import Template, constant, jsonata_template, path_or_intrinsic
from cdk_distributed_map.local.errors import StateError, UnsupportedError, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.state import Outcome, State

_FIELDS: Final = ("Error", "Cause")


class FailState(State):
    """Fails with an error of its own."""

    type = "Fail"
    fields = frozenset({"Error", "Cause"})
    json_path_fields = frozenset({"ErrorPath", "CausePath"})
    transitions = False

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        super().__init__(name, fields, language)
        self._parts = {field: self._text(fields, field) for field in _FIELDS}
        self._written = {field: str(fields.get(field, fields.get(f"{field}Path"))) for field in _FIELDS}

    def _text(self, fields: Mapping[str, Any], field: str) -> Template | None:
        if field in fields and f"{field}Path" in fields:
            raise UnsupportedError(f"state {self.name!r} has {field} and {field}Path: give one of them")
        if f"{field}Path" in fields:
            return Template(path_or_intrinsic(fields[f"{field}Path"], f"{field}Path"))
        if field not in fields:
            return None
        return jsonata_template(fields[field], field) if self.language == JSONATA else constant(fields[field])

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Fail.

        Raises:
            StateError: Always.
        """
        del frame, entered
        error, cause = (self._value(field, evaluation) for field in _FIELDS)
        raise StateError(error, cause)

    def _value(self, field: str, evaluation: EvaluationContext) -> str | None:
        part = self._parts[field]
        if part is None:
            return None
        value = part(evaluation)
        if isinstance(value, str):
            return value
        if self.language == JSONATA:
            raise unexpected_type(self._written[field], field, "string", value)
        path = self._written[field]
        raise runtime(f'The {field}Path field refers to value "{dumps(value)}" which is not a valid string: {path}')
