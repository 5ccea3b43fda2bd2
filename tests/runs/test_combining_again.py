"""The combined answer made anew: of a chain whose items have no index, and by an operator with its grants alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from tests.cli.command import exit_codes
from tests.deployments import Deploy

HANDLER = """
import sys
from pathlib import Path

sys.path += {path!r}
from distmap import combine_results

HEALED = Path({healed!r})


def work(item, context):
    if item["n"] % 3 == 0 and not HEALED.exists():
        raise ValueError(f"no luck with {{item['n']}}")
    return item["n"] ** 2


@combine_results
def combine(results):
    found = list(results)
    return {{"total": sum(r.value for r in found if r.succeeded), "of": len(found)}}


def operate(event, context):
    from cdk_distributed_map.runs import AwsError, Client

    try:
        return {{"combined": Client().run(event["pipeline"], event["run"]).combine()}}
    except AwsError as error:
        return {{"refused": str(error)}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("combining")


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, folder: Path) -> LocalAws:
    """A pipeline of items without an index that fail at first, and functions that may operate it, or read it alone."""
    import aws_cdk as cdk
    from aws_cdk import aws_lambda as lambda_

    from cdk_distributed_map import Batching, Combiner, DistributedMapPipeline, ItemShape, ItemSource, Worker

    (folder / "code").mkdir()
    text = HANDLER.format(healed=str(folder / "healed"), path=sys.path[1:])
    (folder / "code" / "handler.py").write_text(text)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Combining")

    def function(name: str, handler: str) -> lambda_.Function:
        return lambda_.Function(
            stack,
            name,
            function_name=name,
            runtime=lambda_.Runtime.PYTHON_3_12,
            code=lambda_.Code.from_asset(str(folder / "code")),
            handler=f"handler.{handler}",
            timeout=cdk.Duration.seconds(60),
        )

    pipeline = DistributedMapPipeline(
        stack,
        "Bare",
        items=ItemSource.state_array("$.items"),
        worker=Worker.function(function("Work", "work"), item_shape=ItemShape.BARE),
        combine=Combiner.python(str(folder / "code"), handler="handler.combine"),
        batching=Batching.none(),
        tolerated_failure_percentage=100,
        max_concurrency=4,
    )
    operator = function("Operator", "operate")
    pipeline.grant_operate(operator)
    pipeline.grant_read_results(operator)
    pipeline.grant_read_results(function("Reader", "operate"))
    app.synth()
    deploy(folder / "cdk.out", "Combining")
    return shared_aws


def operated(engine: LocalAws, name: str, run: str) -> Any:
    payload = json.dumps({"pipeline": engine.state_machine("Bare"), "run": run})
    answer = engine.client("lambda").invoke(FunctionName=name, Payload=payload)
    return json.loads(answer["Payload"].read())


def test_a_chain_of_items_without_an_index_is_combined_whole(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws, folder: Path
) -> None:
    given = json.dumps({"items": [{"n": n} for n in range(10)]})
    code, out = distmap("run", "Bare", "--input", given, "--name", "first", "--watch")
    assert code == exit_codes.ITEMS_FAILED, out
    (folder / "healed").touch()
    code, out = distmap("retry", "Bare", "first", "--watch")
    assert code == exit_codes.SUCCESS, out
    whole = {"total": sum(n * n for n in range(10)), "of": 10}
    for run in ("first", "first-retry-1"):
        code, out = distmap("combine", "Bare", run)
        told = json.loads(out)
        assert (code, {name: told[name] for name in whole}) == (exit_codes.SUCCESS, whole)
    # To operate and to read is enough for it, and to read is not.
    assert operated(engine, "Operator", "first") == {"combined": told}
    assert "is not authorized to perform: states:" in operated(engine, "Reader", "first")["refused"]
