"""Results, failures and retries: each item once, in order, in every format; and again what did not succeed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.runs import (
    InputError,
    ItemResult,
    MissingPackageError,
    NotFoundError,
    NotReadyError,
    Pipeline,
    ResultFilesError,
    Run,
    RunStateError,
    UnavailableItemsError,
    to_pandas,
    to_polars,
)
from cdk_distributed_map.runs.results import columns, item_results, tables

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def answer(
    items: list[tuple[int, Any]], *, bad: frozenset[int] = frozenset(), left: frozenset[int] = frozenset()
) -> Any:
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": {"n": index}} for index, _ in items if index not in bad | left
        ],
        "batchItemFailures": [
            {"itemIdentifier": str(index), "error": "ValueError", "cause": f"bad {index}", "place": "handler.py:9 in f"}
            for index, _ in items
            if index in bad
        ],
        "batchItemsUnprocessed": [str(index) for index, _ in items if index in left],
    }


@pytest.fixture
def first(squares: Pipeline, states: Any, files: Callable[..., Any]) -> Run:
    """A run of 40 items: 5 and 6 fail, 7 is left, 10 to 19 fail with their child, 20 to 29 wait, 35 is lost."""
    run = states.add_run(squares.arn, "first", label="Squares", items=40, seconds=0, input={"number": 40, "chunk": 1})
    run.ended = ("FAILED", 1.0)
    writer = files(squares, "first")
    writer.items([{"v": index} for index in range(40)])
    batches = [[(index, {"v": index}) for index in range(start, start + 10)] for start in range(0, 40, 10)]
    writer.child(batches[0], output=answer(batches[0], bad=frozenset({5, 6}), left=frozenset({7})))
    writer.child(
        batches[1], "FAILED", error="Sandbox.Timedout", cause='{"errorMessage": "Task timed out after 3.00 s"}'
    )
    writer.child(batches[2], "PENDING")
    kept = [each for each in batches[3] if each[0] != 35]
    writer.child(kept, output=answer(kept))
    writer.write()
    return squares.run("first")


UNSUCCESSFUL = [5, 6, 7, *range(10, 30), 35]


def test_results_come_in_order_each_once(first: Run) -> None:
    found = list(first.results(ordered=True))
    assert [each.index for each in found] == [index for index in range(40) if index not in UNSUCCESSFUL]
    assert found[0].value == {"n": 0}
    everything = list(first.results(ordered=True, unsuccessful=True))
    assert len(everything) == 39
    assert [(each.index, each.status, each.error) for each in everything[5:8]] == [
        (5, "FAILED", "ValueError"),
        (6, "FAILED", "ValueError"),
        (7, "UNPROCESSED", None),
    ]


def test_order_does_not_depend_on_memory(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(first.results(ordered=True, unsuccessful=True))
    monkeypatch.setattr(item_results, "SORTED_BYTES", 1000)
    assert list(first.results(ordered=True, unsuccessful=True)) == expected


def test_results_in_every_format(first: Run, tmp_path: Any) -> None:
    import pyarrow.parquet as pq  # type: ignore[import-untyped] # it has no types

    lines, rows = io.StringIO(), io.StringIO(newline="")
    assert tables.write_json_lines(first.results(ordered=True), lines) == 16
    assert json.loads(lines.getvalue().splitlines()[1]) == {"index": 1, "status": "SUCCEEDED", "value": {"n": 1}}
    assert tables.write_csv(first.results(ordered=True), rows) == 16
    assert list(csv.reader(io.StringIO(rows.getvalue())))[2] == ["1", "SUCCEEDED", '{"n": 1}', "", ""]
    with (tmp_path / "out.parquet").open("wb") as file:
        assert columns.write_parquet(first.results(ordered=True, unsuccessful=True), file).rows == 39
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert table[1] == {"index": 1, "status": "SUCCEEDED", "n": 1, "error": None, "cause": None, "place": None}
    failed = {"index": 5, "status": "FAILED", "error": "ValueError", "cause": "bad 5", "place": "handler.py:9 in f"}
    assert table[5] == {**failed, "n": None}


def test_what_failed_says_where_in_every_format(first: Run) -> None:
    found = list(first.results(ordered=True, unsuccessful=True))
    assert {each.index: each.place for each in found if each.place is not None} == dict.fromkeys(
        (5, 6), "handler.py:9 in f"
    )
    lines = io.StringIO()
    tables.write_json_lines(found, lines)
    rows = {row["index"]: row for row in map(json.loads, lines.getvalue().splitlines())}
    assert rows[5]["place"] == "handler.py:9 in f"
    assert "place" not in rows[1]
    assert "place" not in rows[10]
    assert to_pandas(found)["place"].dropna().unique().tolist() == ["handler.py:9 in f"]


def test_results_become_frames_of_pandas_and_polars(first: Run) -> None:
    frame = to_pandas(first.results(ordered=True))
    assert (list(frame.columns), len(frame), frame["value"][1]) == (list(tables.COLUMNS), 16, {"n": 1})
    assert to_polars(first.results(ordered=True))["index"].to_list()[:3] == [0, 1, 2]


def test_fails_when_values_do_not_go_into_a_column_of_polars() -> None:
    found = [ItemResult(0, "SUCCEEDED", 10**400), ItemResult(1, "SUCCEEDED", 1)]
    assert list(to_pandas(found)["value"]) == [10**400, 1]
    with pytest.raises(InputError, match="make them alike, or use to_pandas"):
        to_polars(found)


def test_fails_when_a_package_for_frames_is_missing(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingPackageError, match=r"needs polars: pip install 'cdk-distributed-map\[frames\]'"):
        to_polars(first.results())


def test_fails_when_there_are_no_results_yet(squares: Pipeline, states: Any) -> None:
    states.add_run(squares.arn, "going", label="Squares", seconds=100)
    with pytest.raises(NotReadyError, match="are not there: Step Functions writes them when a map ends"):
        list(squares.run("going").results())


def test_fails_when_a_result_file_is_missing(first: Run, s3: S3Client, bucket: str) -> None:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="runs/first/results/")["Contents"]
    s3.delete_object(Bucket=bucket, Key=next(each["Key"] for each in listed if "SUCCEEDED" in each["Key"]))
    with pytest.raises(ResultFilesError, match=r"SUCCEEDED_0\.jsonl.*`distmap ledger` tells"):
        list(first.results())


def test_failures_have_their_items_and_children(first: Run) -> None:
    found = sorted(first.failures(), key=lambda each: each.index or 0)
    assert [each.index for each in found] == [5, 6, 7, *range(10, 20)]
    assert (found[0].error, found[0].cause, found[0].item, found[0].run) == ("ValueError", "bad 5", {"v": 5}, "first")
    assert (found[2].status, found[2].item) == ("UNPROCESSED", {"v": 7})
    assert (found[3].error, found[3].cause) == ("Sandbox.Timedout", "Task timed out after 3.00 s")
    assert str(found[3].child).startswith("arn:aws:states:us-east-1:123456789012:execution:Squares/Squares:")
    assert "console.aws.amazon.com/states/home?region=us-east-1#/v2/executions/details/" in str(found[3].link)


def retried(retry: Run | None, states: Any, s3: S3Client) -> tuple[Any, list[tuple[int, Any]]]:
    """The fake's execution of a retry, and the items in its file."""
    assert retry is not None
    run = states.executions[retry.arn]
    items = json.loads(run.input)["items"]
    body = s3.get_object(Bucket=items["bucket"], Key=items["key"])["Body"].read()
    assert items["enveloped"] is True
    # Whichever run of the chain was retried, items keep the identity that they had in the first.
    first = items["key"].partition("/retries/")[0].rpartition("/")[2]
    assert items["firstRun"] == f"{retry.arn.rpartition(':')[0]}:{first}"
    return run, [(each["index"], each["value"]) for each in map(json.loads, body.splitlines())]


