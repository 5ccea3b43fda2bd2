"""Pipelines among states of the user's own, on the local engine: bare items, maps beside it, maps inside its worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client
from tests.cli.command import exit_codes
from tests.deployments import Deploy

HANDLER = """
import pathlib

LUCKY = pathlib.Path({lucky!r})


def handler(event, context):
    items = event["Items"] if isinstance(event, dict) and "Items" in event else [event]
    unlucky = [each for each in items if each % 10 == 3 and str(each) not in LUCKY.read_text().split()]
    if unlucky:
        raise ValueError(f"no luck with {{unlucky}}")
    return {{"squares": [each ** 2 for each in items]}}
"""


@pytest.fixture(scope="module")
def lucky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the numbers that the workers have luck with."""
    path = tmp_path_factory.mktemp("lucky") / "numbers"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory, lucky: Path) -> LocalAws:
    import aws_cdk as cdk
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemShape, ItemSource, Worker

    folder = tmp_path_factory.mktemp("own")
    (folder / "code").mkdir()
    (folder / "code" / "index.py").write_text(HANDLER.format(lucky=str(lucky)))
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    function = lambda_.Function(
        stack,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_asset(str(folder / "code")),
    )
    bare = Worker.function(function, item_shape=ItemShape.BARE)
    common: dict[str, Any] = {
        "items": ItemSource.captured(Capture.ranges()),
        "max_concurrency": 5,
        "tolerated_failure_percentage": 100,
    }
    DistributedMapPipeline(stack, "Bare", worker=bare, **common)
    DistributedMapPipeline(stack, "Batches", worker=bare, batching=Batching(max_items=5), **common)

    def own_map(scope: Any) -> sfn.DistributedMap:
        jsonata = sfn.QueryLanguage.JSONATA
        made = sfn.DistributedMap(scope, "Own", items=sfn.ProvideItems.json_array([1, 2, 3]), query_language=jsonata)
        return made.item_processor(sfn.Pass(scope, "Nothing"))

    DistributedMapPipeline(stack, "Inside", worker=Worker.states(own_map), **common)
    beside = DistributedMapPipeline(
        stack, "Beside", worker=Worker.states(lambda scope: sfn.Pass(scope, "Pass")), **common
    )
    chain = sfn.Pass(stack, "Before").next(beside.fragment).next(own_map(stack))
    sfn.StateMachine(stack, "Chain", definition_body=sfn.DefinitionBody.from_chainable(chain))
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


@pytest.mark.parametrize(
    ("pipeline", "lost"),
    [pytest.param("Bare", 1, marks=pytest.mark.slow), ("Batches", 5)],
    ids=["single items", "batches"],
)
def test_chain_of_retries_of_bare_items_adds_up(
    pipeline: str, lost: int, distmap: Callable[..., tuple[int, str]], lucky: Path, tmp_path: Path
) -> None:
    """Unidentified items are counted by what is left of them alone."""
    lucky.write_text("")
    (tmp_path / "items.jsonl").write_text("".join(f"{number}\n" for number in range(20)))
    code, out = distmap("run", pipeline, "--items", str(tmp_path / "items.jsonl"), "--name", "first", "--watch")
    assert code == exit_codes.ITEMS_FAILED, out
    for numbers, left, code in (("", 2, 4), ("3", 1, 4), ("3 13", 0, 0)):
        lucky.write_text(numbers)
        assert distmap("retry", pipeline, "first", "--watch")[0] == code
        ledger = Client().run(pipeline, "first").ledger()
        assert (ledger.captured, ledger.succeeded, ledger.failed) == (20, 20 - left * lost, left * lost)
        assert ledger.is_complete, ledger.problems
    assert [(each.name, each.items) for each in ledger.chain] == [
        ("first", 20),
        ("first-retry-1", 2 * lost),
        ("first-retry-2", 2 * lost),
        ("first-retry-3", lost),
    ]
    assert "nothing to run again" in distmap("retry", pipeline, "first")[1]


def test_map_inside_the_users_states_is_watched_and_left_out_of_the_ledger(
    distmap: Callable[..., tuple[int, str]],
) -> None:
    code, out = distmap(
        "run", "Inside", "--input", '{"number": 2, "chunk": 1}', "--name", "inside", "--watch", "--json"
    )
    *_, last, ledger = map(json.loads, out.splitlines())
    (nested,) = last["nested"].values()
    assert (code, nested["mapRuns"], nested["succeeded"], last["nestedLeftOut"]) == (0, 2, 6, 0)
    found = {name: ledger["ledger"][name] for name in ("captured", "unsuccessful", "complete")}
    assert found == {"captured": 2, "unsuccessful": 0, "complete": True}
    assert "the map 'Own' inside the children is not the pipeline's own" in distmap("ledger", "Inside", "inside")[1]


def test_map_beside_the_pipeline_is_watched_and_in_no_number_of_its_ledger(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws
) -> None:
    machines = engine.client("stepfunctions").list_state_machines()["stateMachines"]
    (chain,) = [each["stateMachineArn"] for each in machines if "Chain" in each["name"]]
    code, out = distmap("run", chain, "--input", '{"number": 4, "chunk": 1}', "--name", "beside", "--watch", "--json")
    *_, last, ledger = map(json.loads, out.splitlines())
    assert (code, [each["items"]["succeeded"] for each in last["maps"]]) == (0, [4, 3])
    found = {name: ledger["ledger"][name] for name in ("captured", "unsuccessful", "complete")}
    assert found == {"captured": 4, "unsuccessful": 0, "complete": True}
    assert [each.label for each in Client().run(chain, "beside").own_map_runs()] == ["Beside"]
