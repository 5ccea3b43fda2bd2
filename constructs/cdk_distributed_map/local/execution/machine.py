"""A state machine, as an execution of it sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdk_distributed_map import arns


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The state machine that an execution runs.

    Args:
        arn: Its ARN, or that of a map's children: ``...:stateMachine:<name>/<label>``.
        name: Its name.
        role: ARN of its role.
        express: Whether its executions are Express.
        definition: Text of the definition.
        revision: Id of the revision.
        version: ARN of the version it was started by, itself or through an alias, if any.
        alias: ARN of the alias it was started by, if any.
        logging: Its logging configuration, None where the embedded AWS tells none.
        tracing: Its tracing configuration, None likewise.
        updated: When it was made or last changed, None likewise.
        key: KMS key of its executions' data, None for AWS's own.
    """

    arn: str
    name: str
    role: str
    express: bool = False
    definition: str = ""
    revision: str = ""
    version: str | None = None
    alias: str | None = None
    logging: Mapping[str, Any] | None = None
    tracing: Mapping[str, Any] | None = None
    updated: float | None = None
    key: str | None = None

    @property
    def unlabelled(self) -> str:
        """ARN of the state machine itself, also for a map's children."""
        return self.parsed.machine_arn()

    @property
    def label(self) -> str:
        """Label of the map whose children it is of; empty for the state machine itself."""
        return self.parsed.label

    @property
    def parsed(self) -> arns.StatesArn:
        """Its ARN, taken apart."""
        parsed = arns.split_states(self.arn)
        if parsed is None:
            raise ValueError(f"a state machine must have an ARN of Step Functions, got {self.arn!r}")
        return parsed
