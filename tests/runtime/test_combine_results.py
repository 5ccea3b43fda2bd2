"""Combine functions: from capture over work to one answer, as the pipeline runs them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from distmap import (
    DeadlineError,
    EventError,
    NotJsonError,
    Result,
    Results,
    ResultsError,
    capture_input,
    combine_results,
    process_items,
)
from distmap._spill import resolve
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def event_of(run: Run, place: Any) -> dict[str, Any]:
    return {"run": run, "items": None, "results": place, "mapRunArn": "arn:aws:states:::mapRun:Squares/Map:5f0a"}


@process_items
def sum_of_range(item: dict[str, int]) -> int:
    return sum(range(item["from"], item["to"]))


@combine_results
def total(results: Iterable[Result]) -> dict[str, Any]:
    return {"total": sum(result.value for result in results if result.succeeded)}


def test_a_run_from_capture_to_combine(run: Run, s3: S3Client, export: Any) -> None:
    key = "runs/run-1/items.jsonl"
    capture = {"kind": "ranges", "number": 1000, "chunk": 7}
    captured = capture_input({"input": {}, "run": run, "key": key, "capture": capture, "continuation": None})
    body = s3.get_object(Bucket=run["bucket"], Key=key)["Body"].read()
    items = [{"index": index, "value": json.loads(line)} for index, line in enumerate(body.splitlines())]
    assert captured["count"] == len(items) == 143
    for first in range(0, len(items), 20):
        batch = {"BatchInput": {"distmap": {"run": run}}, "Items": items[first : first + 20]}
        export.run_child(sum_of_range, batch)
    assert total(event_of(run, export.write())) == {"total": 499_500}


def test_the_function_gets_failures_and_the_context(run: Run, export: Any) -> None:
    seen: list[Any] = []

    @combine_results
    def handler(results: Results, context: object) -> int:
        seen.extend([[(result.index, result.status, result.error) for result in results], context])
        return len(seen)

    batch = {"BatchInput": {"distmap": {"run": run}}, "Items": [{"index": n, "value": n} for n in (3, 0)]}
    export.run_child(process_items(lambda item: 1 // item), batch)
    context = object()
    assert handler(event_of(run, export.write()), context) == 2
    assert seen == [[(3, "SUCCEEDED", None), (0, "FAILED", "ZeroDivisionError")], context]


def test_the_plain_function_takes_any_results() -> None:
    assert total.__wrapped__([Result(0, 3), Result(1, 4)]) == {"total": 7}  # type: ignore[attr-defined]


def test_a_large_answer_is_spilled(run: Run, export: Any) -> None:
    @combine_results
    def handler(results: Results) -> list[str]:
        return ["ü" * 1000] * 200

    answer = handler(event_of(run, export.write()))
    assert answer["distmapSpilled"]["key"].startswith("runs/run-1/spill/combined-")
    assert resolve(answer) == ["ü" * 1000] * 200


def test_fails_when_the_answer_is_not_json(run: Run, export: Any) -> None:
    with pytest.raises(NotJsonError, match="the combined answer is not JSON: object of type set"):
        combine_results(lambda _: {1, 2})(event_of(run, export.write()))


def test_fails_when_the_deadline_comes_near_and_says_how_far_it_got(
    run: Run, export: Any, lambda_context: Callable[[float], Any]
) -> None:
    for index in range(5):
        export.run_child(process_items(lambda item: item), {"index": index, "value": index, "run": run})
    handler = combine_results(reserve_seconds=900)(total.__wrapped__)  # type: ignore[attr-defined]
    with pytest.raises(
        DeadlineError, match=r"came near after 1 results: 900 s were left .*raise the function's timeout"
    ):
        handler(event_of(run, export.write()), lambda_context(900))


def test_fails_when_the_function_yields() -> None:
    def generator(results: Results) -> Any:
        yield 1

    with pytest.raises(TypeError, match="yields; return the combined answer instead"):
        combine_results(generator)


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (None, "got None"),
        ({"run": {}}, "got {'run': {}}"),
        ({"run": {}, "results": "none"}, "got results: 'none'"),
        ({"run": {}, "results": {"bucket": "b"}}, "got results: {'bucket': 'b'}"),
        ({"run": {}, "results": {"bucket": "b", "key": "k"}}, "a run that lacks"),
    ],
    ids=["null", "no-results", "results-text", "no-key", "no-run"],
)
def test_fails_when_the_event_is_no_combine_event(event: object, found: str) -> None:
    with pytest.raises(EventError) as failure:
        total(event)
    assert "a combine function takes what the pipeline sends to it" in str(failure.value)
    assert found in str(failure.value)


def test_one_log_line_tells_the_counts(run: Run, export: Any, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    export.run_child(sum_of_range, {"index": 0, "value": {"from": 1, "to": 2}, "run": run})
    export.run_child(sum_of_range, {"index": 0, "value": {"from": 1, "to": 2}, "run": run})
    export.pending({"index": 1, "value": {"from": 1, "to": 2}, "run": run})
    log_lines()
    total(event_of(run, export.write()))
    (line,) = log_lines()
    assert {key: line[key] for key in ("message", "succeeded", "failed", "unprocessed", "duplicates", "bytes")} == {
        "message": "results combined",
        "succeeded": 1,
        "failed": 0,
        "unprocessed": 1,
        "duplicates": 1,
        "bytes": len('{"total": 3}'),
    }


MEMORY = """
    import io, json, resource, sys
    from distmap import Results

    class Files:
        class exceptions:
            class NoSuchKey(Exception):
                pass

        def get_paginator(self, _):
            return self

        def paginate(self, **_):
            return [{}]

        def get_object(self, Bucket, Key):
            body = open(f"{Bucket}/{Key}", "rb")
            return {"Body": body, "ContentLength": body.seek(0, 2), "ETag": "e", **({} if body.seek(0) else {})}

    unit = 1024 if sys.platform == "darwin" else 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(result.value for result in Results(Files(), {"bucket": sys.argv[1], "key": "manifest.json"}))
    print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // unit)
