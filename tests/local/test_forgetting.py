"""Executions that have ended long ago are forgotten, with their map runs, and whoever asks for them is told so."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cdk_distributed_map.local.errors import ApiError
from cdk_distributed_map.local.execution.records import Spool
from cdk_distributed_map.local.execution.registry import MapRuns
from cdk_distributed_map.local.execution.store import Store

PREFIX = "arn:aws:states:us-east-1:000000000000"


def execution(name: str, status: str = "SUCCEEDED", map_run: str | None = None) -> Any:
    return SimpleNamespace(arn=f"{PREFIX}:execution:m:{name}", status=status, map_run=map_run)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store of ten executions."""
    spool = Spool()
    services: Any = SimpleNamespace(map_runs=MapRuns(spool))
    yield Store(services, most=10)
    spool.close()


def test_the_latest_executions_are_kept(store: Store) -> None:
    runs = store._services.map_runs
    for number in range(50):
        parent = execution(str(number), "RUNNING" if number == 0 else "SUCCEEDED")
        store.add(parent)
        run = SimpleNamespace(arn=f"{PREFIX}:mapRun:m/L:{number}", parent=parent)
        runs.add(("M",), run)
        inside = SimpleNamespace(
            arn=f"{PREFIX}:mapRun:m/N:{number}", parent=execution(f"child{number}", map_run=run.arn)
        )
        runs.add(("N",), inside)
    kept = [each for each in range(50) if store.known(execution(str(each)).arn) is not None]
    # That which runs is there still.
    assert kept[0] == 0
    assert kept[1:] == list(range(50 - len(kept) + 1, 50))
    assert 10 <= len(kept) <= 13
    assert len(runs._by_arn) == 2 * len(kept)
    assert len(runs._by_execution) == 2 * len(kept)


def test_fails_when_a_forgotten_execution_is_asked_for(store: Store) -> None:
    with pytest.raises(ApiError, match=r"Execution Does Not Exist: '[^']*:none'$"):
        store.execution(execution("none").arn)
    for number in range(15):
        store.add(execution(str(number)))
    word = r"the local AWS keeps the last 10 executions that have ended, and has forgotten \d+\)$"
    with pytest.raises(ApiError, match=word):
        store.execution(execution("0").arn)
    with pytest.raises(ApiError, match=word):
        store.map_run(f"{PREFIX}:mapRun:m/L:0")
