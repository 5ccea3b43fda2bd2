"""The map runs that the engine knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cdk_distributed_map.local.distributed._records import Spool


class MapRuns:
    """Map runs by their ARN and by the execution they are in.

    Args:
        spool: Where their children are kept.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self._by_arn: dict[str, Any] = {}
        self._by_execution: dict[str, list[tuple[str, Any]]] = {}

    def add(self, state: str, run: Any) -> None:
        """Add a run of a state."""
        self._by_arn[run.arn] = run
        self._by_execution.setdefault(run.parent.arn, []).append((state, run))

    def get(self, arn: str) -> Any | None:
        """Return a run by its ARN."""
        return self._by_arn.get(arn)

    def of(self, execution: str) -> list[Any]:
        """Return the runs of an execution, the latest first."""
        return [run for _, run in reversed(self._by_execution.get(execution, []))]

    def last_of(self, execution: str, state: str) -> Any | None:
        """Return the latest run of a state in an execution."""
        runs = [run for name, run in self._by_execution.get(execution, []) if name == state]
        return runs[-1] if runs else None

    def labelled(self, machine: str, label: str) -> Iterator[Any]:
        """Return the runs of a label."""
        return (run for run in self._by_arn.values() if run.root_name == machine and run.label == label)
