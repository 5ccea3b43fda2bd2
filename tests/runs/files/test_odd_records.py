"""Records that Step Functions or the runtime would never write: each is counted or named, and none ends a command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from cdk_distributed_map.runs import Pipeline, ResultFilesError, Run, RunsError
from cdk_distributed_map.runs.report import page

ITEMS = [(index, {"n": index}) for index in range(3)]
DEEP = "[" * 3000 + "]" * 3000
GONE = {"distmapSpilled": {"bucket": "nowhere", "key": "gone", "bytes": 3, "sha256": "0"}}


def answer(**changes: Any) -> dict[str, Any]:
    results = [{"itemIdentifier": str(index), "result": 1} for index, _ in ITEMS]
    return {"batchItemResults": results, "batchItemFailures": [], "batchItemsUnprocessed": [], **changes}


def naming(*identifiers: Any) -> dict[str, Any]:
    return answer(batchItemResults=[{"itemIdentifier": each, "result": 1} for each in identifiers])


def failing(**failure: Any) -> dict[str, Any]:
    return answer(batchItemResults=[], batchItemFailures=[{"error": "E", "cause": "c", **failure}])


def batch_failure(batch: Any) -> str:
    return json.dumps({"errorMessage": json.dumps({"message": "all failed", "batch": batch})})


def items(*envelopes: Any) -> str:
    return json.dumps({"BatchInput": {"distmap": {}}, "Items": list(envelopes)})


def texts(output: str) -> str:
    """An answer whose first result is a text of JSON."""
    return json.dumps(answer()).replace('"result": 1', f'"result": {output}', 1)


# What the child of items 0 to 2 is, and what the ledger says of it: succeeded, failed, words of the problem.
CHILDREN: dict[str, tuple[dict[str, Any], tuple[int, int, str | None]]] = {
    "negative index": ({"output": naming("-1")}, (0, 0, "itemIdentifier '-1', which is the index of no item")),
    "index out of range": ({"output": naming("0", "77")}, (1, 0, r"their child did not get.*\(item 77\)")),
    "index of no size": ({"output": naming("9" * 30)}, (0, 0, "their child did not get")),
    "index that is a word": ({"output": naming("x")}, (0, 0, "itemIdentifier 'x'")),
    "index that is a number": ({"output": naming(0, 1, 2)}, (3, 0, None)),
    "index that is a fraction": ({"output": naming(1.7)}, (0, 0, r"itemIdentifier 1\.7")),
    "two indexes in one": ({"output": naming("0,1,2")}, (0, 0, "itemIdentifier '0,1,2'")),
    "no index": ({"output": answer(batchItemResults=[{"result": 1}])}, (0, 0, "it has no 'itemIdentifier'")),
    "result that is none": ({"output": answer(batchItemResults=[5])}, (0, 0, "has 5 in it, which is no object")),
    "no results": ({"output": answer(batchItemResults=None)}, (0, 0, "batchItemResults of an answer is None")),
    "no failures": ({"output": answer(batchItemFailures=7)}, (0, 0, "batchItemFailures of an answer is 7")),
    "failure of another item": ({"output": failing(itemIdentifier="77")}, (0, 0, "did not get")),
    "failure without index": ({"output": failing(itemIdentifier=None)}, (0, 0, "itemIdentifier None")),
    "failure without words": ({"output": failing(itemIdentifier="1", error=5, cause=None)}, (0, 1, None)),
    "unprocessed that is none": ({"output": answer(batchItemsUnprocessed={"a": 1})}, (0, 0, "is no list")),
    "answer that leaves items out": ({"output": naming("1")}, (1, 0, None)),
    "value too deep": ({"change": {"Output": texts(DEEP)}}, (0, 0, "nested deeper than Python reads")),
    "value too long": ({"change": {"Output": texts("9" * 5000)}}, (0, 0, "exceeds the limit")),
    "no output": ({"change": {"Output": None}}, (0, 0, "the output of .* was not exported")),
    "output that is no JSON": ({"change": {"Output": "nope"}}, (0, 0, "expecting value")),
    "spilled to another bucket": ({"output": GONE}, (0, 0, "points to s3://nowhere/gone, and only the run's own")),
    "spilled to no place": ({"output": {"distmapSpilled": 5}}, (0, 0, "can't be read")),
    "input that is no JSON": ({"status": "FAILED", "change": {"Input": "nope"}}, (0, 0, "expecting value")),
    "input that is a number": ({"status": "FAILED", "change": {"Input": 5}}, (0, 0, "got 'int'")),
    "input too deep": ({"status": "FAILED", "change": {"Input": f'{{"Items":{DEEP}}}'}}, (0, 0, "nested deeper")),
    "input not exported": ({"status": "FAILED", "change": {"Input": None}}, (0, 0, "1 record without the input")),
    "input without index": ({"status": "FAILED", "change": {"Input": items({"value": 1})}}, (0, 0, "no 'index'")),
    "input of pending items": (
        {"status": "PENDING", "change": {"Input": items({"index": "0", "value": 1})}},
        (0, 0, "'0'"),
    ),
    "cause that is a number": ({"status": "FAILED", "change": {"Cause": 5}}, (0, 0, "got 'int'")),
    "batch failure that is none": (
        {"status": "FAILED", "error": "BatchFailedError", "cause": batch_failure(answer(batchItemResults=["q"]))},
        (0, 3, "the answer of .* can't be read"),
    ),
    "batch failure spilled to another bucket": (
        {"status": "FAILED", "error": "BatchFailedError", "cause": batch_failure(GONE)},
        (0, 3, "points to s3://nowhere/gone"),
    ),
    "start that is no time": ({"change": {"StartDate": "yesterday"}}, (3, 0, None)),
}


@pytest.fixture
def odd(squares: Pipeline, states: Any, files: Callable[..., Any]) -> Callable[..., tuple[Run, Any]]:
    """Makes a finished run of six items, the last three of which did well, and the writer of its files."""

    def make() -> tuple[Run, Any]:
        run = states.add_run(squares.arn, "odd", label="Squares", items=6, seconds=0)
        run.ended = ("SUCCEEDED", 1.0)
        writer = files(squares, "odd")
        run.output = {"items": {"bucket": writer.run["bucket"], "key": "runs/odd/items.jsonl", "count": 6}}
        writer.items([{"n": index} for index in range(6)])
        writer.child([(index, {"n": index}) for index in range(3, 6)], output=naming("3", "4", "5"))
        return squares.run("odd"), writer

    return make


def add(writer: Any, *, change: dict[str, Any] | None = None, status: str = "SUCCEEDED", **options: Any) -> None:
    """Add the child of items 0 to 2, with fields changed or, where they are None, taken away."""
    writer.child(ITEMS, status, **({"output": answer()} if status == "SUCCEEDED" else {}) | options)
    records = writer.records[status]
    record = {**json.loads(records[-1]), **(change or {})}
    records[-1] = json.dumps(
        {name: value for name, value in record.items() if value is not None}, separators=(",", ":")
    )


@pytest.fixture
def shallow() -> Iterator[None]:
    """Python's own limit: other tests of the process may have raised it."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("case", CHILDREN)
