"""Workers as people write them, through a deployed template: types, coroutines, time limits, where an item failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from cdk_distributed_map import Batching, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Run
from tests.cli.command import run_here
from tests.deployments import Deploy

HANDLER = """
import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from distmap import process_items
from prices import total

logger = logging.getLogger(__name__)


@dataclass
class Order:
    id: int
    day: date
    prices: list[Decimal]


@dataclass
class Bill:
    order: Order
    total: Decimal


@process_items(keep_output=True)
def typed(item: Order):
    print("order", item.id)
    logger.warning("of %s", item.day)
    return Bill(item, total(item.prices))


@process_items(concurrency=4, item_timeout=1)
async def waiting(item):
    waiting.most = max(getattr(waiting, "most", 0), len(asyncio.all_tasks()))
    await asyncio.sleep(60 if item == "stuck" else 0.01)
    return waiting.most


@process_items(item_timeout=1)
def limited(item):
    deadline = time.monotonic() + (60 if item == "stuck" else 0)
    while time.monotonic() < deadline:
        pass
    return item


@process_items
def single(item: Order):
    return total(item.prices)
"""
PRICES = """
def total(prices):
    return sum(prices) / first(prices)


def first(prices):
    return prices[0]  # none is free
"""
DAY = "2026-01-31"
ORDERS: list[Any] = [
    {"id": 0, "day": DAY, "prices": [1.5, 3]},
    {"id": 1, "day": DAY, "prices": []},
    {"id": "two", "day": DAY, "prices": [1]},
    {"id": 3, "day": DAY, "prices": [2]},
    {"id": 4, "day": DAY, "prices": []},
]


@pytest.fixture(scope="module")
def local(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    folder = tmp_path_factory.mktemp("items")
    code = folder / "code"
    code.mkdir()
    (code / "handler.py").write_text(HANDLER)
    (code / "prices.py").write_text(PRICES)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Items")
    for name in ("typed", "waiting", "limited", "single"):
        DistributedMapPipeline(
            stack,
            name.title(),
            items=ItemSource.state_array("$.items"),
            worker=Worker.python(str(code), handler=f"handler.{name}"),
            batching=Batching.none() if name == "single" else Batching(max_items=20),
            tolerated_failure_percentage=100,
            state_machine_name=name.title(),
        )
    app.synth()
    deploy(folder / "cdk.out")
    return shared_aws


@pytest.fixture
def run(local: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)

    def one(pipeline: str, items: list[Any], name: str) -> Run:
        local.run(local.state_machine(pipeline), {"items": items}, name=name)
        return Client().run(pipeline, name)

    return one


def test_items_and_results_are_typed_and_a_failure_says_where(
    run: Callable[..., Run], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = run("Typed", ORDERS, "orders")

    values = {each.index: each.value for each in done.results()}
    assert values == {
        0: {"order": {"id": 0, "day": DAY, "prices": [1.5, 3]}, "total": 3},
        3: {"order": {"id": 3, "day": DAY, "prices": [2]}, "total": 1},
    }
    ledger = done.ledger()
    kinds = {(each.error, each.place): each for each in ledger.errors}
    place = "prices.py:7 in first"
    assert {kind: each.count for kind, each in kinds.items()} == {
        ("IndexError", place): 2,
        ("InvalidItemError", None): 1,
    }
    assert 'prices.py", line 3, in total' in str(kinds["IndexError", place].traceback)
    assert json.loads(str(kinds["IndexError", place].examples[0].input)) == ORDERS[1]
    assert ledger.measures is not None
    assert (ledger.measures["items"], ledger.measures["memoryMB"] > 0) == (5, True)
    failures = {each.index: each for each in done.failures()}
    assert (failures[1].place, failures[1].output) == (place, f"order 1\nWARNING handler: of {DAY}")
    assert [index for index, each in failures.items() if each.traceback is not None] == [1]
    assert failures[2].cause == '$.id: expected a whole number, got "two"'
    assert {each.index: each.place for each in done.results(unsuccessful=True) if not each.succeeded} == {
        1: place,
        2: None,
        4: place,
    }

    capsys.readouterr()
    page = tmp_path / "page.html"
    items_failed = 4
    assert run_here("failures", "Typed", "orders") == items_failed
    assert run_here("ledger", "Typed", "orders") == items_failed
    assert run_here("logs", "Typed", "orders") == 0
    assert run_here("report", "Typed", "orders", "-o", str(page)) == items_failed
    told = capsys.readouterr().out
    assert f"2  IndexError at {place}: list index out of range" in told
    assert "    output order 1" in told
    assert "time of an item: median " in told
    assert f'"places": {{"{place}": 2}}' in told.replace("\\", "")
    text = page.read_text(encoding="utf-8")
    assert place in text
    assert "An item took" in text


@pytest.mark.parametrize("pipeline", ["Waiting", "Limited"])
def test_an_item_that_takes_too_long_fails_alone(run: Callable[..., Run], pipeline: str) -> None:
    done = run(pipeline, ["a", "stuck", *range(8)], "stuck")

    (failure,) = done.failures()
    assert (failure.index, failure.error, failure.cause) == (1, "ItemTimeout", "the item took longer than its 1 s")
    assert str(failure.place).startswith("handler.py:")
    assert str(failure.place).endswith(f" in {pipeline.lower()}")
    results = {each.index: each.value for each in done.results()}
    assert results.keys() == {0, *range(2, 10)}
    if pipeline == "Waiting":  # as many at a time as concurrency says, beside the task that waits for them
        assert max(results.values()) == 4 + 1
    measures: Any = done.ledger().measures
    assert (measures["items"], measures["slowest"]) == (10, "1")
    assert measures["most"] >= 1


def test_a_single_item_that_failed_says_where_too(run: Callable[..., Run]) -> None:
    done = run("Single", ORDERS[:3], "single")

    failures = {each.index: each for each in done.failures()}
    assert (failures[1].error, failures[1].place) == ("IndexError", "prices.py:7 in first")
    assert "in total" in str(failures[1].traceback)
    assert (failures[2].error, failures[2].place) == ("PermanentError", None)
    assert [each.value for each in done.results()] == [3]
