"""Items of several files: told apart by file and index, in the worker's answer and by whoever reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmap import EventError, Results, current_item, item_key, process_items
from distmap._identity import ItemNumbers, identifier_of, parse_identifier
from distmap._spill import resolve
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

A, B = "s3://rows/a.jsonl", 's3://rows/ünï #1 "b".jsonl'
SOURCES = st.none() | st.text(min_size=1, max_size=8) | st.just("s3://bucket/a#b#3")


def batch_of(run: Run, *items: tuple[int, str | None, Any]) -> dict[str, Any]:
    envelopes = [{"index": index, "source": source, "value": value} for index, source, value in items]
    return {"BatchInput": {"distmap": {"run": run}}, "Items": envelopes}


@given(index=st.integers(0, 10**8), source=SOURCES)
def test_an_identifier_says_file_and_index(index: int, source: str | None) -> None:
    assert parse_identifier(identifier_of(index, source)) == (index, source)


@pytest.mark.parametrize("text", ["", "#3", "a", "s3://b/k#", "s3://b/k#-1", "s3://b/k#x", "-1", "٣", None, -1, 1.0])
def test_fails_when_an_identifier_names_no_item(text: object) -> None:
    with pytest.raises(ValueError, match="which is the index of no item"):
        parse_identifier(text)


@given(items=st.lists(st.tuples(st.integers(0, 300), st.sampled_from([A, B, "c"]))))
def test_items_of_files_are_numbered_without_gaps_and_known_again(items: list[tuple[int, str]]) -> None:
    numbers = ItemNumbers()
    given = [numbers.number(*item) for item in items]
    assert sorted(set(given)) == list(range(len(set(items))))
    assert [numbers.identity(number) for number in given] == items
    assert bool(numbers) == bool(items)


def test_an_item_without_a_file_has_its_index() -> None:
    assert ItemNumbers().number(17, None) == 17
    assert ItemNumbers().identity(17) == (17, None)


def test_items_of_two_files_may_have_one_index_in_a_batch(run_nowhere: Run) -> None:
    @process_items
    def handler(item: int) -> list[Any]:
        if item == 3:
            raise ValueError
        return [current_item().source, item_key()]

    answer = handler(batch_of(run_nowhere, (0, A, 1), (0, B, 2), (1, B, 3)))
    run = run_nowhere["id"]
    assert answer["batchItemResults"] == [
        {"itemIdentifier": f"{A}#0", "result": [A, f"{run}/{A}#0"]},
        {"itemIdentifier": f"{B}#0", "result": [B, f"{run}/{B}#0"]},
    ]
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == [f"{B}#1"]


def test_a_source_of_null_is_none(run_nowhere: Run) -> None:
    answer = process_items(lambda _: item_key())(batch_of(run_nowhere, (4, None, 1)))
    assert answer["batchItemResults"] == [{"itemIdentifier": "4", "result": f"{run_nowhere['id']}/4"}]


def test_a_single_envelope_may_have_a_source(run_nowhere: Run) -> None:
    answer = process_items(lambda _: item_key())({"index": 2, "source": A, "value": 1, "run": run_nowhere})
    result = {"itemIdentifier": f"{A}#2", "result": f"{run_nowhere['id']}/{A}#2"}
    assert answer["batchItemResults"] == [result]


@pytest.mark.parametrize(
    ("items", "found"),
    [([(0, A, 1), (0, A, 2)], "two items with index 0"), ([(0, 3, 1)], "a source that is no text: 3")],
    ids=["twice", "no-text"],
)
def test_fails_when_items_cannot_be_told_apart(items: Any, found: str, run_nowhere: Run) -> None:
    with pytest.raises(EventError, match=found):
        process_items(lambda item: item)(batch_of(run_nowhere, *items))


@pytest.mark.parametrize("starts", [(0, 0), (0, 3)], ids=["numbered-by-file", "numbered-through"])
@pytest.mark.parametrize("threads", [1, 2], ids=["one-thread", "two-threads"])
def test_results_are_told_by_file_and_index_and_duplicates_dropped(
    starts: tuple[int, int], threads: int, run: Run, s3: S3Client, export: Any
) -> None:
    @process_items(threads=threads, fail_at_percentage=None)
    def handler(item: int) -> int:
        if item == 5:
            raise ValueError(item)
        return item

    items = [(starts[at // 3] + at % 3, (A, B)[at // 3], at) for at in range(6)]
    export.run_child(handler, batch_of(run, *items[:4]))
    export.run_child(handler, batch_of(run, *items[4:]))
    export.run_child(handler, batch_of(run, *items[:4]))  # an Express child that ran twice
    results = Results(s3, export.write(), run=run, captured=6)
    found = {(each.index, each.source): (each.status, each.value, each.item) for each in results}
    expected = {(index, source): ("SUCCEEDED", at, None) for index, source, at in items[:5]}
    assert found == {**expected, (items[5][0], B): ("FAILED", None, 5)}
    assert (results.duplicates, results.counts["SUCCEEDED"]) == (4, 5)
    assert {(each.index, each.source) for each in results} == set(found)  # as often as you like


def test_a_large_answer_of_several_files_is_spilled_and_read(run: Run, s3: S3Client, export: Any) -> None:
    handler = process_items(lambda item: "x" * item)
    export.run_child(handler, batch_of(run, (0, A, 200_000), (0, B, 100_000)))
    export.pending(batch_of(run, (1, A, 7)))
    results = list(Results(s3, export.write(), run=run, captured=3))
    told = [(each.index, each.source, each.status, len(each.value or "")) for each in results]
    assert told == [(0, A, "SUCCEEDED", 200_000), (0, B, "SUCCEEDED", 100_000), (1, A, "UNPROCESSED", 0)]
    assert resolve(handler(batch_of(run, (0, A, 300_000))))["batchItemResults"][0]["itemIdentifier"] == f"{A}#0"
