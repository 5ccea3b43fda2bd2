"""The executions that the engine knows."""

from __future__ import annotations

from typing import Any, Final

from cdk_distributed_map import arns
from cdk_distributed_map.local.errors import ApiError
from cdk_distributed_map.local.execution.frame import Execution
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.services import Services

MOST_ENDED: Final = 10_000
"""Executions that have ended and are kept: each takes some kilobytes, more with a long history. AWS keeps 90 days."""
_RUNNING: Final = frozenset({"RUNNING", "PENDING_REDRIVE"})


class Store:
    """Executions by ARN; a map's children are found through their map run.

    Args:
        services: Where the map runs are.
        most: How many of those that have ended are kept: the latest.
    """

    def __init__(self, services: Services, *, most: int = MOST_ENDED) -> None:
        self._services = services
        self._most = most
        self._executions: dict[str, Execution] = {}
        self._forgotten = 0

    def add(self, execution: Execution) -> None:
        """Add an execution; the oldest of too many are forgotten, with their map runs."""
        self._executions[execution.arn] = execution
        # Many at once, as each time all of them are looked at.
        if len(self._executions) > self._most + self._most // 10 + 1:
            ended = [arn for arn, each in self._executions.items() if each.status not in _RUNNING]
            for arn in ended[: max(len(ended) - self._most, 0)]:
                del self._executions[arn]
                self._services.map_runs.remove(arn)
                self._forgotten += 1

    def known(self, arn: str) -> Execution | None:
        """Return an execution that isn't a map's child, None where there is none."""
        return self._executions.get(arn)

    def of_machine(self, arn: str) -> list[Execution]:
        """Return the executions of a state machine, the latest first."""
        found = [execution for execution in self._executions.values() if arn in _named(execution.machine)]
        return found[::-1]

    def execution(self, arn: str) -> Execution:
        """Return an execution, a map's child included.

        Raises:
            ApiError: ``InvalidArn`` or ``ExecutionDoesNotExist``.
        """
        parsed = arns.split_states(arn)
        if parsed is None or not parsed.name or parsed.kind not in {"execution", "express"}:
            raise ApiError("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
        found = self._executions.get(arn)
        if found is None and parsed.label:
            found = self._child(parsed)
        if found is None:
            raise ApiError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'{self._word()}")
        return found

    def _word(self) -> str:
        if not self._forgotten:
            return ""
        return (
            f" (the local AWS keeps the last {self._most:,} executions that have ended, and has forgotten "
            f"{self._forgotten:,})"
        )

    def _child(self, arn: arns.StatesArn) -> Execution | None:
        for run in self._services.map_runs.labelled(arn.machine, arn.label):
            at = run.records.number(arn.name.partition(":")[0])
            if at is not None and run.child_arn(at) == arn.text():
                child: Execution = run.child(at)
                return child
        return None

    def map_run(self, arn: str) -> Any:
        """Return a map run.

        Raises:
            ApiError: ``InvalidArn`` or ``ResourceNotFound``.
        """
        parsed = arns.split_states(arn)
        if parsed is None or not parsed.name or ":" in parsed.name or parsed.kind != "mapRun":
            raise ApiError("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
        run = self._services.map_runs.get(arn)
        if run is None:
            raise ApiError("ResourceNotFound", f"Resource not found: '{arn}'{self._word()}")
        return run


def _named(machine: Machine) -> set[str | None]:
    return {machine.arn, machine.version, machine.alias}
