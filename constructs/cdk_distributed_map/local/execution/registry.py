"""The map runs that the engine knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from cdk_distributed_map.local.execution.progress import Path
from cdk_distributed_map.local.execution.records import Spool
from distmap import limits


class MapRuns:
    """Map runs by their ARN and by the execution they are in.

    Args:
        spool: Where their children are kept.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.slots = asyncio.Semaphore(limits.MAX_OPEN_MAP_RUNS)
        """Map runs that may be open at once: the others wait after their first event."""
        self._by_arn: dict[str, Any] = {}
        self._by_execution: dict[str, list[tuple[Path, Any]]] = {}

    def add(self, state: Path, run: Any) -> None:
        """Add a run of the state at a path."""
        self._by_arn[run.arn] = run
        self._by_execution.setdefault(run.parent.arn, []).append((state, run))

    def get(self, arn: str) -> Any | None:
        """Return a run by its ARN."""
        return self._by_arn.get(arn)

    def of(self, execution: str) -> list[Any]:
        """Return the runs of an execution, the latest first."""
        return [run for _, run in reversed(self._by_execution.get(execution, []))]

    def remove(self, execution: str) -> None:
        """Forget the runs of an execution, and those of their children."""
        gone = {run.arn for _, run in self._by_execution.pop(execution, [])}
        for arn in gone:
            del self._by_arn[arn]
        if gone:
            within = [arn for arn, runs in self._by_execution.items() if runs[0][1].parent.map_run in gone]
            for arn in within:
                self.remove(arn)

    def to_resume(self, execution: Any) -> dict[Path, Any]:
        """Return the runs that a redrive of an execution goes on with, by the path of their state.

        After a result over the payload limit, or an error in what an item is selected by, AWS makes a new one. A run
        whose failure was caught is over: its state, if it comes round again, makes a new one, or fails before it does.
        """
        reached = execution.progress.checkpoints
        latest = dict(self._by_execution.get(execution.arn, []))
        return {
            path: run
            for path, run in latest.items()
            if run.status != "SUCCEEDED"
            and not run.anew
            and path[:-1] in reached
            and reached[path[:-1]].state == path[-1]
            and reached[path[:-1]].number == run.entered
        }

    def labelled(self, machine: str, label: str) -> Iterator[Any]:
        """Return the runs of a label."""
        return (run for run in self._by_arn.values() if run.root_name == machine and run.label == label)
