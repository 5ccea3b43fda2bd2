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
def map_runs() -> Iterator[MapRuns]:
    spool = Spool()
    yield MapRuns(spool)
    spool.close()


@pytest.fixture
def store(map_runs: MapRuns) -> Store:
    """A store of ten executions."""
    services: Any = SimpleNamespace(map_runs=map_runs)
    return Store(services, most=10)


def test_the_latest_executions_are_kept(store: Store, map_runs: MapRuns) -> None:
    for number in range(50):
        parent = execution(str(number), "RUNNING" if number == 0 else "SUCCEEDED")
        store.add(parent)
        run = SimpleNamespace(arn=f"{PREFIX}:mapRun:m/L:{number}", parent=parent)
        map_runs.add(("M",), run)
        inside = SimpleNamespace(
            arn=f"{PREFIX}:mapRun:m/N:{number}", parent=execution(f"child{number}", map_run=run.arn)
        )
        map_runs.add(("N",), inside)
    kept = [each for each in range(50) if store.known(execution(str(each)).arn) is not None]
    # That which runs is there still.
    assert kept[0] == 0
    assert kept[1:] == list(range(50 - len(kept) + 1, 50))
    assert 10 <= len(kept) <= 13
    for name, label in (("{}", "L"), ("child{}", "N")):
        assert [each for each in range(50) if map_runs.of(execution(name.format(each)).arn)] == kept
        assert [each for each in range(50) if map_runs.get(f"{PREFIX}:mapRun:m/{label}:{each}") is not None] == kept


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
