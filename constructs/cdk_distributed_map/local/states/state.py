"""What all states have in common."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA, Flow, JsonataFlow, JsonPathFlow
from cdk_distributed_map.local.asl.json_text import Json, checked, dumps, size
from cdk_distributed_map.local.errors import DATA_LIMIT, StateError, UnsupportedError
from cdk_distributed_map.local.execution.clock import iso
from cdk_distributed_map.local.execution.frame import ExecutionFrame, entered
from cdk_distributed_map.local.execution.history import text
from distmap import limits


class Outcome(NamedTuple):
    """Where a state leads."""

    next: str | None
    output: Json


class State(abc.ABC):
    """A compiled state.

    Args:
        name: Its name.
        fields: Its fields.
        language: Query language: its own, or that of the state machine.
    """

    type: ClassVar[str]
    fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of both query languages, beside the common ones."""
    json_path_fields: ClassVar[frozenset[str]] = frozenset()
    jsonata_fields: ClassVar[frozenset[str]] = frozenset()
    transitions: ClassVar[bool] = True
    """Whether it has Next or End."""

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        self.name = name
        self.language = language
        self._refuse_unknown(fields)
        self.flow: Flow = JsonataFlow(fields) if language == JSONATA else self.json_path_flow(fields)
        self.next: str | None = fields.get("Next")
        if self.transitions and (self.next is None) == (not fields.get("End", False)):
            raise UnsupportedError(f"state {name!r} must have either Next or End: true")

    def json_path_flow(self, fields: Mapping[str, Any]) -> Flow:
        """Return how data goes through the state in JSONPath."""
        return JsonPathFlow(fields)

    def _refuse_unknown(self, fields: Mapping[str, Any]) -> None:
        own = self.jsonata_fields if self.language == JSONATA else self.json_path_fields
        common = {"Type", "Comment", "QueryLanguage"} | ({"Next", "End"} if self.transitions else set())
        unknown = sorted(set(fields) - common - self.fields - own)
        if unknown:
            other = self.json_path_fields if self.language == JSONATA else self.jsonata_fields
            remedy = (
                f"it belongs to {'JSONPath' if self.language == JSONATA else 'JSONata'}: change QueryLanguage"
                if unknown[0] in other
                else "remove it, or run this state machine on AWS"
            )
            raise UnsupportedError(
                f"state {self.name!r} of type {self.type} has the field {unknown[0]!r}, which the local engine "
                f"doesn't run in {self.language}: {remedy}"
            )

    async def run(self, input: Json, frame: ExecutionFrame) -> Outcome:
        """Run the state.

        Raises:
            StateError: It failed and nothing caught it.
        """
        number, since = entered(frame, self.type, self.name, input)
        context = {**frame.context, "State": {"Name": self.name, "EnteredTime": iso(since)}}
        evaluation = EvaluationContext(input, context, frame.variables)
        frame.state = self.type
        try:
            outcome = await self.execute(evaluation, frame, number)
        except StateError as error:
            placed = error.placed_in(self.name, number)
            frame.evaluation_failed(placed, self.name)
            if placed.location is not None:
                placed.location = None
            raise placed from error
        frame.state = None
        return outcome

    def _remembered(self, known: Mapping[str, Json], assigned: Mapping[str, Json]) -> dict[str, Json]:
        """Return the variables with those that the state assigns.

        Raises:
            StateError: ``States.DataLimitExceeded``: they are too large.
        """
        variables = {**known, **assigned}
        for held, most in ((assigned, limits.MAX_ASSIGN_BYTES), (variables, limits.MAX_VARIABLES_BYTES)):
            found = sum(size(dumps(value)) for value in held.values())
            if found > most:
                cause = f"The variables of the state '{self.name}' have {found} bytes, more than the limit of {most}."
                raise StateError(DATA_LIMIT, cause, hidden_from_all=True)
        return variables

    @abc.abstractmethod
    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Do what the state does."""

    def exit(
        self,
        frame: ExecutionFrame,
        evaluation: EvaluationContext,
        output: Json,
        assigned: Mapping[str, Json],
        next: str | None,
    ) -> Outcome:
        """End the state: assign variables, add its last event."""
        if output is not evaluation.input:
            checked(output, what=self.name)
        details: dict[str, Any] = {"name": self.name, "output": text(output)}
        if assigned:
            frame.variables = self._remembered(frame.variables, assigned)
            details["assignedVariables"] = dict(assigned)
        frame.event(f"{self.type}StateExited", details)
        return Outcome(next, output)