def test_retry_runs_exactly_what_did_not_succeed(
    first: Run, states: Any, s3: S3Client, bucket: str, files: Callable[..., Any]
) -> None:
    run, items = retried(first.retry(), states, s3)
    assert run.name == "first-retry-1"
    assert items == [(index, {"v": index}) for index in UNSUCCESSFUL]
    given = json.loads(run.input)
    assert (given["number"], given["chunk"]) == (40, 1)  # what the definition reads of the input is still there
    assert given["items"]["key"] == "runs/first/retries/first-retry-1/items.jsonl"
    # While it runs, its items are pending and the first run's account still adds up.
    ledger = first.ledger()
    assert (ledger.captured, ledger.succeeded, ledger.pending, ledger.missing) == (40, 16, 24, 0)
    with pytest.raises(RunStateError, match="its retry 'first-retry-1' is RUNNING"):
        first.retry()


def test_retries_chain_and_merge(
    first: Run, squares: Pipeline, states: Any, s3: S3Client, files: Callable[..., Any]
) -> None:
    run, items = retried(first.retry(), states, s3)
    run.ended = ("SUCCEEDED", 2.0)
    writer = files(squares, run.name)
    writer.child(items[:20], output=answer(items[:20], bad=frozenset({6})))
    writer.child(items[20:], "FAILED", error="Lambda.Unknown")
    writer.write()
    ledger = squares.run("first-retry-1").ledger()  # any run of the chain tells the account of the whole
    assert (ledger.run, ledger.captured, ledger.succeeded, ledger.failed, ledger.missing) == ("first", 40, 35, 5, 0)
    assert [(each.name, each.status, each.items) for each in ledger.chain] == [
        ("first", "FAILED", 40),
        ("first-retry-1", "SUCCEEDED", 24),
    ]
    assert sorted(each.index or 0 for each in first.failures()) == [6, *(index for index, _ in items[20:])]
    run, items = retried(squares.run("first-retry-1").retry(), states, s3)
    assert run.name == "first-retry-2"
    assert [index for index, _ in items] == [6, 27, 28, 29, 35]
    run.ended = ("SUCCEEDED", 3.0)
    writer = files(squares, run.name)
    writer.child(items, output=answer(items))
    writer.write()
    ledger = first.ledger()
    assert (ledger.succeeded, ledger.unsuccessful, ledger.duplicates, ledger.is_complete) == (40, 0, 0, True)
    assert first.retry() is None
    assert [each.index for each in first.results(ordered=True)] == list(range(40))
    states.executions.clear()  # the chain is found from the files alone
    assert squares.run("first-retry-2").ledger().succeeded == 40


