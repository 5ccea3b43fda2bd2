"""Every result of a run, out of what Step Functions exports in each of its forms."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmap import Result, Results, ResultsError, SpillError, process_items
from distmap._export import folder_of
from distmap._indexes import IndexSet
from distmap._quick import quick_output
from distmap.limits import MAX_ITEMS
from distmap.wire import Run, WorkerAnswer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRANSFORMATIONS = ["NONE", "COMPACT", "FLATTEN"]
OUTPUT_TYPES = ["JSONL", "JSON"]


def batch_of(run: Run, indexes: list[int], values: list[Any] | None = None) -> dict[str, Any]:
    values = indexes if values is None else values
    items = [{"index": index, "value": value} for index, value in zip(indexes, values, strict=True)]
    return {"BatchInput": {"distmap": {"run": run}}, "Items": items}


@process_items
def squares_or_odd_ones_fail(item: int) -> dict[str, Any]:
    if item % 2:
        message = f'"{item}" is ünodd\n'
        raise ValueError(message)
    return {"square": item * item, "text": 'ü "quoted" \\ 🎉\n' if item % 4 else ""}


def told(results: Results) -> dict[int | None, tuple[Any, ...]]:
    """What is told about each index; a second result of one index would be a mistake."""
    found: dict[int | None, tuple[Any, ...]] = {}
    for result in results:
        assert result.index not in found
        found[result.index] = (result.status, result.value, result.error, result.cause)
    return found


def ok(item: int) -> tuple[Any, ...]:
    return ("SUCCEEDED", {"square": item * item, "text": 'ü "quoted" \\ 🎉\n' if item % 4 else ""}, None, None)


def odd(item: int) -> tuple[Any, ...]:
    return ("FAILED", None, "ValueError", f'"{item}" is ünodd\n')


@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_every_item_is_told_in_every_form(
    transformation: str, output_type: str, run: Run, s3: S3Client, make_export: Callable[..., Any]
) -> None:
    export = make_export(transformation=transformation, output_type=output_type, per_file=2)
    for first in range(0, 50, 10):
        export.run_child(squares_or_odd_ones_fail, batch_of(run, list(range(first, first + 10))))
    export.run_child(squares_or_odd_ones_fail, batch_of(run, [51, 53]))  # all fail
    export.run_child(squares_or_odd_ones_fail, {"index": 60, "value": 60, "run": run})
    export.run_child(squares_or_odd_ones_fail, {"index": 61, "value": 61, "run": run})
    export.failed(batch_of(run, [70, 71]), "Sandbox.Timedout", json.dumps({"errorMessage": "Task timed out"}))
    export.failed(batch_of(run, [72]), None, None, status="ABORTED")
    export.failed(batch_of(run, [73]), "States.TaskFailed", "no JSON at all")
    export.pending(batch_of(run, [80, 81]))
    results = Results(s3, export.write())
    found = told(results)
    expected: dict[int, tuple[Any, ...]] = {n: odd(n) if n % 2 else ok(n) for n in [*range(50), 51, 53, 60, 61]}
    expected |= dict.fromkeys((70, 71), ("FAILED", None, "Sandbox.Timedout", "Task timed out"))
    expected[72] = ("FAILED", None, "ABORTED", "")
    expected[73] = ("FAILED", None, "States.TaskFailed", "no JSON at all")
    expected |= dict.fromkeys((80, 81), ("UNPROCESSED", None, None, None))
    assert found == expected
    assert results.counts == {"SUCCEEDED": 26, "FAILED": 32, "UNPROCESSED": 2}
    assert results.duplicates == 0
    assert told(results) == expected  # as often as you like


def test_what_did_not_succeed_tells_its_item_where_the_export_does(run: Run, s3: S3Client, export: Any) -> None:
    values = ["a", None, "c"]

    @process_items
    def handler(item: str | None) -> str:
        if item is None:
            raise ValueError
        return item

    export.run_child(handler, batch_of(run, [4, 5, 6], values))
    export.failed({"index": 7, "value": {"x": 1}, "run": run}, "Sandbox.Timedout", "{}")
    export.pending(batch_of(run, [8], [None]))
    items = {result.index: (result.has_item, result.item) for result in Results(s3, export.write())}
    assert items == {4: (False, None), 5: (True, None), 6: (False, None), 7: (True, {"x": 1}), 8: (True, None)}


def test_what_a_deadline_left_is_unprocessed(run: Run, s3: S3Client, export: Any) -> None:
    answer = {
        "batchItemResults": [{"itemIdentifier": "3", "result": 9}],
        "batchItemFailures": [],
        "batchItemsUnprocessed": ["4", "5"],
    }
    export.succeeded(batch_of(run, [3, 4, 5], ["a", "b", "c"]), answer)
    found = [(result.index, result.status, result.item) for result in Results(s3, export.write())]
    assert found == [(3, "SUCCEEDED", None), (4, "UNPROCESSED", "b"), (5, "UNPROCESSED", "c")]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_bare_batches_are_never_taken_for_duplicates(
    transformation: str, s3: S3Client, make_export: Callable[..., Any]
) -> None:
    export = make_export(transformation=transformation)
    for _ in range(3):
        export.run_child(squares_or_odd_ones_fail, {"Items": [1, 2]})
    export.run_child(squares_or_odd_ones_fail, {"Items": [1, 3]})
    found = [(result.index, result.status) for result in Results(s3, export.write())]
    assert sorted(found, key=str) == [(None, "FAILED")] * 5 + [(None, "SUCCEEDED")] * 3


@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
def test_duplicates_are_dropped_and_a_success_counts_more(
    output_type: str, run: Run, s3: S3Client, make_export: Callable[..., Any]
) -> None:
    export = make_export(output_type=output_type)
    failing = process_items(lambda item: 1 // item)
    working = process_items(lambda item: item)
    event = batch_of(run, [1, 2, 3], [0, 1, 1])
    export.run_child(failing, event)  # 1 fails
    export.run_child(working, event)  # the same child again: Express children run at least once
    export.run_child(working, event)
    export.failed(event, "Sandbox.Timedout", "{}")
    results = Results(s3, export.write())
    assert {index: fields[0] for index, fields in told(results).items()} == dict.fromkeys([1, 2, 3], "SUCCEEDED")
    assert results.duplicates == 1 + 2 + 3 + 3


@pytest.mark.parametrize("limit", [0, 1500, 10**9], ids=["at-once", "soon", "never"])
def test_failures_too_many_to_wait_in_memory_are_read_again(
    limit: int, run: Run, s3: S3Client, export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._results.WAITING_BYTES", limit)
    for first in range(0, 30, 10):
        export.run_child(squares_or_odd_ones_fail, batch_of(run, list(range(first, first + 10))))
    export.run_child(process_items(lambda item: item), batch_of(run, [1, 3]))
    export.run_child(squares_or_odd_ones_fail, batch_of(run, [4, 5]))
    results = Results(s3, export.write())
    found = told(results)
    assert {index for index, fields in found.items() if fields[0] == "FAILED"} == set(range(5, 30, 2))
    assert len(found) == 30
    assert results.duplicates == 4


@pytest.mark.parametrize("asked_for", ["first", "latest"])
def test_redrives_are_read_too_and_the_latest_counts(asked_for: str, run: Run, s3: S3Client, export: Any) -> None:
    working = process_items(lambda item: item)
    export.run_child(working, batch_of(run, [0, 1]))
    export.failed(batch_of(run, [2, 3]), "First", "1")
    export.failed(batch_of(run, [4]), "First", "1")
    export.pending(batch_of(run, [5]))
    first = export.write()
    export.failed(batch_of(run, [2, 3]), "Second", "2")
    export.failed(batch_of(run, [4]), "Second", "2")
    export.run_child(working, batch_of(run, [5]))
    export.write(redrive=2)  # the first one failed before it could export anything
    export.run_child(working, batch_of(run, [2, 3]))
    export.failed(batch_of(run, [4]), "Third", "3")
    latest = export.write(redrive=10)
    results = Results(s3, first if asked_for == "first" else latest)
    found = told(results)
    assert {index: fields[0] for index, fields in found.items()} == {
        **dict.fromkeys([0, 1, 2, 3, 5], "SUCCEEDED"),
        4: "FAILED",
    }
    assert found[4][2:] == ("Third", "3")
    assert results.duplicates == 0


def test_fails_when_a_redrive_has_no_manifest_yet(run: Run, s3: S3Client, export: Any) -> None:
    place = export.write()
    s3.put_object(Bucket=place["bucket"], Key=f"{export.folder}Redrive-1/SUCCEEDED_0.json", Body=b"[]")
    with pytest.raises(ResultsError, match=r"no manifest at s3://.*Redrive-1/manifest\.json: .* still be exporting"):
        list(Results(s3, place))


@pytest.mark.parametrize("held", [0, 10**9], ids=["streamed", "held"])
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_spilled_answers_are_resolved(
    transformation: str,
    held: int,
    run: Run,
    make_export: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distmap._outcomes.HELD_BYTES", held)

    @process_items
    def large(item: int) -> str:
        if item % 5 == 4:
            raise ValueError(item)
        return "ü" * 60_000

    export = make_export(transformation=transformation)
    export.run_child(large, batch_of(run, list(range(5))))
    export.run_child(large, batch_of(run, list(range(5, 10))))
    found = told(Results(export.s3, export.write()))
    assert len(found) == 10
    assert found[4] == ("FAILED", None, "ValueError", "4")
    assert found[9] == ("FAILED", None, "ValueError", "9")
    assert all(found[n] == ("SUCCEEDED", "ü" * 60_000, None, None) for n in range(10) if n % 5 != 4)


def test_a_spilled_failure_of_a_whole_batch_is_resolved(run: Run, s3: S3Client, export: Any) -> None:
    @process_items
    def always_fails(item: int) -> None:
        raise ValueError("x" * 5_000 + str(item))

    export.run_child(always_fails, batch_of(run, list(range(20))))
    found = told(Results(s3, export.write()))
    assert found == {n: ("FAILED", None, "ValueError", "x" * 5_000 + str(n)) for n in range(20)}


def test_a_failed_bare_batch_without_reasons_still_tells_every_item(s3: S3Client, export: Any) -> None:
    @process_items
    def always_fails(item: int) -> None:
        raise ValueError("x" * 5_000 + str(item))

    export.run_child(always_fails, {"Items": list(range(20))})
    results = list(Results(s3, export.write()))
    assert [result.item for result in results] == list(range(20))
    assert {result.error for result in results} == {"BatchFailedError"}


def test_results_of_a_batch_that_failed_by_its_share_are_kept(run: Run, s3: S3Client, export: Any) -> None:
    handler = process_items(fail_at_percentage=30)(squares_or_odd_ones_fail.__wrapped__)  # type: ignore[attr-defined]
    export.run_child(handler, batch_of(run, [1, 2, 4]))
    assert told(Results(s3, export.write())) == {1: odd(1), 2: ok(2), 4: ok(4)}


@pytest.mark.parametrize("held", [0, 10**9], ids=["streamed", "held"])
def test_fails_when_a_spilled_answer_is_gone_or_another(
    held: int, run: Run, s3: S3Client, export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmap._outcomes.HELD_BYTES", held)
    export.run_child(process_items(lambda _: "x" * 300_000), batch_of(run, [1]))
    (key,) = [entry["Key"] for entry in s3.list_objects_v2(Bucket=run["bucket"])["Contents"]]
    place = export.write()
    answer: WorkerAnswer = {"batchItemResults": [], "batchItemFailures": [], "batchItemsUnprocessed": []}
    s3.put_object(Bucket=run["bucket"], Key=key, Body=json.dumps(answer))
    with pytest.raises(SpillError, match="is not what was spilled there"):
        list(Results(s3, place))
    s3.delete_object(Bucket=run["bucket"], Key=key)
    with pytest.raises(SpillError, match=r"can't be read: .*NoSuchKey"):
        list(Results(s3, place))


def test_outputs_of_other_workers_keep_the_index_of_their_item(run: Run, s3: S3Client, export: Any) -> None:
    export.succeeded({"index": 3, "value": "a", "run": run}, {"any": "output"})
    export.succeeded(batch_of(run, [4, 5]), ["four", "five"])
    export.succeeded("bare", "output of the bare one")
    export.succeeded({"Items": [1, 2]}, [10, 20])
    found = [(result.index, result.value) for result in Results(s3, export.write())]
    assert found == [
        (3, {"any": "output"}),
        (4, "four"),
        (5, "five"),
        (None, "output of the bare one"),
        (None, 10),
        (None, 20),
    ]


@pytest.mark.parametrize("output", [{"done": 2}, [1], "x"], ids=["object", "too-short", "text"])
def test_fails_when_another_workers_output_tells_nothing_of_its_items(
    output: object, run: Run, s3: S3Client, export: Any
) -> None:
    export.succeeded(batch_of(run, [4, 5]), output)
    with pytest.raises(
        ResultsError, match="for a batch of 2 items, which tells nothing about each; decorate its worker"
    ):
        list(Results(s3, export.write()))


@pytest.mark.parametrize("transformation", ["COMPACT", "FLATTEN"])
@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
def test_outputs_that_are_arrays_are_told_apart_from_an_array_of_outputs(
    transformation: str, output_type: str, s3: S3Client, make_export: Callable[..., Any]
) -> None:
    export = make_export(transformation=transformation, output_type=output_type)
    for number in range(3):
        export.succeeded(number, [number, [number]])
    values = [result.value for result in Results(s3, export.write())]
    if transformation == "COMPACT":
        assert values == [[0, [0]], [1, [1]], [2, [2]]]
    else:
        assert values == [0, [0], 1, [1], 2, [2]]


def test_a_run_without_items_has_no_results(s3: S3Client, export: Any) -> None:
    assert list(Results(s3, export.write())) == []


@pytest.mark.parametrize("kind", ["FAILED", "PENDING"])
def test_fails_when_the_input_of_a_child_was_not_exported(kind: str, run: Run, s3: S3Client, export: Any) -> None:
    """Nobody can tell which items those were, or how many."""
    if kind == "FAILED":
        export.failed(batch_of(run, [1]), "Sandbox.Timedout", "{}")
    else:
        export.pending(batch_of(run, [1]))
    del export.records[kind][0]["Input"]
    with pytest.raises(ResultsError, match="1 record without the input of their child"):
        list(Results(s3, export.write()))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"Input": ', "has a record that can't be read"),
        (b"[1, 2", "is not a result file that can be read to its end: expected ','"),
        (b'{"batchItemResults":[{}],"batchItemFailures":[],"batchItemsUnprocessed":[]}', "'itemIdentifier'"),
        (b'{"ExecutionArn":"a","Name":"n","Status":"SUCCEEDED","Input":"1"}', "the output of a was not exported"),
        (
            b'{"batchItemResults":[{"itemIdentifier":"100000000","result":1}],"batchItemFailures":[],"batchItemsUnprocessed":[]}',
            "index 100,000,000",
        ),
    ],
    ids=["cut-line", "cut-array", "no-identifier", "no-output", "index-out-of-range"],
)
def test_fails_when_a_result_file_is_damaged(body: bytes, found: str, s3: S3Client, export: Any) -> None:
    key = f"{export.folder}SUCCEEDED_0.jsonl"
    s3.put_object(Bucket=export.bucket, Key=key, Body=body)
    export.write_manifest(export.folder, {"SUCCEEDED": [{"Key": key, "Size": len(body)}], "FAILED": [], "PENDING": []})
    place = export.place
    with pytest.raises(ResultsError) as failure:
        list(Results(s3, place))
    assert found in str(failure.value)


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"no JSON", b'{"DestinationBucket": "b", "ResultFiles": {"FAILED": []}}']
)
def test_fails_when_the_manifest_is_none(body: bytes, s3: S3Client, export: Any) -> None:
    place = export.write()
    s3.put_object(Bucket=place["bucket"], Key=place["key"], Body=body)
    with pytest.raises(ResultsError, match="is no manifest of a map run"):
        list(Results(s3, place))


def test_a_result_shows_what_it_is() -> None:
    assert repr(Result(3, {"a": 1})) == "<Result 3 SUCCEEDED {'a': 1}>"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(['","', '"Output":"', "\\", '"', '\\"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("Output"), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(given_input=JSON, output=JSON, ascii_only=st.sampled_from([0, 1]))
def test_the_quick_way_to_an_output_never_finds_another(given_input: Any, output: Any, ascii_only: int) -> None:
    def dumps(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=bool(ascii_only))

    record = {
        "ExecutionArn": "arn",
        "Input": dumps(given_input),
        "InputDetails": {"Included": True},
        "Name": '"Output":"',
        "Output": dumps(output),
        "OutputDetails": {"Included": True},
        "Status": "SUCCEEDED",
    }
    found, _ = quick_output(dumps(record).encode())
    assert found is None or json.loads(found) == output


def test_the_quick_way_is_taken_by_the_usual_answer(run: Run) -> None:
    answer = process_items(lambda item: {"square": item, "text": "ü"})(batch_of(run, [1, 2]))
    record = {
        "ExecutionArn": "arn",
        "Input": json.dumps(batch_of(run, [1, 2])),
        "Output": json.dumps(answer, ensure_ascii=False),
        "OutputDetails": {"Included": True},
    }
    quick, _ = quick_output(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode())
    assert quick is not None
    assert json.loads(quick) == answer


OUTCOMES = st.sampled_from(["succeeds", "fails", "left", "child fails", "pending"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    outcomes=st.lists(st.lists(OUTCOMES, min_size=1, max_size=5), max_size=6),
    repeated=st.lists(st.integers(0, 5), max_size=4),
    form=st.tuples(st.sampled_from(TRANSFORMATIONS), st.sampled_from(OUTPUT_TYPES)),
)
def test_every_index_is_told_exactly_once(
    outcomes: list[list[str]],
    repeated: list[int],
    form: tuple[str, str],
    run: Run,
    make_export: Callable[..., Any],
) -> None:
    export = make_export(transformation=form[0], output_type=form[1], per_file=2, map_run=uuid.uuid4().hex)
    index = 0
    children: list[tuple[dict[str, Any], list[str]]] = []
    for each in outcomes:
        children.append((batch_of(run, list(range(index, index + len(each)))), each))
        index += len(each)
    expected: dict[int, str] = {}
    for event, each in [*children, *(children[n] for n in repeated if n < len(children))]:
        indexes = [item["index"] for item in event["Items"]]
        if "pending" in each:
            export.pending(event)
            expected |= dict.fromkeys(indexes, "UNPROCESSED")
        elif "child fails" in each:
            export.failed(event, "Sandbox.Timedout", "{}")
            expected |= dict.fromkeys(indexes, "FAILED")
        else:
            by_outcome = {
                kind: [str(n) for n, o in zip(indexes, each, strict=True) if o == kind]
                for kind in ("succeeds", "fails", "left")
            }
            export.succeeded(
                event,
                {
                    "batchItemResults": [{"itemIdentifier": n, "result": None} for n in by_outcome["succeeds"]],
                    "batchItemFailures": [
                        {"itemIdentifier": n, "error": "E", "cause": ""} for n in by_outcome["fails"]
                    ],
                    "batchItemsUnprocessed": by_outcome["left"],
                },
            )
            names = {"succeeds": "SUCCEEDED", "fails": "FAILED", "left": "UNPROCESSED"}
            expected |= {n: names[o] for n, o in zip(indexes, each, strict=True)}
    found = told(Results(export.s3, export.write()))
    assert {n: fields[0] for n, fields in found.items()} == expected


def test_successes_come_before_all_failures(run: Run, s3: S3Client, export: Any) -> None:
    """Those too that are in a batch which failed by its share."""
    handler = process_items(fail_at_percentage=30)(squares_or_odd_ones_fail.__wrapped__)  # type: ignore[attr-defined]
    export.run_child(squares_or_odd_ones_fail, batch_of(run, [1, 2]))
    export.run_child(handler, batch_of(run, [3, 4]))
    export.run_child(process_items(lambda item: item), batch_of(run, [3]))
    found = [(result.index, result.status) for result in Results(s3, export.write())]
    assert found == [(2, "SUCCEEDED"), (3, "SUCCEEDED"), (4, "SUCCEEDED"), (1, "FAILED")]


def test_an_aborted_child_has_its_status_for_an_error(run: Run, s3: S3Client, export: Any) -> None:
    export.aborted(batch_of(run, [1]))
    (result,) = Results(s3, export.write())
    assert (result.index, result.status, result.error) == (1, "FAILED", "ABORTED")
    assert "which was managing this resource was aborted" in str(result.cause)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_express_children_are_read(transformation: str, run: Run, make_export: Callable[..., Any]) -> None:
    export = make_export(transformation=transformation, express=True)
    export.run_child(squares_or_odd_ones_fail, batch_of(run, [1, 2]))
    export.failed(batch_of(run, [3]), "States.Timeout", "", status="TIMED_OUT")
    assert told(Results(export.s3, export.write())) == {
        1: odd(1),
        2: ok(2),
        3: ("FAILED", None, "States.Timeout", ""),
    }


def test_a_redrive_that_is_refused_exports_the_same_again(s3: S3Client, export: Any) -> None:
    """Items without an index can't be told apart: only the newest manifest counts for those that did not succeed."""
    for redrive in (None, 1, 3):
        if redrive is None:
            export.succeeded("a", 1)
        export.failed("b", "E", "c")
        export.pending("d")
        export.pending("e")
        place = export.write(redrive=redrive)
    key, empty = f"{export.folder}Redrive-3/SUCCEEDED_0.json", b"[]"
    s3.put_object(Bucket=export.bucket, Key=key, Body=empty)
    manifest = json.loads(s3.get_object(Bucket=export.bucket, Key=place["key"])["Body"].read())
    manifest["ResultFiles"]["SUCCEEDED"].append({"Key": key, "Size": len(empty)})
    export.write_manifest(f"{export.folder}Redrive-3/", manifest["ResultFiles"])
    results = Results(s3, export.place)
    assert len(list(results)) == 4
    assert results.counts == {"SUCCEEDED": 1, "FAILED": 1, "UNPROCESSED": 2}


