"""Runs that account for themselves and run again what did not succeed: what the client and the command say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Run
from tests.cli.command import exit_codes
from tests.deployments import Deploy

HANDLER = """
import os
from pathlib import Path

from distmap import PermanentError, process_items

TRIED = Path({tried!r})
HEALED = Path({healed!r})


def first_time(item):
    try:
        (TRIED / f"{{os.environ['AWS_LAMBDA_FUNCTION_NAME']}}-{{item['run']}}-{{item['n']}}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@process_items
def handler(item):
    kind = item.get("kind")
    if kind == "crash" and first_time(item):
        os._exit(1)
    if kind == "bad" and not HEALED.exists():
        raise ValueError(f"no luck with {{item['n']}}")
    if kind == "poison":
        raise PermanentError(f"{{item['n']}} will never do")
    return item["n"] ** 2


def combine(event, context):
    if not HEALED.exists():
        raise RuntimeError("not today")
    return {{"ledger": event["ledger"]["succeeded"]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, folder: Path) -> LocalAws:
    """Pipelines: one tolerates 2 items, in one the combine function fails at first, one has no account."""
    import aws_cdk as cdk

    from cdk_distributed_map import (
        Accounting,
        Batching,
        Capture,
        Combiner,
        DistributedMapPipeline,
        ItemSource,
        ReservedConcurrency,
        Worker,
    )

    (folder / "worker").mkdir()
    (folder / "tried").mkdir()
    (folder / "worker" / "handler.py").write_text(
        HANDLER.format(tried=str(folder / "tried"), healed=str(folder / "healed"))
    )
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    common: dict[str, Any] = {
        "items": ItemSource.captured(Capture.ranges()),
        "batching": Batching(max_items=5),
        "max_concurrency": 4,
    }

    def worker() -> Worker:
        return Worker.python(
            str(folder / "worker"), handler="handler.handler", reserved_concurrency=ReservedConcurrency.none()
        )

    DistributedMapPipeline(stack, "Orders", worker=worker(), tolerated_failure_count=2, **common)
    combine = Combiner.python(str(folder / "worker"), handler="handler.combine")
    DistributedMapPipeline(stack, "Sums", worker=worker(), combine=combine, **common)
    DistributedMapPipeline(stack, "Plain", worker=worker(), accounting=Accounting.none(), **common)
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


def told(out: str) -> Any:
    return json.loads(out)


@pytest.fixture
def start(distmap: Callable[..., tuple[int, str]], tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs 20 items to the end, some of which are of a kind; returns exit code and output."""

    def run(name: str, *, pipeline: str = "Orders", kinds: dict[int, str]) -> tuple[int, str]:
        items = tmp_path / "items.jsonl"
        rows = [{"n": n, "run": name, "kind": kinds.get(n)} for n in range(20)]
        items.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return distmap("run", pipeline, "--items", str(items), "--name", name, "--watch")

    return run


def found(name: str) -> Run:
    return Client().run("Orders", name)


def own_file(engine: LocalAws, name: str) -> tuple[str, str, Any]:
    bucket, key = found(name).pipeline.definition.item_file.bucket, f"runs/{name}/ledger.json"
    return bucket, key, json.loads(engine.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def test_a_run_that_healed_itself_is_a_success_and_says_so(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], engine: LocalAws, tmp_path: Path
) -> None:
    code, out = start("healed", kinds={7: "crash"})
    assert code == exit_codes.SUCCESS, out
    assert "20/20 (100%)" in out
    assert "1 round, 5 recovered" in out

    code, out = distmap("ledger", "Orders", "healed")
    assert code == exit_codes.SUCCESS
    assert out.splitlines()[0] == "healed: SUCCEEDED, 1 round"
    assert "recovered in rounds\t5" in out
    code, out = distmap("ledger", "Orders", "healed", "--json")
    assert told(out) == own_file(engine, "healed")[2]
    code, out = distmap("ledger", "Orders", "healed", "--recount", "--json")
    recounted = told(out)
    kinds = ("captured", "succeeded", "rounds", "recovered", "problems", "complete")
    assert (code, *(recounted[kind] for kind in kinds)) == (exit_codes.SUCCESS, 20, 20, 1, 5, [], True)

    assert distmap("failures", "Orders", "healed")[1] == "nothing failed\n"
    lines = [told(line) for line in distmap("results", "Orders", "healed", "--ordered")[1].splitlines()]
    assert [line["value"] for line in lines] == [n * n for n in range(20)]
    (row,) = [row for row in told(distmap("list", "Orders", "--json")[1]) if row["run"] == "healed"]
    assert row["items"] == {"total": 20, "succeeded": 20, "failed": 0}
    maps = told(distmap("describe", "Orders", "healed", "--json")[1])["maps"]
    assert [each.get("round") for each in maps] == [None, 1]
    assert "round 1" in distmap("describe", "Orders", "healed")[1]
    assert "nothing to run again" in distmap("retry", "Orders", "healed")[1]
    page = tmp_path / "page.html"
    assert distmap("report", "Orders", "healed", "-o", str(page))[0] == 0
    assert "5 items recovered" in page.read_text(encoding="utf-8")
    report = told(distmap("report", "Orders", "healed", "--json")[1])
    assert [(each["number"], each["items"]) for each in report["rounds"]] == [(1, 5)]
    assert "items accounted for" in distmap("logs", "Orders", "healed")[1]


def test_the_progress_of_a_run_is_never_more_than_all_of_it(start: Callable[..., tuple[int, str]]) -> None:
    start("progress", kinds={3: "crash", 12: "crash"})
    last = found("progress").wait()
    assert (last.items.total, last.items_failed, len(last.maps)) == (20, False, 2)
    assert last.latest_round is not None
    assert last.rounds[last.latest_round.arn] == 1
    assert last.latest_round.items.total == 10


def test_fails_when_more_items_failed_than_are_tolerated_and_a_retry_runs_only_those(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], engine: LocalAws, folder: Path
) -> None:
    code, out = start("unlucky", kinds={1: "bad", 2: "bad", 8: "crash", 13: "bad"})
    assert code == exit_codes.RUN_FAILED
    assert "Distmap.ToleranceExceeded: " in out
    assert "which items: distmap failures" in out
    code, out = distmap("ledger", "Orders", "unlucky")
    # Every item is accounted for: what failed is the run.
    assert code == exit_codes.RUN_FAILED
    assert "Distmap.ToleranceExceeded: " in out
    assert "17 + 3 + 0 + 0 + 0 = 20" in out
    code, out = distmap("ledger", "Orders", "unlucky", "--recount", "--json")
    assert (code, told(out)["problems"]) == (exit_codes.RUN_FAILED, [])
    described = distmap("describe", "Orders", "unlucky")[1]
    assert "errorMessage" not in described
    assert "Distmap.ToleranceExceeded: " in described
    rows = [told(line) for line in distmap("failures", "Orders", "unlucky", "--json")[1].splitlines()]
    assert sorted((row["index"], row["item"]["n"], row["error"]) for row in rows) == [
        (n, n, "ValueError") for n in (1, 2, 13)
    ]
    # The same from the files of the children, where the run's own file is gone.
    bucket, key, _ = own_file(engine, "unlucky")
    engine.client("s3").delete_object(Bucket=bucket, Key=key.replace("ledger.json", "failures.jsonl"))
    again = [told(line) for line in distmap("failures", "Orders", "unlucky", "--json")[1].splitlines()]
    assert sorted(rows, key=str) == sorted(again, key=str)

    (folder / "healed").touch()
    code, out = distmap("retry", "Orders", "unlucky", "--watch")
    assert code == exit_codes.SUCCESS, out
    code, out = distmap("ledger", "Orders", "unlucky", "--json")
    merged = told(out)
    assert (merged["succeeded"], merged["rounds"], merged["recovered"], merged["complete"]) == (20, 1, 5, True)
    assert [link["items"] for link in merged["chain"]] == [20, 3]
    (folder / "healed").unlink()


def test_a_redrive_after_the_account_failed_the_run_runs_what_did_not_succeed(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    code, out = start("redriven", kinds={1: "bad", 2: "bad", 13: "bad", 14: "poison"})
    assert code == exit_codes.RUN_FAILED
    (folder / "healed").touch()
    code, out = distmap("redrive", "Orders", "redriven", "--watch")
    (folder / "healed").unlink()
    assert "every item that did not succeed, those that failed too, runs again in new rounds" in out
    assert code == exit_codes.ITEMS_FAILED, out
    code, out = distmap("ledger", "Orders", "redriven", "--json")
    ledger = told(out)
    assert (ledger["succeeded"], ledger["failed"], ledger["rounds"], ledger["redriveCount"]) == (19, 1, 1, 1)
    code, out = distmap("ledger", "Orders", "redriven", "--recount", "--json")
    assert (code, told(out)["problems"]) == (exit_codes.ITEMS_FAILED, [])


def test_a_redrive_after_a_failed_combine_runs_no_item(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    code, out = start("summed", pipeline="Sums", kinds={})
    assert (code, "RuntimeError" in out) == (exit_codes.RUN_FAILED, True)
    code, out = distmap("ledger", "Sums", "summed")
    assert (code, "20 + 0 + 0 + 0 + 0 = 20" in out) == (exit_codes.RUN_FAILED, True)
    (folder / "healed").touch()
    code, out = distmap("redrive", "Sums", "summed", "--watch")
    (folder / "healed").unlink()
    assert "AWS runs the state 'Sums combine' again, and what comes after it; no item runs again" in out
    assert code == exit_codes.SUCCESS, out
    code, out = distmap("ledger", "Sums", "summed", "--json")
    assert (code, told(out)["status"], told(out)["succeeded"]) == (exit_codes.SUCCESS, "SUCCEEDED", 20)


def test_a_redrive_after_an_early_stop_goes_on_with_the_map(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    code, out = start("early", kinds=dict.fromkeys(range(20), "bad"))
    assert code == exit_codes.RUN_FAILED
    ledger = told(distmap("ledger", "Orders", "early", "--json")[1])
    assert ledger["succeeded"] == 0
    (folder / "healed").touch()
    code, out = distmap("redrive", "Orders", "early", "--watch")
    (folder / "healed").unlink()
    assert code == exit_codes.SUCCESS, out
    code, out = distmap("ledger", "Orders", "early", "--json")
    assert (code, told(out)["succeeded"], told(out)["status"]) == (exit_codes.SUCCESS, 20, "SUCCEEDED")


def test_fails_when_the_account_of_a_run_is_not_what_its_files_say(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]], engine: LocalAws
) -> None:
    start("forged", kinds={4: "poison"})
    bucket, key, document = own_file(engine, "forged")
    document |= {"succeeded": 20, "failed": 0, "errors": []}
    engine.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
    code, out = distmap("ledger", "Orders", "forged")
    assert "20 + 0 + 0 + 0 + 0 = 20" in out
    code, out = distmap("ledger", "Orders", "forged", "--recount")
    assert code == exit_codes.UNACCOUNTED
    assert "19 + 1 + 0 + 0 + 0 = 20" in out
    assert f"the run's own account, s3://{bucket}/{key}, says succeeded 20, and its files say 19" in out
    assert "says PermanentError (permanent) 0, and its files say 1" in out


@pytest.mark.parametrize(
    "change",
    [{"redriveCount": 7}, {"status": "FAILED"}, {"run": "another"}, {"succeeded": None}, None],
    ids=["another attempt", "another status", "another run", "no number", "no JSON"],
)
def test_an_account_that_is_not_of_the_latest_attempt_is_not_taken(
    start: Callable[..., tuple[int, str]],
    distmap: Callable[..., tuple[int, str]],
    engine: LocalAws,
    change: dict[str, Any] | None,
) -> None:
    if not [each for each in Client().pipeline("Orders").runs() if each.name == "stale"]:
        start("stale", kinds={})
    bucket, key, document = own_file(engine, "stale")
    body = b"{" if change is None else json.dumps({**document, "captured": 99, **change}).encode()
    engine.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    code, out = distmap("ledger", "Orders", "stale", "--json")
    engine.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
    assert (code, told(out)["captured"], told(out)["problems"]) == (exit_codes.SUCCESS, 20, [])


def test_a_run_that_does_not_account_for_itself_is_counted_from_its_files(
    start: Callable[..., tuple[int, str]], distmap: Callable[..., tuple[int, str]]
) -> None:
    code, _ = start("plain", pipeline="Plain", kinds={4: "bad"})
    assert code == exit_codes.ITEMS_FAILED
    code, out = distmap("ledger", "Plain", "plain")
    assert code == exit_codes.ITEMS_FAILED
    assert out.splitlines()[0] == "plain: SUCCEEDED"
    assert "recovered" not in out
    assert "19 + 1 + 0 + 0 + 0 = 20" in out
