"""Wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cdk_distributed_map.local.asl.evaluation_context import EvaluationContext
from cdk_distributed_map.local.asl.flow import JSONATA
from cdk_distributed_map.local.asl.json_text import Json, dumps, number
from cdk_distributed_map.local.asl.jsonata import is_expression
from cdk_distributed_map.local.asl.paths import NotFoundError, compile_path
from cdk_distributed_map.local.asl.rules import MAX_SECONDS, Rule
from cdk_distributed_map.local.asl.templates import Template, constant, jsonata_template
from cdk_distributed_map.local.errors import UnsupportedError, evaluation_error, runtime
from cdk_distributed_map.local.execution.frame import ExecutionFrame
from cdk_distributed_map.local.states.state import Outcome, State

_FIELDS = ("Seconds", "SecondsPath", "Timestamp", "TimestampPath")
_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2})?)(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}(?::\d{2})?)", re.ASCII
)

_WRITTEN = {
    "Seconds": Rule(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS,
        f"give an integer from 0 to {MAX_SECONDS}, or SecondsPath",
    ),
    "Timestamp": Rule(
        lambda value: isinstance(value, str) and _TIMESTAMP.fullmatch(value) is not None,
        "give one such as 2026-01-31T12:00:00Z, or TimestampPath",
    ),
}


class WaitState(State):
    """Waits for a time or until one."""

    type = "Wait"
    fields = frozenset({"Seconds", "Timestamp", "Assign"})
    json_path_fields = frozenset({"SecondsPath", "TimestampPath", "InputPath", "OutputPath"})
    jsonata_fields = frozenset({"Output"})

    def __init__(self, name: str, fields: Mapping[str, Any], language: str) -> None:
        super().__init__(name, fields, language)
        present = [field for field in _FIELDS if field in fields]
        if len(present) != 1:
            raise UnsupportedError(f"state {name!r} must have exactly one of {', '.join(_FIELDS)}, got {present}")
        self._field = present[0]
        self._value = fields[present[0]]
        self._check_written(name)
        self._template: Template = constant(self._value)
        if language == JSONATA:
            self._template = jsonata_template(self._value, self._field)
        elif self._field.endswith("Path"):
            self._path = compile_path(self._value)

    def _check_written(self, name: str) -> None:
        value = self._value
        if is_expression(value) or self._field not in _WRITTEN:
            return
        if not _WRITTEN[self._field].accepts(value):
            raise UnsupportedError(f"state {name!r} has {self._field} {value!r}: {_WRITTEN[self._field].remedy}")

    async def execute(self, evaluation: EvaluationContext, frame: ExecutionFrame, entered: int) -> Outcome:
        """Wait."""
        del entered
        inner = self.flow.enter(evaluation)
        value = self._read(inner)
        clock = frame.services.clock
        if self._field.startswith("Seconds"):
            await clock.sleep(self._seconds(value))
        else:
            await clock.sleep(self._until(value) - clock.now())
        return self.exit(frame, evaluation, self.flow.passed(inner), self.flow.assigned(inner, inner.root), self.next)

    def _read(self, evaluation: EvaluationContext) -> Json:
        if not self._field.endswith("Path"):
            return self._template(evaluation)
        try:
            return self._path.get(evaluation)
        except NotFoundError as error:
            raise runtime(f"The {self._field} parameter does not reference an input value: {self._value}") from error

    def _seconds(self, value: Json) -> int:
        if self._field == "SecondsPath":
            shown = value if isinstance(value, str) else dumps(value)
            if not isinstance(value, int) or isinstance(value, bool):
                raise runtime(f"The SecondsPath parameter cannot be parsed as a long value: {self._value} == {shown}")
            if value < 0:
                raise runtime(f"The SecondsPath parameter references a negative value: {self._value} == {shown}")
        if not number(value) or int(value) != value or not 0 <= value <= MAX_SECONDS:
            cause = f"The Seconds field must be an integer from 0 to {MAX_SECONDS} but was: {dumps(value)}"
            raise evaluation_error(cause, "Seconds") if self.language == JSONATA else runtime(cause)
        return int(value)

    def _until(self, value: Json) -> float:
        found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            text = found[1] + (found[2] or "")[:7] + found[3].replace("Z", "+00:00")
            try:
                return datetime.fromisoformat(text).timestamp()
            except ValueError:
                pass
        wanted = "ISO-8601 extended offset date-time format string"
        shown = value if isinstance(value, str) else dumps(value)
        if self.language == JSONATA:
            raise evaluation_error(f"The Timestamp field cannot be parsed as an {wanted}: {shown}", "Timestamp")
        if self._field == "TimestampPath":
            raise runtime(f"The TimestampPath parameter does not reference a valid {wanted}: {self._value} == {shown}")
        raise runtime(f"The Timestamp parameter is not a valid {wanted}: {shown}")