def test_retry_takes_selected_items_from_the_inputs_of_children(
    listed: Pipeline, states: Any, s3: S3Client, files: Callable[..., Any]
) -> None:
    run = states.add_run(listed.arn, "run", label="Listed", items=20, seconds=0)
    run.ended = ("FAILED", 1.0)
    writer = files(listed, "run", transformation="COMPACT")
    items = [(index, {"key": f"in/{index}"}) for index in range(20)]
    writer.child(items[:10], output=answer(items[:10]))
    writer.child(items[10:], "FAILED", error="States.Timeout")
    writer.write()
    _, sent = retried(listed.run("run").retry(), states, s3)
    assert sent == items[10:]


def test_fails_when_missing_items_are_in_no_file(listed: Pipeline, states: Any, files: Callable[..., Any]) -> None:
    run = states.add_run(listed.arn, "run", label="Listed", items=20, seconds=0)
    run.ended = ("FAILED", 1.0)
    writer = files(listed, "run", transformation="COMPACT")
    items = [(index, {"key": f"in/{index}"}) for index in range(10)]
    writer.child(items, output=answer(items))
    writer.write()
    with pytest.raises(UnavailableItemsError, match=r"10 of the 10 items .* such as those with the indexes 10, 11, 12"):
        listed.run("run").retry()


def test_fails_when_the_account_does_not_add_up(first: Run, s3: S3Client, bucket: str) -> None:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="runs/first/results/")["Contents"]
    s3.delete_object(Bucket=bucket, Key=next(each["Key"] for each in listed if "FAILED_0" in each["Key"]))
    with pytest.raises(
        UnavailableItemsError, match=r"doesn't add up.*FAILED_0\.jsonl is missing.*With --include-missing"
    ):
        first.retry()
    ledger = first.ledger()
    assert ledger.missing
    again = first.retry(include_missing=True)
    assert again is not None
    items = s3.get_object(Bucket=bucket, Key=f"runs/first/retries/{again.name}/items.jsonl")["Body"].read()
    indexes = [json.loads(line)["index"] for line in items.splitlines()]
    assert indexes == [index for index in range(ledger.captured) if not ledger.states.succeeded(index)]


