"""The ledger: it adds up over random runs, finds every planted loss, and raises no false alarm."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_distributed_map.runs import Ledger, NotReadyError, Pipeline, ResultFilesError
from cdk_distributed_map.runs.files.item_states import MISSING, PENDING, SUCCEEDED, ItemStates
from distmap import Results
from distmap.wire import BatchFailure

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FATES = ["succeeded", "failed", "unprocessed", "child failed", "child timed out", "batch failed", "pending", "lost"]


def numbers(ledger: Ledger) -> dict[str, int]:
    names = ("captured", "succeeded", "failed", "timed_out", "unprocessed", "pending", "missing", "duplicates")
    return {name: getattr(ledger, name) for name in names}


def answer(items: list[tuple[int, Any]], fates: dict[int, str]) -> dict[str, Any]:
    """What the runtime answers for a batch."""
    by: dict[str, list[int]] = {}
    for index, _ in items:
        by.setdefault(fates.get(index, "succeeded"), []).append(index)
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": index * index} for index in by.get("succeeded", [])
        ],
        "batchItemFailures": [
            {"itemIdentifier": str(index), "error": "ValueError", "cause": f"item {index}"}
            for index in by.get("failed", [])
        ],
        "batchItemsUnprocessed": [str(index) for index in by.get("unprocessed", [])],
    }


def batch_failure(items: list[tuple[int, Any]]) -> str:
    told: BatchFailure = {
        "message": "all failed",
        "batch": answer(items, {index: "failed" for index, _ in items}),  # type: ignore[typeddict-item] # a dict of its shape
    }
    return json.dumps({"errorMessage": json.dumps(told), "errorType": "BatchFailedError", "stackTrace": []})


@pytest.fixture
def finish(states: Any, files: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a finished run of a number of items, and the writer of its files."""

    def make(
        pipeline: Pipeline, count: int, *, name: str | None = None, status: str = "SUCCEEDED", **options: Any
    ) -> Any:
        chosen = f"run-{uuid.uuid4().hex[:8]}" if name is None else name
        run = states.add_run(pipeline.arn, chosen, label="Squares", items=count, seconds=0)
        run.ended = (status, 1.0)
        writer = files(pipeline, chosen, **options)
        run.output = {"items": {"bucket": writer.run["bucket"], "key": f"runs/{chosen}/items.jsonl", "count": count}}
        return writer

    return make


class Plan:
    """A random run: what becomes of its items, and what the ledger must say."""

    def __init__(self, writer: Any, seed: int) -> None:
        self.writer = writer
        self.draw = random.Random(seed)  # noqa: S311 - a test that can be repeated
        self.planted: Counter[str] = Counter()
        self.duplicates = 0
        self.redriven: list[list[tuple[int, Any]]] = []

    def write(self, count: int) -> None:
        indexes = list(range(count))
        self.draw.shuffle(indexes)
        while indexes:
            size = self.draw.randint(1, 9)
            self.add([(index, {"n": index}) for index in indexes[:size]])
            indexes = indexes[size:]
        self.writer.write()
        for batch in self.redriven:
            self.writer.child(batch, output=answer(batch, {}))
        if self.redriven:
            self.writer.write(redrive=1)

    def add(self, batch: list[tuple[int, Any]]) -> None:
        fate = self.draw.choice(["mixed", "mixed", "mixed", "redriven", *FATES[3:]])
        if fate == "mixed":
            self.add_mixed(batch)
            return
        if fate == "redriven":
            self.redriven.append(batch)
        if fate in {"child failed", "redriven"}:
            self.writer.child(batch, "FAILED", error="Lambda.Unknown", cause="exit status 1")
        elif fate == "child timed out":
            self.writer.child(batch, "TIMED_OUT", error="States.Timeout")
        elif fate == "batch failed":
            self.writer.child(batch, "FAILED", error="BatchFailedError", cause=batch_failure(batch))
        elif fate == "pending":
            self.writer.child(batch, "PENDING")
        self.planted["succeeded" if fate == "redriven" else fate] += len(batch)

    def add_mixed(self, batch: list[tuple[int, Any]]) -> None:
        fates = {index: self.draw.choice(["succeeded"] * 5 + FATES[1:3]) for index, _ in batch}
        self.writer.child(batch, output=answer(batch, fates))
        self.planted.update(fates.values())
        if self.draw.random() < 0.2:  # an Express child that ran twice
            self.writer.child(batch, output=answer(batch, fates))
            self.duplicates += len(fates)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 60),
    seed=st.integers(0, 2**32),
    options=st.fixed_dictionaries(
        {
            "status": st.sampled_from(["SUCCEEDED", "FAILED", "ABORTED"]),
            "output_type": st.sampled_from(["JSON", "JSONL"]),
            "transformation": st.sampled_from(["NONE", "COMPACT", "FLATTEN"]),
            "part_records": st.sampled_from([1, 3, 1000]),
        }
    ),
)
def test_random_runs_add_up(
    squares: Pipeline, finish: Callable[..., Any], count: int, seed: int, options: dict[str, Any]
) -> None:
    """Succeeded + failed + unprocessed + pending + missing = captured, and each number is the planted one."""
    plan = Plan(finish(squares, count, **options), seed)
    plan.write(count)
    planted = plan.planted
    run = squares.run(plan.writer.run["name"])
    ledger = run.ledger(wait_seconds=0)
    failed = sum(planted[each] for each in ("failed", "child failed", "child timed out", "batch failed"))
    if planted["lost"] == count and options["status"] == "ABORTED":
        # The files are those of a run that was stopped before its export: its items are pending, with a note.
        assert (ledger.pending, len(ledger.notes)) == (count, 1 if count else 0)
        return
    assert numbers(ledger) == {
        "captured": count,
        "succeeded": planted["succeeded"],
        "failed": failed,
        "timed_out": planted["child timed out"],
        "unprocessed": planted["unprocessed"],
        "pending": planted["pending"],
        "missing": planted["lost"],
        "duplicates": plan.duplicates,
    }
    assert ledger.accounted == count
    assert ledger.adds_up
    # A run that failed without an item failed of itself.
    assert ledger.is_complete == (planted["lost"] == 0 and (count > 0 or options["status"] != "FAILED"))
    assert sum(each.count for each in ledger.errors) == failed
    if planted["lost"] < count:
        check_others_agree(run, plan.writer, ledger)