"""


@pytest.mark.parametrize("output_type", ["JSON", "JSONL"])
def test_memory_does_not_depend_on_the_size_of_a_file(output_type: str, tmp_path: Any) -> None:
    children = 400
    with (tmp_path / "SUCCEEDED_0.json").open("w") as file:
        for child in range(children):
            results = [{"itemIdentifier": str(child * 1000 + n), "result": 1} for n in range(1000)]
            answer = {"batchItemResults": results, "batchItemFailures": [], "batchItemsUnprocessed": []}
            items = [{"index": child * 1000 + n, "value": "x" * 25} for n in range(1000)]
            record = {
                "ExecutionArn": "a",
                "Input": json.dumps({"BatchInput": {"distmap": {}}, "Items": items}),
                "InputDetails": {"Included": True},
                "Name": "n",
                "Output": json.dumps(answer, separators=(",", ":")),
                "OutputDetails": {"Included": True},
                "Status": "SUCCEEDED",
            }
            lead = ("[" if child == 0 else ",") if output_type == "JSON" else ""
            file.write(lead + json.dumps(record) + "\n")
        file.write("]" if output_type == "JSON" else "")
    size = (tmp_path / "SUCCEEDED_0.json").stat().st_size
    files = {"SUCCEEDED": [{"Key": "SUCCEEDED_0.json", "Size": size}], "FAILED": [], "PENDING": []}
    manifest = {"DestinationBucket": str(tmp_path), "MapRunArn": "arn", "ResultFiles": files}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, kibibytes = map(int, done.stdout.split())
    assert count == children * 1000
    assert size > 40 * 1024**2
    assert kibibytes < 16 * 1024


def test_a_run_without_a_map_combines_nothing(run: Run) -> None:
    @combine_results
    def handler(results: Results) -> dict[str, int]:
        return {"results": len(list(results))}

    assert handler({"run": run, "items": None, "results": None, "mapRunArn": None}) == {"results": 0}


def counted(run: Run, place: Any, count: int, **items: Any) -> dict[str, Any]:
    return {**event_of(run, place), "items": {"bucket": run["bucket"], "key": "k", "count": count, **items}}


@combine_results
def how_many(results: Results) -> int:
    return sum(1 for _ in results)


def batch_of(run: Run, *indexes: int) -> dict[str, Any]:
    return {"BatchInput": {"distmap": {"run": run}}, "Items": [{"index": n, "value": n} for n in indexes]}


@pytest.mark.parametrize("transformation", ["NONE", "COMPACT", "FLATTEN"])
@pytest.mark.parametrize("enveloped", [False, True], ids=["first run", "retry"])
def test_fails_when_there_are_fewer_results_than_the_map_had_items(
    transformation: str,
    enveloped: bool,  # noqa: FBT001 - a case
    run: Run,
    export: Any,
) -> None:
    export.transformation = transformation
    indexes = (80, 3) if enveloped else (0, 1)
    export.run_child(process_items(lambda item: 1 // (item - 3)), batch_of(run, *indexes))
    place = export.write()
    assert how_many(counted(run, place, 2, enveloped=enveloped)) == 2
    with pytest.raises(ResultsError, match=r"the map had 3 items, and there are results of 2; `distmap ledger`"):
        how_many(counted(run, place, 3, enveloped=enveloped))


def test_fails_when_a_map_that_had_items_has_exported_nothing(run: Run, export: Any) -> None:
    with pytest.raises(ResultsError, match=r"the map had 5 items, and there are results of 0"):
        how_many(counted(run, export.write(), 5))


def test_children_that_never_ran_have_a_result_of_their_items(run: Run, export: Any) -> None:
    export.run_child(sum_of_range, batch_of(run))
    export.pending(batch_of(run, 0, 1))
    assert how_many(counted(run, export.write(), 2)) == 2


@pytest.mark.parametrize("transformation", ["COMPACT", "FLATTEN"])
def test_outputs_without_a_record_are_not_counted(transformation: str, run: Run, export: Any) -> None:
    """A child of a foreign worker may have had any number of items."""
    export.transformation = transformation
    export.succeeded({"Items": [1, 2, 3]}, {"sum": 6})
    assert how_many(counted(run, export.write(), 3)) == 1
