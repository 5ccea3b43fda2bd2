"""Rounds in the files of a run: of each item counts what the last round says that it was in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.runs import Pipeline, Run
from tests.cli.command import answer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def run(squares: Pipeline, states: Any, files: Callable[..., Any], s3: S3Client, bucket: str) -> Run:
    """A run of 10 items: 2, 3 and 4 failed; in its round 2 succeeded, 3 failed again, and 4 was lost."""
    states.add_run(squares.arn, "first", label="Squares", items=10, seconds=0, input={"number": 10, "chunk": 1})
    writer = files(squares, "first")
    items = [(index, {"v": index}) for index in range(10)]
    writer.items([value for _, value in items])
    writer.child(items, output=answer(items, [2, 3, 4]))
    writer.write()
    lines = [json.dumps({"index": index, "value": value}) for index, value in items[2:5]]
    s3.put_object(Bucket=bucket, Key="runs/first/rounds/1/items.jsonl", Body="\n".join(lines).encode())
    again = files(squares, "first")
    again.child(items[2:4], output=answer(items[2:4], [3]))
    again.write(folder=f"runs/first/rounds/1/results/{again.uuid}")
    return squares.run("first")


def test_of_an_item_that_a_round_lost_nothing_earlier_is_told(run: Run) -> None:
    ledger = run.ledger()
    assert (ledger.succeeded, ledger.failed, ledger.missing, ledger.rounds, ledger.recovered) == (8, 1, 1, 1, 1)
    assert ledger.is_complete is False
    assert [(failure.index, failure.cause) for failure in run.failures(ledger)] == [(3, "bad 3")]
    results = list(run.results(ordered=True, unsuccessful=True))
    assert [(each.index, each.status) for each in results if not each.succeeded] == [(3, "FAILED")]
    assert [each.index for each in results if each.succeeded] == [0, 1, 2, 5, 6, 7, 8, 9]


def test_a_retry_runs_what_rounds_left_and_nothing_that_is_done(run: Run, s3: S3Client, bucket: str) -> None:
    retried = run.retry(include_missing=True)
    assert retried is not None
    body = s3.get_object(Bucket=bucket, Key=f"runs/first/retries/{retried.name}/items.jsonl")["Body"].read()
    assert [json.loads(line)["index"] for line in body.splitlines()] == [3, 4]


def test_fails_when_the_items_of_a_round_are_gone(run: Run, s3: S3Client, bucket: str) -> None:
    s3.delete_object(Bucket=bucket, Key="runs/first/rounds/1/items.jsonl")
    assert any("is gone, so which items its round had isn't known" in each for each in run.ledger().problems)
