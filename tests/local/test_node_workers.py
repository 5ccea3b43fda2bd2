"""Workers in Node.js keep the contract: what they get and answer is valid by the schemas, and every item is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from jsonschema import Draft202012Validator

from cdk_distributed_map import Batching, DistributedMapPipeline, ItemShape, ItemSource, Worker
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Run
from tests.deployments import Deploy

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "lambdas" / "word_lengths" / "index.mjs"
# Goes behind the example's handler: what it got beside what it answered.
WATCH = """
export async function handler(event, context) {
  const answer = await inner(event, context);
  answer.batchItemResults.forEach((each) => Object.assign(each.result, { event }));
  return answer;
}
"""
BARE = "exports.handler = (word, context, callback) => callback(null, word.toUpperCase());\n"
BROKEN = "exports.handler = async (item) => { const { deep } = item.missing; return deep; };\n"


def function(stack: cdk.Stack, id: str, folder: Path, name: str, code: str) -> lambda_.Function:
    folder.mkdir()
    (folder / name).write_text(code)
    return lambda_.Function(
        stack,
        id,
        runtime=lambda_.Runtime.NODEJS_22_X,
        handler="index.handler",
        code=lambda_.Code.from_asset(str(folder)),
        timeout=cdk.Duration.seconds(30),
    )


@pytest.fixture(scope="module")
def local(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    folder = tmp_path_factory.mktemp("node")
    example = EXAMPLE.read_text(encoding="utf-8").replace("export async function handler", "async function inner")
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Node")
    for pipeline, name, code, options in (
        ("Lengths", "index.mjs", example + WATCH, {"batching": Batching(max_items=3), "tolerated_failure_count": 1}),
        ("Bare", "index.js", BARE, {}),
        ("Broken", "index.cjs", BROKEN, {}),
    ):
        made = function(stack, f"{pipeline}Function", folder / pipeline, name, code)
        DistributedMapPipeline(
            stack,
            pipeline,
            items=ItemSource.state_array("$.words"),
            worker=Worker.function(made, item_shape=ItemShape.BARE if pipeline != "Lengths" else None),
            state_machine_name=pipeline,
            **options,  # type: ignore[arg-type]  # as above
        )
    app.synth()
    deploy(folder / "cdk.out")
    return shared_aws


def schema(shape: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / f"{shape}.schema.json").read_text()))


@pytest.fixture
def run(local: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[Any]], Run]:
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)

    def one(pipeline: str, words: list[Any]) -> Run:
        local.run(local.state_machine(pipeline), {"words": words}, name="words")
        return Client().run(pipeline, "words")

    return one


def test_a_worker_in_node_answers_for_each_item_of_its_batches(run: Callable[[str, list[Any]], Run]) -> None:
    done = run("Lengths", ["a", "bb", 3, "dddd", "eeeee"])

    ledger = done.ledger()
    assert (ledger.captured, ledger.succeeded, ledger.failed, ledger.adds_up) == (5, 4, 1, True)
    results = {result.index: result.value for result in done.results()}
    assert {index: value["length"] for index, value in results.items()} == {0: 1, 1: 2, 3: 4, 4: 5}
    (failure,) = done.failures()
    assert (failure.index, failure.error, failure.cause) == (2, "TypeError", "expected a word, got 3")
    for value in results.values():
        schema("BatchEvent").validate(value["event"])
        for item in value["event"]["Items"]:
            schema("Envelope").validate(item)
        schema("DistmapBatchInput").validate(value["event"]["BatchInput"]["distmap"])


def test_a_worker_that_takes_bare_items_needs_to_know_nothing(run: Callable[[str, list[Any]], Run]) -> None:
    done = run("Bare", ["a", "bb"])

    assert sorted(result.value for result in done.results()) == ["A", "BB"]


def test_fails_when_a_handler_in_node_does_with_its_error(run: Callable[[str, list[Any]], Run]) -> None:
    done = run("Broken", ["a"])

    (failure,) = done.failures()
    assert failure.error == "TypeError"
    assert "missing" in failure.cause or "undefined" in failure.cause