def test_a_redrive_that_has_begun_is_no_newer_account(run: Run, s3: S3Client, export: Any) -> None:
    export.failed(batch_of(run, [1]), "E", "c")
    place = export.write()
    export.write_manifest(f"{export.folder}Redrive-1/", {"SUCCEEDED": [], "FAILED": [], "PENDING": []})
    assert [(result.index, result.error) for result in Results(s3, place)] == [(1, "E")]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("output_type", OUTPUT_TYPES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_names_of_files_do_not_tell_what_is_in_them(
    transformation: str, output_type: str, suffix: str, make_export: Callable[..., Any]
) -> None:
    for children in (1, 2, 3):
        export = make_export(
            transformation=transformation, output_type=output_type, suffix=suffix, map_run=uuid.uuid4().hex
        )
        for number in range(children):
            export.succeeded({"any": number}, [number, [number]])
        values = [result.value for result in Results(export.s3, export.write())]
        whole = [[number, [number]] for number in range(children)]
        assert values == (whole if transformation != "FLATTEN" else [each for value in whole for each in value])


def test_fails_when_it_is_not_known_whose_the_spilled_answer_is(run: Run, s3: S3Client, export: Any) -> None:
    export.folder = "elsewhere/5f0a/"
    export.run_child(process_items(lambda _: "x" * 300_000), batch_of(run, [1]))
    place = export.write()
    with pytest.raises(SpillError, match="only the run's own folder is read, and the run is not known"):
        list(Results(s3, place))
    assert len(list(Results(s3, place, run=run))) == 1


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("runs/r/results/u/manifest.json", ("runs/r", "")),
        ("runs/r/results/u/Redrive-2/manifest.json", ("runs/r", "")),
        ("team a/runs/r/results/u/manifest.json", ("team a/runs/r", "")),
        ("runs/runs/r/results/u/manifest.json", ("runs/runs/r", "")),
        ("runs/r/nested/Inner/3/results/u/manifest.json", ("runs/r", "/3")),
        ("p/runs/r/nested/runs/3/17/results/u/manifest.json", ("p/runs/r", "/3/17")),
        ("results/u/manifest.json", None),
    ],
    ids=str,
)
def test_a_run_is_known_by_the_key_of_its_manifest(key: str, expected: tuple[str, str] | None) -> None:
    found = folder_of({"bucket": "b", "key": key})
    assert (found if found is None else (found.prefix, found.path)) == expected


EVERY_INDEX = [Result(n, None) for n in range(60_100)]


@settings(deadline=None, max_examples=100)
@given(
    ranges=st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 40)), max_size=20),
    one=st.integers(0, 60_000),
)
def test_a_range_of_indexes_is_added_where_all_are_new(ranges: list[tuple[int, int]], one: int) -> None:
    indexes, expected = IndexSet(), {one}
    assert indexes.add_range([one])
    for first, number in ranges:
        wanted = list(range(first, first + number))
        assert indexes.add_range(wanted) == expected.isdisjoint(wanted)
        if expected.isdisjoint(wanted):
            expected |= set(wanted)
    assert len(indexes) == len(expected)
    assert {result.index for result in indexes.add_new(EVERY_INDEX)}.isdisjoint(expected)
    for odd in ([], [None], [2, 1], [-1], [MAX_ITEMS], [MAX_ITEMS - 1, MAX_ITEMS]):
        assert not indexes.add_range(odd)
