"""Scripted outcomes in deployed pipelines: items by their index, alone and in batches, over retries and rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
import pytest

from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.pytest_plugin import reset
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs.client import Client

HANDLER = """
from distmap import process_items


@process_items
def handler(item):
    if item["from"] >= 20:
        raise ValueError("too far")
    return item["from"]
"""


@pytest.fixture(scope="module")
def deployed(local: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """A local AWS with two pipelines: of items one by one, and of batches of four."""
    folder = tmp_path_factory.mktemp("scripted")
    (folder / "handler.py").write_text(HANDLER)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Scripted")
    for name, batching in (("Single", Batching.none()), ("Batched", Batching(max_items=4))):
        DistributedMapPipeline(
            stack,
            name,
            items=ItemSource.captured(Capture.ranges(chunk=1)),
            worker=Worker.python(str(folder), handler="handler.handler"),
            batching=batching,
            tolerated_failure_percentage=100,
            state_machine_name=f"Scripted{name}",
        )
    app.synth()
    local.deploy(folder / "cdk.out")
    return local


@pytest.fixture
def aws(deployed: LocalAws) -> Iterator[LocalAws]:
    """The same, with nothing scripted."""
    deployed.outcomes.clear()
    yield deployed
    reset(deployed)


def results_of(aws: LocalAws, pipeline: str) -> dict[int | None, Any]:
    """Return what became of each item of a pipeline's latest run: its value, or the name of its error."""
    run = Client(endpoint_url=aws.endpoint_url).run(f"Scripted/{pipeline}")
    found: dict[int | None, Any] = {each.index: each.value for each in run.results()}
    return found | {each.index: each.error for each in run.failures()}


def ledger_of(aws: LocalAws, pipeline: str, **input: int) -> Any:
    ledger = aws.run(f"Scripted{pipeline}", input).check().output["ledger"]
    assert ledger["addsUp"]
    return ledger


@pytest.mark.parametrize("pipeline", ["Single", "Batched"])
def test_an_item_fails_alone(aws: LocalAws, pipeline: str) -> None:
    aws.outcomes.fail(f"{pipeline} process", "Throttling", item=3)

    ledger = ledger_of(aws, pipeline, number=6)

    assert (ledger["succeeded"], ledger["failed"]) == (5, 1)
    assert results_of(aws, pipeline) == {0: 0, 1: 1, 2: 2, 3: "Throttling", 4: 4, 5: 5}


@pytest.mark.parametrize("pipeline", ["Single", "Batched"])
def test_what_is_no_fault_of_the_item_runs_again(aws: LocalAws, pipeline: str) -> None:
    aws.outcomes.time_out(f"{pipeline} process", item=1, times=1)

    ledger = ledger_of(aws, pipeline, number=6)

    assert (ledger["succeeded"], ledger["recovered"], ledger["rounds"]) == (6, 1 if pipeline == "Single" else 4, 1)


@pytest.mark.parametrize("pipeline", ["Single", "Batched"])
def test_a_refused_call_is_retried_by_the_state_itself(aws: LocalAws, pipeline: str) -> None:
    aws.outcomes.fail(f"{pipeline} process", "Lambda.TooManyRequestsException", item=2, times=2)

    run = aws.run(f"Scripted{pipeline}", {"number": 4}).check()

    assert (run.output["ledger"]["succeeded"], run.output["ledger"]["rounds"]) == (4, 0)
    (map_run,) = aws.path(run).map_runs
    child = next(child for child in map_run.children if 2 in [item["index"] for item in child.items])
    assert child.visit(f"{pipeline} process").errors == [*["Lambda.TooManyRequestsException"] * 2, None]


@pytest.mark.parametrize("pipeline", ["Single", "Batched"])
def test_an_item_is_given_a_result(aws: LocalAws, pipeline: str) -> None:
    aws.outcomes.give(f"{pipeline} process", {"scripted": True}, item=0)

    ledger_of(aws, pipeline, number=3)

    assert results_of(aws, pipeline) == {0: {"scripted": True}, 1: 1, 2: 2}


@pytest.mark.parametrize(
    ("number", "scripted", "failed"),
    [
        pytest.param(4, [0, 1, 2, 3], {0: "E", 1: "E", 2: "E", 3: "E"}, id="all are scripted"),
        pytest.param(23, [21], {20: "ValueError", 21: "E", 22: "ValueError"}, id="the rest fails"),
    ],
)
def test_a_batch_of_failed_items_fails_as_a_whole(
    aws: LocalAws, number: int, scripted: list[int], failed: dict[int, str]
) -> None:
    for item in scripted:
        aws.outcomes.fail("Batched process", "E", item=item)

    ledger = ledger_of(aws, "Batched", number=number)

    assert ledger["failed"] == len(failed)
    assert results_of(aws, "Batched").items() >= failed.items()


def test_fails_when_no_call_meets_what_is_scripted(aws: LocalAws) -> None:
    aws.outcomes.fail("Batched proces", "E", item=3)

    with pytest.raises(AssertionError, match=r"no call met .*fail of the state 'Batched proces' for item 3"):
        reset(aws)
