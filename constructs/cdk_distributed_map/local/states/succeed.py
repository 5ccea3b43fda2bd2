"""Succeed."""

from __future__ import annotations

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.state import Outcome, State


class SucceedState(State):
    """Ends the sequence of states."""

    type = "Succeed"
    json_path_fields = frozenset({"InputPath", "OutputPath"})
    jsonata_fields = frozenset({"Output"})
    transitions = False

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """End."""
        del entered
        output = self.flow.passed(self.flow.enter(evaluation))
        return self.exit(frame, evaluation, output, {}, None)
