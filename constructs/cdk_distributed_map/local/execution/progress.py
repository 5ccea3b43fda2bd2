"""How far each sequence of states of an execution has come, so that a redrive runs only what hasn't succeeded.

A sequence (the top level, a branch of a Parallel, an iteration of an inline Map) has a path: the names and numbers
on the way to it. https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cdk_distributed_map.local.asl.json_text import Json

Path = tuple[str | int, ...]


class Checkpoint(NamedTuple):
    """The state that a sequence had come to."""

    state: str
    input: Json
    variables: Mapping[str, Json]
    number: int
    """Id of the event that it was entered with."""
    entered: float


class Progress:
    """Checkpoints and outputs of sequences."""

    __slots__ = ("checkpoints", "outputs")

    def __init__(self, kept: Any = None) -> None:
        checkpoints, outputs = ({}, {}) if kept is None else kept
        self.checkpoints: dict[Path, Checkpoint] = {path: Checkpoint(*each) for path, each in checkpoints.items()}
        self.outputs: dict[Path, Json] = dict(outputs)

    def reached(self, path: Path, at: Checkpoint) -> None:
        """Note that a sequence has come to a state."""
        self.checkpoints[path] = at

    def is_inside(self, path: Path) -> bool:
        """Tell whether anything inside a state, or inside one of its branches, has begun."""
        return any(each[: len(path)] == path for kept in (self.checkpoints, self.outputs) for each in kept)

    def ended(self, path: Path, output: Json) -> None:
        """Note that a sequence has succeeded."""
        self.checkpoints.pop(path, None)
        self.outputs[path] = output

    def discard(self, path: Path) -> None:
        """Forget what is inside a state: it has ended, or begins anew."""
        if len(self.checkpoints) + len(self.outputs) <= 1:
            return
        for kept in (self.checkpoints, self.outputs):
            for each in [each for each in kept if each[: len(path)] == path]:
                del kept[each]

    def packed(self) -> Any:
        """Return it in plain tuples and dictionaries."""
        return {path: tuple(each) for path, each in self.checkpoints.items()}, self.outputs
