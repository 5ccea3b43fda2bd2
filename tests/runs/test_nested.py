"""The ledger of maps inside maps, on the local engine: inner items are accounted for, and losses of them found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.cli import _exit, _show
from cdk_distributed_map.cli._main import _run
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Ledger

HANDLER = """
from distmap import process_items


@process_items
def handler(item):
    if item == 13:
        raise ValueError("no luck with 13")
    return item ** 2
"""
ROWS = [list(range(10)), list(range(10, 17)), [1, 2, 3]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS with one pipeline whose items are lists, each the items of an inner map in batches of 4."""
    import aws_cdk as cdk

    from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemSource, Worker

    folder = tmp_path_factory.mktemp("nested")
    (folder / "worker").mkdir()
    (folder / "worker" / "handler.py").write_text(HANDLER)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    DistributedMapPipeline(
        cdk.Stack(app, "Stack"),
        "Lists",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.nested(
            items=ItemSource.state_array("$.value.rows"),
            worker=Worker.python(str(folder / "worker"), handler="handler.handler"),
            batching=Batching(max_items=4),
        ),
    )
    app.synth()
    with LocalAws() as aws:
        aws.deploy(folder / "cdk.out", "Stack")
        yield aws


@pytest.fixture
def distmap(
    engine: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str]:
        _show.console.cache_clear()
        code = _run(list(arguments))
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def ran(distmap: Callable[..., tuple[int, str]], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A finished run, named after the test."""
    items = tmp_path / "lists.jsonl"
    items.write_text("".join(f"{json.dumps({'rows': rows})}\n" for rows in ROWS))
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60]
    code, out = distmap("run", "Lists", "--items", str(items), "--name", name, "--watch")
    assert code == _exit.ITEMS_FAILED, out
    assert "0 of 3 items, and 1 of nested maps did not succeed" in out
    return str(name)


def keys(engine: LocalAws, run: str, ending: str) -> tuple[str, list[str]]:
    """Bucket of a run, and the keys of its nested files that end so."""
    bucket = Client().run("Lists", run).pipeline.definition.item_file.bucket
    listed = engine.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"runs/{run}/nested/")["Contents"]
    return bucket, sorted(each["Key"] for each in listed if each["Key"].endswith(ending))


def ledger(run: str) -> Ledger:
    return Client().run("Lists", run).ledger()


def test_inner_items_are_accounted_for(distmap: Callable[..., tuple[int, str]], ran: str, tmp_path: Path) -> None:
    code, out = distmap("ledger", "Lists", ran, "--json")
    told: dict[str, Any] = json.loads(out)
    assert (code, told["captured"], told["succeeded"], told["complete"]) == (0, 3, 3, True)
    (nested,) = told["nested"]
    inner = {name: nested[name] for name in ("mapRuns", "captured", "succeeded", "failed", "missing", "problems")}
    assert inner == {"mapRuns": 3, "captured": 20, "succeeded": 19, "failed": 1, "missing": 0, "problems": []}
    code, out = distmap("ledger", "Lists", ran)
    assert "Lists-Nested\t3\t20\t19\t1\t0\t0\t0" in out
    assert "1 items of nested maps did not succeed; a retry runs items of the outermost map only" in out
    assert "every item of the outermost map" in distmap("retry", "Lists", ran)[1]
    assert distmap("report", "Lists", ran, "-o", str(tmp_path / "page.html"))[0] == 0
    assert "3 map runs: 20 items, 19 succeeded, 1 failed" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_fails_when_results_of_an_inner_map_are_nowhere(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws, ran: str
) -> None:
    bucket, manifests = keys(engine, ran, "manifest.json")
    engine.client("s3").delete_object(Bucket=bucket, Key=manifests[1])
    code, out = distmap("ledger", "Lists", ran)
    assert code == _exit.UNACCOUNTED
    assert "1 items around it succeeded, but results of its map runs inside them are nowhere, such as /1" in out


def test_fails_when_an_inner_result_file_is_missing(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws, ran: str
) -> None:
    bucket, files = keys(engine, ran, ".jsonl")
    (lost,) = (key for key in files if "/0/results/" in key and "SUCCEEDED" in key)
    engine.client("s3").delete_object(Bucket=bucket, Key=lost)
    (nested,) = ledger(ran).nested
    assert (nested.captured, nested.succeeded, nested.failed, nested.missing) == (20, 9, 1, 10)
    code, out = distmap("ledger", "Lists", ran)
    assert code == _exit.UNACCOUNTED
    assert "10 of 10 items are in no result file" in out


def test_items_that_only_results_count_are_said_to_be(ran: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdk_distributed_map.runs._nested._MOST_DESCRIBED", 1)
    made = ledger(ran)
    assert (made.nested[0].captured, made.nested[0].counted_by_results, made.is_complete) == (20, 2, True)
    assert any("items lost at the end of one can't be told" in note for note in made.notes)
