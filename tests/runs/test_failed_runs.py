"""Runs that failed before they had read their items, and runs over nothing: neither is told as a success."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Ledger, Pipeline, RunFailedError
from distmap._stream import object_chunks
from tests.cli.command import exit_codes, run_here
from tests.deployments import Deploy

HANDLER = "from distmap import process_items\n\nhandler = process_items(lambda item: item)\n"
CAPTURE = """
from distmap import capture_items


@capture_items
def handler(event):
    yield 1
    raise RuntimeError("the source is closed")
"""
# Others of the local AWS keep their buckets, too.
DATA, PAYLOAD = "data-of-failed-runs", "payload-of-failed-runs"
LATIN = b"n\n" + b"x\n" * 3 + "café\n".encode("latin-1")


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """A local AWS with a pipeline for each way to fail before there are items."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3

    from cdk_distributed_map import Capture, DistributedMapPipeline, ItemSource, Worker

    folder = tmp_path_factory.mktemp("failed")
    (folder / "code").mkdir()
    (folder / "code" / "worker.py").write_text(HANDLER)
    (folder / "code" / "capture.py").write_text(CAPTURE)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    data = s3.Bucket(stack, "Data", bucket_name=DATA)
    payload = s3.Bucket(stack, "Payload", bucket_name=PAYLOAD)
    capture = Capture.python(str(folder / "code"), handler="capture.handler")
    sources = {
        "Array": ItemSource.state_array("$.items"),
        "Latin": ItemSource.csv(data, "latin.csv"),
        "Broken": ItemSource.captured(capture),
        "Listed": ItemSource.s3_objects(data, prefix="nothing/"),
        "Ranges": ItemSource.captured(Capture.ranges()),
    }
    for name, source in sources.items():
        DistributedMapPipeline(
            stack,
            name,
            items=source,
            worker=Worker.python(str(folder / "code"), handler="worker.handler"),
            payload_bucket=payload,
            payload_prefix=f"{name}/",
            max_concurrency=2,
        )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    shared_aws.client("s3").put_object(Bucket=DATA, Key="latin.csv", Body=LATIN)
    return shared_aws


