"""Pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.json_text import Json
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.state import Outcome, State


class PassState(State):
    """Passes its input on, changed or not."""

    type = "Pass"
    fields = frozenset({"Assign"})
    json_path_fields = frozenset({"InputPath", "OutputPath", "Parameters", "Result", "ResultPath"})
    jsonata_fields = frozenset({"Output"})

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        super().__init__(name, fields, language)
        self._has_result = "Result" in fields
        self._result: Json = fields.get("Result")
        self._plain = not set(fields) - {"Type", "Next", "End", "Comment", "QueryLanguage"}

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Pass."""
        del entered
        if self._plain:
            return self.exit(frame, evaluation, evaluation.input, {}, self.next)
        inner = self.flow.enter(evaluation)
        result = self._result if self._has_result else self.flow.arguments(inner, inner.root)
        output = self.flow.output(inner, result) if self.language == "JSONPath" else self.flow.passed(evaluation)
        assigned = (
            self.flow.assigned(inner, result) if self.language == "JSONPath" else self.flow.assigned(evaluation, None)
        )
        return self.exit(frame, evaluation, output, assigned, self.next)