def check_others_agree(run: Any, writer: Any, ledger: Ledger) -> None:
    """Check that results, failures and combine say the same of every item."""
    if ledger.missing and ledger.status == "SUCCEEDED":
        with pytest.raises(ResultFilesError, match=f"had {ledger.captured} items?, and there are"):
            list(run.results(wait_seconds=0))
        return
    results = {each.index: each.status for each in run.results(unsuccessful=True, wait_seconds=0)}
    succeeded = {index for index, status in results.items() if status == "SUCCEEDED"}
    assert succeeded == {index for index in range(ledger.captured) if ledger.states.succeeded(index)}
    assert len(results) == ledger.captured - ledger.missing
    failed = {index for index, status in results.items() if status == "FAILED"}
    assert len(failed) == ledger.failed
    failures = {each.index: each.status for each in run.failures(ledger)}
    assert {index for index, status in failures.items() if status != "UNPROCESSED"} == failed
    assert len(failures) == ledger.failed + ledger.unprocessed
    combined = Results(writer.s3, {"bucket": writer.run["bucket"], "key": f"{writer.folder}/manifest.json"})
    assert {each.index: each.status for each in combined} == results
    assert combined.duplicates == ledger.duplicates


def whole(writer: Any, count: int, *, batch: int = 10, fates: dict[int, str] | None = None) -> None:
    for start in range(0, count, batch):
        items = [(index, {"n": index}) for index in range(start, min(start + batch, count))]
        writer.child(items, output=answer(items, fates or {}))
    writer.write()


def test_errors_have_counts_and_examples(squares: Pipeline, finish: Callable[..., Any]) -> None:
    writer = finish(squares, 30)
    whole(writer, 30, fates=dict.fromkeys((3, 4, 5, 6, 17), "failed"))
    (error,) = squares.run(writer.run["name"]).ledger().errors
    assert (error.error, error.count, error.timed_out) == ("ValueError", 5, False)
    assert [(each.index, each.cause) for each in error.examples] == [(3, "item 3"), (4, "item 4"), (5, "item 5")]
    assert all("execution:Squares/Squares:" in str(each.child) for each in error.examples)


def test_ledger_asks_aws_each_thing_once(squares: Pipeline, finish: Callable[..., Any], states: Any) -> None:
    writer = finish(squares, 10)
    whole(writer, 10)
    run = squares.run(writer.run["name"])
    read: list[str] = []
    events = run.aws.s3().meta.events
    events.register("provide-client-params.s3.GetObject", lambda params, **_: read.append(params["Key"]))
    states.calls.clear()
    assert run.ledger().adds_up
    assert read.count(f"{writer.folder}/manifest.json") == 1
    asked = {"DescribeExecution": 1, "ListMapRuns": 1, "DescribeMapRun": 1}
    assert {name: states.calls[name] for name in asked} == asked
    assert run.ledger().adds_up
    assert states.calls["DescribeExecution"] == 2  # a later call sees what has changed since


