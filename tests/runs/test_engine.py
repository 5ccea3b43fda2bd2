"""The client and the command on the local engine: the template itself, real handlers, real S3."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client
from tests.cli.command import exit_codes
from tests.deployments import Deploy

HANDLER = """
import time
from pathlib import Path

from distmap import process_items

HEALED = Path({healed!r})


@process_items
def handler(item):
    print(f"at work on {{item['from']}}")
    if item["from"] == 1000:
        raise ValueError("too large")
    if item["from"] % 7 == 3 and not HEALED.exists():
        raise ValueError(f"no luck with {{item['from']}}")
    if HEALED.with_name("slow").exists():
        time.sleep(1)
    return {{"square": item["from"] ** 2}}
"""

COMBINE = """
from distmap import combine_results


@combine_results
def handler(results):
    values = [result.value["square"] for result in results if result.succeeded]
    return {"count": len(values), "sum": sum(values), "not": sum(not result.succeeded for result in results)}
"""

CHARGE = """
import json
import time
from pathlib import Path

from distmap import item_key, process_items

CHARGED = Path({charged!r})


@process_items
def handler(item):
    with CHARGED.open("a") as charged:
        print(json.dumps([item, item_key()]), file=charged)
    if item == 2 and not CHARGED.with_name("charging-healed").exists():
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, folder: Path) -> LocalAws:
    """A local AWS with a pipeline of ranges, in batches of 10 of which half may fail, and one whose worker hangs."""
    import aws_cdk as cdk

    from cdk_distributed_map import Accounting, Batching, Capture, Combiner, DistributedMapPipeline, ItemSource, Worker

    code = folder / "worker"
    code.mkdir()
    (code / "handler.py").write_text(HANDLER.format(healed=str(folder / "healed")))
    (code / "combine.py").write_text(COMBINE)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(str(code), handler="handler.handler"),
        batching=Batching(max_items=10),
        combine=Combiner.python(str(code), handler="combine.handler"),
        max_concurrency=4,
        tolerated_failure_percentage=50,
    )
    (folder / "charge").mkdir()
    (folder / "charge" / "handler.py").write_text(CHARGE.format(charged=str(folder / "charged")))
    DistributedMapPipeline(
        stack,
        "Charges",
        items=ItemSource.state_array("$.numbers"),
        worker=Worker.python(str(folder / "charge"), handler="handler.handler", timeout=cdk.Duration.seconds(2)),
        batching=Batching(max_items=3),
        # So that only redrives and retries run items again.
        accounting=Accounting.none(),
    )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


def told(out: str) -> Any:
    return json.loads(out)