def test_record_is_counted_or_named(case: str, odd: Callable[..., tuple[Run, Any]]) -> None:
    options, (succeeded, failed, problem) = CHILDREN[case]
    run, writer = odd()
    add(writer, **options)
    writer.write()
    ledger = run.ledger(wait_seconds=0)
    assert (ledger.succeeded, ledger.failed, ledger.duplicates) == (3 + succeeded, failed, 0)
    assert ledger.missing == 3 - succeeded - failed
    if problem is None:
        assert ledger.problems == ()
    else:
        assert not ledger.adds_up
        with pytest.raises(RunsError, match=problem):
            raise RunsError(ledger.problems[0])
    # The others say what they can, or why they can't.
    assert len(list(run.failures())) == failed
    assert page.gather(run).ledger.succeeded == ledger.succeeded
    with suppress(ResultFilesError):
        list(run.results(unsuccessful=True))


def test_answer_can_not_make_another_childs_failure_good(odd: Callable[..., tuple[Run, Any]]) -> None:
    run, writer = odd()
    writer.child([(0, {}), (1, {})], output=naming("0", "1", "2"))
    writer.child([(2, {})], "FAILED", error="Lambda.Unknown")
    writer.write()
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.failed, ledger.adds_up) == (5, 1, False)
    assert "1 result of items that their child did not get" in ledger.problems[0]


def test_values_that_look_like_items_are_no_items(odd: Callable[..., tuple[Run, Any]]) -> None:
    run, writer = odd()
    writer.child([(0, {"index": 7, "value": 8}), (1, {"index": 9, "value": 1}), (2, {})], output=naming("0", "1", "2"))
    writer.write()
    assert run.ledger().is_complete


def test_results_of_another_run_count_for_nothing(odd: Callable[..., tuple[Run, Any]]) -> None:
    run, writer = odd()
    writer.run = {**writer.run, "prefix": "runs/other"}
    add(writer)
    writer.run = {**writer.run, "prefix": "runs/odd"}
    writer.write()
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.missing) == (3, 3)
    assert "1 record of another run among the results of runs/odd" in ledger.problems[0]


def test_fails_when_the_results_of_another_run_were_copied_here(
    odd: Callable[..., tuple[Run, Any]], squares: Pipeline, files: Callable[..., Any]
) -> None:
    run, writer = odd()
    other = files(squares, "other", transformation="COMPACT")
    add(other)
    manifest = writer.s3.get_object(Bucket=writer.run["bucket"], Key=other.write())["Body"].read()
    writer.s3.put_object(Bucket=writer.run["bucket"], Key=f"runs/odd/results/{other.uuid}/manifest.json", Body=manifest)
    writer.write()
    for read in (run.ledger, lambda: list(run.results())):
        with pytest.raises(ResultFilesError, match=r"tells of runs/other/results/.*, which is not of this run"):
            read()


def test_second_result_of_an_item_is_a_duplicate_whatever_it_says(odd: Callable[..., tuple[Run, Any]]) -> None:
    run, writer = odd()
    add(writer)
    add(writer, status="FAILED")
    add(writer, output=failing(itemIdentifier="1"))
    writer.write()
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.duplicates, ledger.is_complete) == (6, 4, True)


def test_problems_are_no_more_than_can_be_read(odd: Callable[..., tuple[Run, Any]]) -> None:
    run, writer = odd()
    for _ in range(100):
        add(writer, change={"Output": "nope"})
    writer.write()
    problems = run.ledger().problems
    assert (len(problems), problems[-1]) == (21, "and 80 more of the kind")


def test_items_that_an_answer_left_out_are_run_again(listed: Pipeline, states: Any, files: Callable[..., Any]) -> None:
    """Also where no file of items has them: their child's input does."""
    run = states.add_run(listed.arn, "run", label="Listed", items=3, seconds=0)
    run.ended = ("SUCCEEDED", 1.0)
    writer = files(listed, "run")
    writer.child(ITEMS, output=naming("0", "2"))
    writer.write()
    retry = listed.run("run").retry()
    assert retry is not None
    bucket, key = writer.run["bucket"], retry.describe().input["items"]["key"]
    assert writer.s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b'{"index":1,"value":{"n":1}}\n'