def test_missing_result_file_is_named_and_its_items_are_missing(
    squares: Pipeline, finish: Callable[..., Any], s3: S3Client
) -> None:
    writer = finish(squares, 40, part_records=2)
    whole(writer, 40)
    s3.delete_object(Bucket=writer.run["bucket"], Key=f"{writer.folder}/SUCCEEDED_1.jsonl")
    ledger = squares.run(writer.run["name"]).ledger()
    assert (ledger.succeeded, ledger.missing, ledger.missing_examples[0]) == (20, 20, 20)
    assert not ledger.adds_up
    assert "SUCCEEDED_1.jsonl is missing" in ledger.problems[0]


@pytest.mark.parametrize("output_type", ["JSON", "JSONL"])
def test_truncated_result_file_is_named(
    output_type: str, squares: Pipeline, finish: Callable[..., Any], s3: S3Client
) -> None:
    writer = finish(squares, 40, output_type=output_type)
    whole(writer, 40)
    key = f"{writer.folder}/SUCCEEDED_0.{output_type.lower()}"
    body = s3.get_object(Bucket=writer.run["bucket"], Key=key)["Body"].read()
    end = body.index(b"\n", len(body) // 2) + 1 if output_type == "JSONL" else len(body) // 2
    s3.put_object(Bucket=writer.run["bucket"], Key=key, Body=body[:end])
    ledger = squares.run(writer.run["name"]).ledger()
    assert ledger.succeeded + ledger.missing == 40
    assert 10 <= ledger.missing <= 30
    assert key in ledger.problems[0]


def test_result_file_written_twice_counts_as_duplicates(
    squares: Pipeline, finish: Callable[..., Any], s3: S3Client
) -> None:
    writer = finish(squares, 20)
    whole(writer, 20)
    manifest_key = f"{writer.folder}/manifest.json"
    manifest = json.loads(s3.get_object(Bucket=writer.run["bucket"], Key=manifest_key)["Body"].read())
    (first,) = manifest["ResultFiles"]["SUCCEEDED"]
    copy = first["Key"].replace("_0", "_1")
    s3.copy_object(
        Bucket=writer.run["bucket"], Key=copy, CopySource={"Bucket": writer.run["bucket"], "Key": first["Key"]}
    )
    manifest["ResultFiles"]["SUCCEEDED"].append({"Key": copy, "Size": first["Size"]})
    s3.put_object(Bucket=writer.run["bucket"], Key=manifest_key, Body=json.dumps(manifest).encode())
    ledger = squares.run(writer.run["name"]).ledger()
    assert (ledger.succeeded, ledger.duplicates, ledger.is_complete) == (20, 20, True)


def test_result_of_an_item_that_was_never_captured_is_named(squares: Pipeline, finish: Callable[..., Any]) -> None:
    writer = finish(squares, 20)
    whole(writer, 22)
    ledger = squares.run(writer.run["name"]).ledger()
    assert not ledger.adds_up
    assert ledger.problems == ("2 results have an index that no captured item has, such as 20, 21",)


def test_running_run_has_pending_items_and_no_alarm(squares: Pipeline, states: Any, files: Callable[..., Any]) -> None:
    states.add_run(squares.arn, "going", label="Squares", items=50, seconds=1000)
    writer = files(squares, "going")
    writer.items([{"n": index} for index in range(50)])
    writer.write()  # the test manifest that a map writes when it starts
    ledger = squares.run("going").ledger()
    assert (ledger.captured, ledger.captured_from, ledger.pending, ledger.is_complete) == (50, "item file", 50, True)


def test_items_without_identity_are_pending_while_their_retry_runs() -> None:
    states = ItemStates(10)
    for _ in range(7):
        states.succeed(None)
    states.fill_pending()
    assert (states.count(SUCCEEDED), states.count(PENDING), states.count(MISSING)) == (7, 3, 10)
    assert states.count(MISSING) == sum(states.unidentified.values())  # so that none is missing


def test_killed_run_without_a_map_leaves_its_items_pending(
    squares: Pipeline, states: Any, files: Callable[..., Any]
) -> None:
    run = states.add_run(squares.arn, "killed")
    run.ended = ("ABORTED", 1.0)
    files(squares, "killed").items([1, 2, 3])
    ledger = squares.run("killed").ledger()
    assert (ledger.captured, ledger.pending, ledger.status) == (3, 3, "ABORTED")


def test_fails_when_the_results_do_not_come(squares: Pipeline, finish: Callable[..., Any]) -> None:
    writer = finish(squares, 5)
    with pytest.raises(NotReadyError, match=r"are gone: .* A lifecycle rule or somebody has deleted it"):
        squares.run(writer.run["name"]).ledger(wait_seconds=0)


def test_fails_when_the_results_are_not_there_yet(squares: Pipeline, finish: Callable[..., Any], states: Any) -> None:
    writer = finish(squares, 5)
    run = next(iter(states.executions.values()))
    run.ended = ("SUCCEEDED", time.time() - states.epoch)
    with pytest.raises(NotReadyError, match="are not there yet"):
        squares.run(writer.run["name"]).ledger(wait_seconds=0)


def test_item_file_that_has_changed_since_is_named(squares: Pipeline, states: Any, files: Callable[..., Any]) -> None:
    run = states.add_run(squares.arn, "placed", label="Squares", items=20, seconds=0)
    run.ended = ("SUCCEEDED", 1.0)
    writer = files(squares, "placed")
    run.output = {"items": {"bucket": writer.run["bucket"], "key": "runs/placed/items.jsonl"}}
    writer.items(list(range(23)))
    whole(writer, 20)
    ledger = squares.run("placed").ledger()
    assert (ledger.captured, ledger.succeeded, ledger.missing) == (20, 20, 0)
    assert "has 23 items, and the Map Run had 20: the file has changed since" in ledger.problems[0]


def test_run_stopped_before_its_export_has_pending_items_and_a_note(
    squares: Pipeline, finish: Callable[..., Any]
) -> None:
    writer = finish(squares, 5, status="ABORTED")
    writer.write()  # the test manifest only
    ledger = squares.run(writer.run["name"]).ledger(wait_seconds=0)
    assert (ledger.pending, ledger.missing, ledger.is_complete) == (5, 0, True)
    assert "was ABORTED before its results were exported" in ledger.notes[0]


def test_late_manifest_is_waited_for(
    squares: Pipeline, finish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = finish(squares, 20)
    writer.write()  # the test manifest only
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            whole(writer, 20)

    monkeypatch.setattr("cdk_distributed_map.runs.files.scan.time.sleep", pause)
    assert squares.run(writer.run["name"]).ledger().succeeded == 20
    assert len(pauses) == 2


def test_results_wait_for_a_late_manifest_too(
    squares: Pipeline, finish: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = finish(squares, 20)
    monkeypatch.setattr("cdk_distributed_map.runs.files.scan.time.sleep", lambda _: whole(writer, 20))
    assert len(list(squares.run(writer.run["name"]).results())) == 20


def test_throttled_and_failing_calls_are_repeated(squares: Pipeline, finish: Callable[..., Any], states: Any) -> None:
    writer = finish(squares, 20)
    whole(writer, 20)
    states.faults.extend(
        [
            ("DescribeExecution", 400, "ThrottlingException"),
            ("DescribeExecution", 503, "ServiceUnavailable"),
            ("DescribeExecution", 0, ""),
        ]
    )
    assert squares.run(writer.run["name"]).ledger().is_complete
    assert not states.faults


def test_run_that_aws_forgot_is_accounted_for_from_its_files(
    squares: Pipeline, finish: Callable[..., Any], states: Any
) -> None:
    writer = finish(squares, 20, name="old")
    writer.items([{"n": index} for index in range(20)])
    whole(writer, 18)
    states.executions.clear()
    ledger = squares.run("old").ledger()
    assert (ledger.captured, ledger.captured_from, ledger.missing, ledger.status) == (20, "item file", 2, "UNKNOWN")


def test_source_without_a_file_is_counted_by_the_map_run(
    listed: Pipeline, states: Any, files: Callable[..., Any]
) -> None:
    run = states.add_run(listed.arn, "run", label="Listed", items=25, seconds=0)
    run.ended = ("SUCCEEDED", 1.0)
    whole(files(listed, "run", transformation="COMPACT"), 20)
    ledger = listed.run("run").ledger()
    assert (ledger.captured, ledger.captured_from, ledger.missing) == (25, "map run", 5)


def test_worker_of_other_make_is_accounted_for_by_its_inputs(squares: Pipeline, finish: Callable[..., Any]) -> None:
    writer = finish(squares, 20)
    for start in (0, 10):
        items = [(index, index) for index in range(start, start + 10)]
        writer.child(items, output={"anything": "else"})
    writer.write()
    ledger = squares.run(writer.run["name"]).ledger()
    assert (ledger.succeeded, ledger.is_complete) == (20, True)


def test_ledger_as_json_says_whether_it_adds_up(squares: Pipeline, finish: Callable[..., Any]) -> None:
    writer = finish(squares, 20)
    whole(writer, 19, fates={4: "failed"})
    told = squares.run(writer.run["name"]).ledger().to_json()
    assert told == json.loads(json.dumps(told))
    assert (told["captured"], told["succeeded"], told["failed"], told["missing"]) == (20, 18, 1, 1)
    assert (told["addsUp"], told["complete"], told["missingExamples"]) == (True, False, [19])
    assert told["errors"][0]["examples"][0]["index"] == 4
