"""The ledger of maps inside maps, on the local engine: inner items are accounted for, and losses of them found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Ledger
from tests.cli.command import exit_codes
from tests.deployments import Deploy

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
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """A local AWS with one pipeline whose items are lists, each the items of an inner map in batches of 4."""
    import aws_cdk as cdk

    from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemSource, ReservedConcurrency, Worker

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
            # A hundred outer children of ten each would reserve all that an account has.
            worker=Worker.python(
                str(folder / "worker"), handler="handler.handler", reserved_concurrency=ReservedConcurrency.none()
            ),
            batching=Batching(max_items=4),
            tolerated_failure_count=1,
        ),
    )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


@pytest.fixture
def ran(distmap: Callable[..., tuple[int, str]], tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A finished run, named after the test."""
    items = tmp_path / "lists.jsonl"
    items.write_text("".join(f"{json.dumps({'rows': rows})}\n" for rows in ROWS))
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    code, out = distmap("run", "Lists", "--items", str(items), "--name", name, "--watch")
    assert code == exit_codes.ITEMS_FAILED, out
    assert "0 of 3 items, and 1 item of nested maps, did not succeed" in out
    return str(name)


def keys(engine: LocalAws, run: str, ending: str) -> tuple[str, list[str]]:
    """Bucket of a run, and the keys of its nested files that end so."""
    bucket = Client().run("Lists", run).pipeline.definition.item_file.bucket
    listed = engine.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"runs/{run}/nested/")["Contents"]
    return bucket, sorted(each["Key"] for each in listed if each["Key"].endswith(ending))


def ledger(run: str) -> Ledger:
    return Client().run("Lists", run).ledger(recount=True)


def test_inner_items_are_accounted_for(distmap: Callable[..., tuple[int, str]], ran: str, tmp_path: Path) -> None:
    code, out = distmap("ledger", "Lists", ran, "--json")
    told: dict[str, Any] = json.loads(out)
    assert (code, told["captured"], told["succeeded"], told["complete"]) == (4, 3, 3, True)
    (nested,) = told["nested"]
    inner = {name: nested[name] for name in ("mapRuns", "captured", "succeeded", "failed", "missing", "problems")}
    assert inner == {"mapRuns": 3, "captured": 20, "succeeded": 19, "failed": 1, "missing": 0, "problems": []}
    code, out = distmap("ledger", "Lists", ran)
    assert "Lists-Nested\t3\t20\t19\t1\t0\t0\t0" in out
    assert "1 item of nested maps did not succeed; a retry runs items of the outermost map, each with" in out
    assert "every item of the outermost map" in distmap("retry", "Lists", ran)[1]
    assert distmap("report", "Lists", ran, "-o", str(tmp_path / "page.html"))[0] == exit_codes.ITEMS_FAILED
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "3 map runs: 20 items, 19 succeeded, 1 failed" in page
    assert "All 3 items succeeded, but 1 item of nested maps did not." in page
    assert "children of nested maps are in none of them" in page
    assert f"distmap retry Lists {ran} --nested --watch" in page


def test_fails_when_results_of_an_inner_map_are_nowhere(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws, ran: str
) -> None:
    bucket, manifests = keys(engine, ran, "manifest.json")
    engine.client("s3").delete_object(Bucket=bucket, Key=manifests[1])
    code, out = distmap("ledger", "Lists", ran, "--recount")
    assert code == exit_codes.UNACCOUNTED
    assert "1 item around it succeeded, but results of its map runs inside them are nowhere, such as /1" in out


def test_fails_when_an_inner_result_file_is_missing(
    distmap: Callable[..., tuple[int, str]], engine: LocalAws, ran: str
) -> None:
    bucket, files = keys(engine, ran, ".jsonl")
    (lost,) = (key for key in files if "/0/results/" in key and "SUCCEEDED" in key)
    engine.client("s3").delete_object(Bucket=bucket, Key=lost)
    (nested,) = ledger(ran).nested
    assert (nested.captured, nested.succeeded, nested.failed, nested.missing) == (20, 9, 1, 10)
    code, out = distmap("ledger", "Lists", ran, "--recount")
    assert code == exit_codes.UNACCOUNTED
    assert "10 of 10 items are in no result file" in out
    assert "ledger.json, says Lists-Nested: succeeded 19, and its files say 9" in out


