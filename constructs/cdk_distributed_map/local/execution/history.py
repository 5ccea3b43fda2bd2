"""The events of an execution."""

from __future__ import annotations

import copy
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json, dumps
from cdk_distributed_map.local.errors import RUNTIME, StateError
from distmap import limits

# Event types whose details have a name that isn't made from their own.
_DETAILS: Final = {
    "ExecutionRedriven": "executionRedrivenEventDetails",
}


Event = tuple[int, int, float, str, dict[str, Any] | None]
"""Id, id of the previous one, time, type and details: a plain tuple, because there are millions of them."""


def text(value: Json) -> tuple[Json]:
    """Return a value that history shows as JSON text: it is kept as it is and becomes one when it is read."""
    return (value,)


class History:
    """Events of one execution, in order.

    Args:
        kept: Whether they are kept. Express executions have none, though their states are numbered as events.
    """

    __slots__ = ("events", "kept", "last_id")

    def __init__(self, *, kept: bool = True) -> None:
        self.kept = kept
        self.last_id = 0
        self.events: list[Event] = []

    def add(self, type: str, previous: int, time: float, details: dict[str, Any] | None = None) -> int:
        """Add an event and return its id.

        Raises:
            StateError: The history has reached 25,000 events.
        """
        self.last_id += 1
        if self.kept:
            self.events.append((self.last_id, previous, time, type, details))
            # The last two are for the events that say so.
            if self.last_id == limits.MAX_HISTORY_EVENTS - 1 and not type.startswith("Execution"):
                cause = f"The execution reached the maximum number of history events ({limits.MAX_HISTORY_EVENTS})."
                raise StateError(RUNTIME, cause, terminal=True)
        return self.last_id


def state_details(type: str) -> str:
    """Return the name of an event's details."""
    if type in _DETAILS:
        return _DETAILS[type]
    for suffix in ("StateEntered", "StateExited"):
        if type.endswith(suffix):
            return f"state{suffix[5:]}EventDetails"
    return f"{type[0].lower()}{type[1:]}EventDetails"


def rendered(event: Event, *, include_data: bool = True) -> dict[str, Any]:
    """Return an event as GetExecutionHistory answers it."""
    number, previous, time, kind, raw = event
    shown: dict[str, Any] = {"timestamp": time, "type": kind, "id": number, "previousEventId": previous}
    if raw is not None:
        details: dict[str, Any] = {}
        for key, value in raw.items():
            if isinstance(value, tuple):
                if not include_data:
                    continue
                details[key] = dumps(value[0])
                if key in {"input", "output"}:
                    details[f"{key}Details"] = {"truncated": False}
            elif key == "assignedVariables":
                if value and include_data:
                    details[key] = {name: dumps(item) for name, item in value.items()}
                    details["assignedVariablesDetails"] = {"truncated": False}
            elif value is not None:
                details[key] = copy.copy(value)
        shown[state_details(kind)] = details
    return shown