def test_the_former_name_for_missing_items_still_works_and_warns(first: Run) -> None:
    with pytest.warns(DeprecationWarning, match="include_missing"):
        assert first.retry(anyway=True) is not None


def put_items(s3: S3Client, bucket: str, values: list[Any]) -> None:
    body = "".join(json.dumps(value) + "\n" for value in values)
    s3.put_object(Bucket=bucket, Key="runs/first/items.jsonl", Body=body.encode())


@pytest.mark.parametrize("what", ["has changed since the run read it", "is gone"], ids=["changed", "gone"])
def test_fails_when_the_item_file_is_not_the_runs_own(
    what: str, first: Run, states: Any, s3: S3Client, bucket: str
) -> None:
    """An index would be that of another item; items that no child got are nowhere else."""
    body = s3.get_object(Bucket=bucket, Key="runs/first/items.jsonl")["Body"].read()
    items = {"bucket": bucket, "key": "runs/first/items.jsonl", "count": 40, "sha256": sha256(body).hexdigest()}
    states.executions[first.arn].input = json.dumps({"number": 40, "chunk": 1, "items": items})
    if what == "is gone":
        s3.delete_object(Bucket=bucket, Key="runs/first/items.jsonl")
    else:
        put_items(s3, bucket, [{"v": -index} for index in range(40)])
    with pytest.raises(UnavailableItemsError, match=what):
        first.retry()


def test_items_that_were_tried_are_run_again_without_the_item_file(
    squares: Pipeline, states: Any, s3: S3Client, bucket: str, files: Callable[..., Any]
) -> None:
    run = states.add_run(squares.arn, "first", label="Squares", items=20, seconds=0)
    run.ended = ("FAILED", 1.0)
    writer = files(squares, "first")
    items = [(index, {"v": index}) for index in range(20)]
    writer.child(items[:10], output=answer(items[:10], bad=frozenset({6})))
    writer.child(items[10:], "FAILED", error="States.Timeout")
    writer.write()
    run.input = json.dumps({"items": {"bucket": bucket, "key": "runs/first/items.jsonl", "count": 20, "sha256": "0"}})
    put_items(s3, bucket, [{"v": -index} for index in range(20)])
    _, sent = retried(squares.run("first").retry(), states, s3)
    assert sent == [(6, {"v": 6}), *items[10:]]


def test_retry_whose_items_are_gone_is_named(first: Run, squares: Pipeline, states: Any, s3: S3Client) -> None:
    run, _ = retried(first.retry(), states, s3)
    run.ended = ("SUCCEEDED", 2.0)
    items = json.loads(run.input)["items"]
    s3.delete_object(Bucket=items["bucket"], Key=items["key"])
    ledger = squares.run(run.name).ledger()
    assert (ledger.run, ledger.adds_up) == ("first", False)
    assert "the items of the retry 'first-retry-1' are gone" in ledger.problems[0]


def test_redrive_warns_of_running_everything_again(first: Run, states: Any) -> None:
    assert first.redrive_warning() is None
    states.executions[first.arn].error = "States.DataLimitExceeded"
    assert "runs ALL items again" in str(first.redrive_warning())
    states.executions[first.arn].error = "States.ItemReaderFailed"
    assert "reads the items from S3 again" in str(first.redrive_warning())
    first.redrive()
    assert states.calls["RedriveExecution"] == 1


def test_fails_when_a_run_can_not_be_redriven(first: Run, states: Any) -> None:
    run = states.executions[first.arn]
    run.redrivable = "NOT_REDRIVABLE"
    with pytest.raises(RunStateError, match=r"AWS can't redrive 'first'.*`distmap retry`"):
        first.redrive()
    run.ended = ("SUCCEEDED", 1.0)
    with pytest.raises(RunStateError, match="'first' succeeded, and AWS redrives only what has not"):
        first.redrive()
    run.ended = None
    run.map.seconds = 1000
    with pytest.raises(RunStateError, match="is RUNNING: there is nothing to redrive yet"):
        first.redrive()


def test_fails_when_there_has_been_no_such_run(first: Run) -> None:
    nobody = first.pipeline.run("nobody")
    with pytest.raises(NotFoundError, match="has no run 'nobody', and no files of one remain"):
        nobody.ledger()
    with pytest.raises(NotReadyError, match="the results of 'nobody' are not there"):
        list(nobody.results())