def test_items_that_only_results_count_are_said_to_be(ran: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._nested_reading.MOST_DESCRIBED", 1)
    made = ledger(ran)
    assert (made.nested[0].captured, made.nested[0].counted_by_results, made.is_complete) == (20, 2, True)
    assert any("items lost at the end of one can't be counted" in note for note in made.notes)


def test_failures_and_results_of_nested_maps_are_told_with_their_place(
    distmap: Callable[..., tuple[int, str]], ran: str
) -> None:
    code, out = distmap("failures", "Lists", ran, "--json")
    (failure,) = [json.loads(line) for line in out.splitlines()]
    assert (code, failure["path"], failure["index"], failure["item"]) == (exit_codes.ITEMS_FAILED, "1", 3, 13)
    assert failure["map"].startswith("Lists")
    code, out = distmap("failures", "Lists", ran)
    assert f"item 3 of {failure['map']} in 1: no luck with 13" in out
    code, out = distmap("results", "Lists", ran, "--nested", "--ordered", "--all")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == exit_codes.ITEMS_FAILED
    told = [(row["path"], row["index"], row.get("value")) for row in rows if row["status"] == "SUCCEEDED"]
    expected = [(str(at), index, item**2) for at, row in enumerate(ROWS) for index, item in enumerate(row)]
    assert sorted(told) == sorted(each for each in expected if each[2] != 169)
    assert [row["path"] for row in rows] == ["0"] * 10 + ["1"] * 7 + ["2"] * 3
    assert [row["error"] for row in rows if row["status"] == "FAILED"] == ["ValueError"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_nested_results_as_tables_have_their_place(
    distmap: Callable[..., tuple[int, str]], ran: str, tmp_path: Path, kind: str
) -> None:
    import pandas as pd  # type: ignore[import-untyped]  # its types are a package of their own

    file = tmp_path / f"inner.{kind}"
    assert distmap("results", "Lists", ran, "--nested", "-o", str(file))[0] == exit_codes.ITEMS_FAILED
    frame = pd.read_csv(file) if kind == "csv" else pd.read_parquet(file)
    assert list(frame.columns) == ["map", "path", "index", "status", "value", "error", "cause"]
    assert len(frame) == 19


def test_no_command_says_that_none_failed_where_inner_items_did(
    distmap: Callable[..., tuple[int, str]], ran: str
) -> None:
    (line,) = [line for line in distmap("list", "Lists")[1].splitlines() if line.startswith(f"{ran}\t")]
    assert line.split("\t")[4:] == ["3", "3", "0, 1 of nested maps"]
    (row,) = [each for each in json.loads(distmap("list", "Lists", "--json")[1]) if each["run"] == ran]
    assert row["items"] == {"total": 3, "succeeded": 3, "failed": 0, "nestedFailed": 1}
    out = distmap("describe", "Lists", ran)[1]
    assert "items of Lists-Nested\t19 succeeded, 1 failed\n" in out
    assert "\tchildren failed\t" in out
    told = json.loads(distmap("describe", "Lists", ran, "--json")[1])
    assert (told["nested"]["Lists-Nested"]["failed"], told["items"]["failed"]) == (1, 0)


def test_a_nested_retry_runs_the_items_around_what_failed(distmap: Callable[..., tuple[int, str]], ran: str) -> None:
    code, out = distmap("retry", "Lists", ran)
    assert code == exit_codes.ITEMS_FAILED
    assert f"nothing to run again; `distmap failures Lists {ran}` lists" in out
    assert "--nested runs the items around those that failed again" in " ".join(out.split())
    code, out = distmap("retry", "Lists", ran, "--nested", "--watch")
    assert f"{ran}-retry-1" in out
    code, out = distmap("ledger", "Lists", ran, "--json")
    ledger = json.loads(out)
    assert [link["items"] for link in ledger["chain"]] == [3, 1]
    assert (ledger["captured"], ledger["succeeded"], ledger["nested"][0]["mapRuns"]) == (3, 3, 3)
    assert ledger["nested"][0]["failed"] == 1