@pytest.mark.parametrize(
    ("pipeline", "given", "told"),
    [
        ("Array", {}, ("Array map", "States.QueryEvaluationError")),
        pytest.param("Latin", {}, ("Latin map", "States.ItemReaderFailed"), marks=pytest.mark.slow),
        ("Broken", {}, ("Broken capture", "the source is closed")),
        (
            "Array",
            {"items": {"bucket": PAYLOAD, "key": "Array/items/none.jsonl"}},
            ("Array map item file", "States.ItemReaderFailed"),
        ),
    ],
    ids=["no array", "not UTF-8", "capture that raises", "no item file"],
)
def test_run_that_failed_before_it_read_an_item_is_no_success(
    pipeline: str,
    given: Any,
    told: tuple[str, str],
    distmap: Callable[..., tuple[int, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    state, why = told
    name = f"{pipeline}-{len(json.dumps(given))}"
    code, out = distmap("run", pipeline, "--input", json.dumps(given), "--name", name, "--watch")
    assert code == exit_codes.RUN_FAILED, out
    code, out = distmap("ledger", pipeline, name)
    assert (code, "it adds up" in out, why in out) == (exit_codes.RUN_FAILED, False, True), out
    code, out = distmap("ledger", pipeline, name, "--json")
    made = json.loads(out)
    assert (code, made["complete"], made["captured"], made["capturedFrom"]) == (3, False, 0, "unknown")
    assert why in made["runError"]
    # An object that isn't there is told as one that may not be listed.
    assert ("of an object that isn't there" in made["runError"]) == ("s3:ListBucket" in made["runError"])
    reason = f"{name!r} failed before it read an item, in the state {state!r}: "
    assert made["runError"].startswith(reason)
    for command in ("ledger", "failures", "results", "retry", "watch"):
        code, streams = run_here(command, pipeline, name), capsys.readouterr()
        said = streams.out + streams.err
        assert (code, reason.rstrip(": ") in said, why in said) == (exit_codes.RUN_FAILED, True, True), (command, said)
    assert reason in distmap("list", pipeline)[1]
    (row,) = [each for each in json.loads(distmap("list", pipeline, "--json")[1]) if each["run"] == name]
    assert (row["items"], row["runError"]) == (None, made["runError"])
    assert json.loads(distmap("describe", pipeline, name, "--json")[1])["failedState"] == state
    code, page = distmap("report", pipeline, name, "-o", "-")
    assert code == exit_codes.RUN_FAILED
    assert "The run's own error" in page
    assert "Every item is accounted for" not in page
    assert f"distmap logs {pipeline} {name} --errors" in page
    assert "distmap results" not in page
    assert page.count("no item of it was tried") == 2


def test_fails_when_a_run_that_read_nothing_is_retried(
    distmap: Callable[..., tuple[int, str]],
) -> None:
    distmap("run", "Array", "--input", "{}", "--name", "refused", "--watch")
    run = Client().run("Array", "refused")
    with pytest.raises(
        RunFailedError,
        match=r"nothing to retry.*'refused' failed before it read an item, in the state 'Array map': States\.",
    ):
        run.retry()
    with pytest.raises(RunFailedError, match="there are no results: 'refused' failed before it read an item"):
        list(run.results())
    with pytest.raises(RunFailedError, match="no item failed, because none was read"):
        list(run.failures())
    assert not run.ledger().is_complete


def test_run_over_nothing_says_that_it_had_no_items(
    distmap: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = distmap("run", "Listed", "--name", "empty", "--watch")
    assert (code, "the run had no items: look at" in out) == (0, True)
    assert "the run had no items: look at" in distmap("watch", "Listed", "empty", "--no-ledger")[1]
    code, out = distmap("ledger", "Listed", "empty")
    assert (code, "the run had no items: look at" in out) == (0, True)
    assert out.count("the run had no items") == 1
    for recount in ([], ["--recount"]):
        made = json.loads(distmap("ledger", "Listed", "empty", *recount, "--json")[1])
        (note,) = made["notes"]
        assert (made["captured"], made["complete"], note[:21]) == (0, True, "the run had no items:")
    assert distmap("results", "Listed", "empty") == (0, "")
    assert distmap("retry", "Listed", "empty") == (0, "empty had no items: nothing to run again\n")


@pytest.mark.parametrize(
    ("pipeline", "given"),
    [
        ("Listed", {}),
        ("Ranges", {"number": 0}),
        ("Array", {"items": []}),
        ("Array", {"items": {"bucket": PAYLOAD, "key": "Array/items/empty.jsonl"}}),
        ("Array", {"items": {"bucket": PAYLOAD, "key": "Array/items/blank.jsonl"}}),
    ],
    ids=["listed", "captured", "array", "item file", "blank lines"],
)
def test_the_account_of_a_run_over_nothing_is_what_a_recount_says(
    pipeline: str, given: Any, engine: LocalAws, distmap: Callable[..., tuple[int, str]]
) -> None:
    for key, body in (("empty", b""), ("blank", b"\n\n")):
        engine.client("s3").put_object(Bucket=PAYLOAD, Key=f"Array/items/{key}.jsonl", Body=body)
    name = re.sub(r"\W+", "-", f"nothing {pipeline} {json.dumps(given)}")[:80].strip("-")
    code, out = distmap("run", pipeline, "--input", json.dumps(given), "--name", name, "--watch")
    assert code == exit_codes.SUCCESS, out

    own, recounted = (json.loads(distmap("ledger", pipeline, name, *how, "--json")[1]) for how in ([], ["--recount"]))

    assert own["status"] == "SUCCEEDED"
    assert {each: own[each] for each in recounted} == recounted


# -- in more detail, without an engine


def account(pipeline: Pipeline, states: Any, *, name: str = "run", **of_run: Any) -> Ledger:
    """Return the ledger of a run of 10 items or none that ended in some way."""
    run = states.add_run(pipeline.arn, name, **of_run)
    run.error = "States.ItemReaderFailed"
    run.ended = ("FAILED", 1.0)
    return pipeline.run(name).ledger(wait_seconds=0)


def test_run_whose_reader_failed_on_the_way_does_not_know_its_items(
    squares: Pipeline, states: Any, files: Callable[..., Any]
) -> None:
    writer = files(squares, "run")
    writer.child([(index, index) for index in range(10)])
    writer.write()
    ledger = account(squares, states, label="Squares", items=10, seconds=0)
    assert (ledger.captured, ledger.succeeded, ledger.is_complete) == (10, 10, False)
    assert ledger.run_error is not None
    assert "before it had read all of its items (it read 10 items): States.ItemReaderFailed" in ledger.run_error
    assert len(list(squares.run("run").results())) == 10
    with pytest.raises(RunFailedError, match="nobody knows which items there were"):
        squares.run("run").retry()


def test_items_of_a_file_that_could_not_be_read_are_pending_and_can_be_retried(
    squares: Pipeline, states: Any, files: Callable[..., Any]
) -> None:
    files(squares, "run").items([1, 2, 3])
    ledger = account(squares, states, label="Squares", items=0, seconds=0)
    assert (ledger.captured, ledger.pending, ledger.is_complete) == (3, 3, False)
    retry = squares.run("run").retry()
    assert retry is not None
    assert json.loads(states.executions[retry.arn].input)["items"]["count"] == 3


def test_run_that_has_not_read_an_item_yet_is_not_complete(squares: Pipeline, states: Any) -> None:
    states.add_run(squares.arn, "begun")
    ledger = squares.run("begun").ledger(wait_seconds=0)
    assert (ledger.captured, ledger.captured_from, ledger.is_complete) == (0, "unknown", False)
    assert ledger.run_error is None


def test_blank_lines_of_an_item_file_are_no_items(
    squares: Pipeline, states: Any, files: Callable[..., Any], s3: Any, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="items/mine.jsonl", Body=b"\n1\n\n2\n \n3")
    run = states.add_run(squares.arn, "run", label="Squares", items=3, seconds=0)
    run.input = json.dumps({"items": {"bucket": bucket, "key": "items/mine.jsonl"}})
    run.ended = ("SUCCEEDED", 1.0)
    writer = files(squares, "run")
    writer.child([(index, index + 1) for index in range(3)], "FAILED", error="E", cause="c")
    writer.write()
    ledger = squares.run("run").ledger()
    assert (ledger.captured, ledger.failed, ledger.is_complete) == (3, 3, True), ledger.problems
    retry = squares.run("run").retry()
    assert retry is not None
    sent = s3.get_object(Bucket=bucket, Key="runs/run/retries/run-retry-1/items.jsonl")["Body"].read()
    assert [json.loads(line)["value"] for line in sent.splitlines()] == [1, 2, 3]


def test_results_read_no_more_of_an_item_file_than_its_first_item(
    squares: Pipeline, states: Any, files: Callable[..., Any], s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = squares.definition.item_file.bucket
    s3.put_object(Bucket=bucket, Key="items/long.jsonl", Body=b"1\n" * 4_000_000)
    run = states.add_run(squares.arn, "run", label="Squares", items=1, seconds=0)
    run.input = json.dumps({"items": {"bucket": bucket, "key": "items/long.jsonl"}})
    run.ended = ("SUCCEEDED", 1.0)
    writer = files(squares, "run")
    writer.child([(0, 1)])
    writer.write()
    read: list[int] = []

    def counting(*arguments: Any) -> Iterator[bytes]:
        for chunk in object_chunks(*arguments):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr("cdk_distributed_map.runs.files.item_files.object_chunks", counting)
    assert len(list(squares.run("run").results())) == 1
    assert len(read) == 1