def test_failures_are_accounted_for_and_retried_to_the_last_item(
    distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    given = '{"number": 95, "chunk": 1}'
    code, out = distmap("run", "Squares", "--input", given, "--name", "first", "--watch")
    # Failed items of batches that succeeded are in no count of AWS: the ledger alone knows of them.
    assert code == exit_codes.ITEMS_FAILED, out
    code, out = distmap("ledger", "Stack/Squares", "first", "--json")
    ledger = told(out)
    unlucky = [n for n in range(95) if n % 7 == 3]
    assert (code, ledger["captured"], ledger["failed"], ledger["missing"]) == (4, 95, len(unlucky), 0)
    assert ledger["errors"][0]["error"] == "ValueError"
    rows = [told(line) for line in distmap("failures", "Squares", "first", "--json")[1].splitlines()]
    assert sorted(row["item"]["from"] for row in rows) == unlucky

    first = {"count": 95 - len(unlucky), "not": len(unlucky)}
    assert first.items() <= told(distmap("describe", "Squares", "first", "--json")[1])["output"]["combined"].items()

    (folder / "healed").touch()
    code, out = distmap("retry", "Squares", "first", "--watch")
    assert (code, out.splitlines()[0]) == (0, "first-retry-1")
    code, out = distmap("ledger", "Squares", "first-retry-1", "--json")
    merged = told(out)
    assert (merged["run"], merged["succeeded"], merged["failed"], merged["complete"]) == ("first", 95, 0, True)
    assert [link["items"] for link in merged["chain"]] == [95, len(unlucky)]
    lines = [told(line) for line in distmap("results", "Squares", "first", "--ordered")[1].splitlines()]
    assert [line["value"]["square"] for line in lines] == [n * n for n in range(95)]
    # What is combined after a retry is the whole chain, in the retry's output and made anew.
    whole = {"count": 95, "sum": sum(n * n for n in range(95)), "not": 0}
    assert told(distmap("describe", "Squares", "first-retry-1", "--json")[1])["output"]["combined"] == whole
    for name in ("first", "first-retry-1"):
        assert (told(distmap("combine", "Squares", name)[1]), distmap("combine", "Squares", name)[0]) == (whole, 0)
    distmap("combine", "Squares", "first", "-o", str(folder / "combined.json"))
    assert told((folder / "combined.json").read_text()) == whole


def test_stopped_run_is_accounted_for_and_finished_by_a_retry(
    distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    (folder / "healed").touch()
    (folder / "slow").touch()
    distmap("run", "Squares", "--input", '{"number": 400, "chunk": 1}', "--name", "killed")
    for progress in Client().run("Squares", "killed").watch():
        if progress.items.running or progress.items.succeeded:
            break
    assert distmap("stop", "Squares", "killed", "--yes")[0] == 0
    (folder / "slow").unlink()
    code, out = distmap("ledger", "Squares", "killed", "--json")
    ledger = told(out)
    kinds = ("succeeded", "failed", "unprocessed", "pending", "missing")
    assert (code, sum(ledger[kind] for kind in kinds), ledger["missing"]) == (exit_codes.RUN_FAILED, 400, 0)
    assert ledger["succeeded"] < 400
    assert distmap("retry", "Squares", "killed", "--watch")[0] == 0
    assert told(distmap("ledger", "Squares", "killed", "--json")[1])["succeeded"] == 400


def test_an_item_has_one_key_through_redrives_and_retries_of_retries(
    engine: LocalAws, distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    distmap("run", "Charges", "--input", '{"numbers": [1, 2, 3]}', "--name", "april", "--watch")
    run = Client().run("Charges", "april")
    run.redrive()
    run.wait()
    assert distmap("retry", "Charges", "april", "--watch")[0] != 0
    (folder / "charging-healed").touch()
    assert distmap("retry", "Charges", "april-retry-1", "--watch")[0] == 0
    assert told(distmap("ledger", "Charges", "april", "--json")[1])["succeeded"] == 3
    charged = [told(line) for line in (folder / "charged").read_text().splitlines()]
    # The function timed out at item 2 three times, each time after item 1 had had its effect.
    assert [item for item, _ in charged] == [1, 2, 1, 2, 1, 2, 1, 2, 3]
    assert dict(charged) == {item: f"{run.arn}/{item - 1}" for item in (1, 2, 3)}
    assert len({key for _, key in charged}) == len(dict(charged))


def test_items_of_ones_own_are_run(distmap: Callable[..., tuple[int, str]], folder: Path) -> None:
    (folder / "healed").touch()
    (folder / "mine.jsonl").write_text('{"from": 2}\n{"from": 5}\n')
    items = str(folder / "mine.jsonl")
    assert distmap("run", "Squares", "--items", items, "--name", "mine", "--watch")[0] == 0
    lines = distmap("results", "Squares", "mine", "--ordered")[1].splitlines()
    assert [told(line)["value"] for line in lines] == [{"square": 4}, {"square": 25}]


def test_a_plan_measures_items_of_the_source(
    engine: LocalAws, distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    (folder / "healed").touch()
    function = Client().pipeline("Squares").definition.item_file.functions[0]
    before = engine.client("lambda").get_function_configuration(FunctionName=function)["MemorySize"]
    code, out = distmap(
        "plan", "Squares", "--assembly", str(folder), "--input", '{"number": 90, "chunk": 3}', "--measure", "5",
        "--measure-memory", "256,512", "--json",
    )  # fmt: skip
    inputs = {each["name"]: (each["value"], each["origin"]) for each in told(out)["inputs"]}

    assert code == 0
    assert inputs["items"] == (30, "counted")
    assert 0 < inputs["seconds of an item, median"][0] < 1
    assert inputs["seconds of an item, median"][1] == "measured"
    assert inputs["memory that a process of it had at most, MB"][0] > 0
    rows = told(distmap("list", "Squares", "--json")[1])
    assert [row["items"]["total"] for row in rows[:2]] == [5, 5]
    assert engine.client("lambda").get_function_configuration(FunctionName=function)["MemorySize"] == before


def test_list_describe_and_report_of_a_real_run(distmap: Callable[..., tuple[int, str]], folder: Path) -> None:
    distmap("run", "Squares", "--input", '{"number": 10, "chunk": 1}', "--name", "small", "--watch")
    rows = told(distmap("list", "Squares", "--json")[1])
    assert next(row["items"]["total"] for row in rows if row["run"] == "small") == 10
    assert told(distmap("describe", "Squares", "small", "--json")[1])["status"] == "SUCCEEDED"
    assert distmap("report", "Squares", "small", "-o", str(folder / "small.html"))[0] == 0
    page = (folder / "small.html").read_text(encoding="utf-8")
    assert "Every item is accounted for" in page
    assert "Step Functions and Lambda" in page
    assert "cold starts" in page
    numbers = told(distmap("report", "Squares", "small", "--json")[1])
    # A child in batches of more than ten items: its start, its state, one request, and its time.
    assert numbers["stepFunctionsDollars"] == pytest.approx(numbers["children"] * 50e-6)
    assert numbers["children"] * 0.2e-6 < numbers["lambdaDollarsAtMost"] < numbers["children"] * 1e-3
    assert numbers["childrenWithoutTimes"] == 0
    assert "items captured" in distmap("logs", "Squares", "small")[1]


def logged(read: Callable[[], str]) -> list[str]:
    """Return log lines once they are there: they are written some time after what they tell of."""
    give_up = time.monotonic() + 30
    while not (out := read()):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    return [told(line)["text"] for line in out.splitlines()]


def test_logs_of_a_child_are_those_of_its_own_invocations(
    engine: LocalAws, distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    (folder / "healed").touch()
    distmap("run", "Squares", "--input", '{"number": 60, "chunk": 1}', "--name", "logged", "--watch")
    sfn = engine.client("stepfunctions")
    (map_run,) = Client().run("Squares", "logged").map_run_arns()
    children = [each["executionArn"] for each in sfn.list_executions(mapRunArn=map_run)["executions"]]
    assert len(children) > 2
    begun: list[str] = []
    for child in children:
        texts = logged(lambda child=child: distmap("logs", "Squares", "logged", "--child", child, "--json")[1])  # type: ignore[misc] # mypy can't infer a default
        starts = [text for text in texts if text.startswith("START RequestId: ")]
        assert len(starts) == 1
        assert texts[0] == starts[0]
        assert texts[-1].startswith("REPORT RequestId: ")
        assert any('"run":"logged"' in text.replace(" ", "") for text in texts)
        begun += starts
    assert len(set(begun)) == len(children)


def test_logs_of_a_run_are_its_own_alone_and_can_be_narrowed_down(
    distmap: Callable[..., tuple[int, str]], folder: Path
) -> None:
    (folder / "quiet.jsonl").write_text('{"from": 2}\n')
    (folder / "loud.jsonl").write_text('{"from": 5}\n{"from": 1000}\n')
    for name in ("quiet", "loud"):
        distmap("run", "Squares", "--items", str(folder / f"{name}.jsonl"), "--name", name, "--watch")

    def read(*options: str) -> list[Any]:
        code, out = distmap("logs", "Squares", "loud", "--json", *options)
        assert code == 0
        return [told(line) for line in out.splitlines()]

    logged(lambda: "" if len(distmap("logs", "Squares", "loud")[1].splitlines()) < 8 else '{"text": 1}')
    found = read()
    texts = [each["text"] for each in found]
    assert {"at work on 5", "at work on 1000"} <= set(texts)
    assert "at work on 2" not in texts
    assert not [text for text in texts if "quiet" in text]
    # Those of the worker and of the functions that account for the run and combine its results.
    assert sum(text.startswith("START RequestId: ") for text in texts) == 3
    (processed,) = [each for each in found if '"items processed"' in each["text"]]
    assert processed["report"]["durationMs"] > 0
    (shown,) = [line for line in distmap("logs", "Squares", "loud")[1].splitlines() if '"items processed"' in line]
    assert re.search(r"\}  \[[\d,]+ ms, [\d,]+ of [\d,]+ MB", shown)

    (line,) = [each["text"] for each in read("--errors") if "items processed" in each["text"]]
    assert '"failed":1' in line.replace(" ", "")
    assert "at work on 5" not in {each["text"] for each in read("--errors")}
    of_item = read("--item", "1")
    assert [each["text"] for each in of_item] == [
        each["text"] for each in found if each["request"] == processed["request"]
    ]
    assert read("--since", "1d") == found
    assert read("--since", "2999-01-01") == []
    assert sorted(each["text"] for each in read("--follow")) == sorted(texts)
    assert distmap("logs", "Squares", "loud", "--item", "99")[0] == exit_codes.ERROR
    assert distmap("logs", "Squares", "loud", "--item", "1", "--follow")[0] == exit_codes.USAGE
