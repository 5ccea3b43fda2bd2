"""Answers around the limit of Step Functions, written to a real S3 API where they are over it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from distmap import AnswerTooLargeError, BatchFailedError, SpillError, process_items
from distmap._json import ESCAPES_NON_ASCII, plain
from distmap._spill import resolve
from distmap.limits import FAILURE_MESSAGE_CHARACTERS, MAX_CAUSE_CHARACTERS, SPILL_BYTES
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHARACTERS = {"ascii": "x", "two-bytes": "ü", "three-bytes": "語", "four-bytes": "🎉"}


def as_lambda_sends(value: object) -> bytes:
    """The text that Lambda's runtime for this Python makes of an answer: its separators and its escapes."""
    return json.dumps(value, ensure_ascii=ESCAPES_NON_ASCII).encode()


def event_of(values: list[Any], run: Run, first: int = 0) -> dict[str, Any]:
    items = [{"index": first + position, "value": value} for position, value in enumerate(values)]
    return {"BatchInput": {"distmap": {"run": run}}, "Items": items}


@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
@pytest.mark.parametrize("kibibytes", [200, 239, 241, 256, 300], ids=str)
def test_an_answer_over_240_kibibytes_is_spilled(
    kibibytes: int, character: str, run: Run, s3: S3Client, keys_in: Callable[[str], list[str]]
) -> None:
    each = len(as_lambda_sends(character)) - 2
    handler = process_items(lambda item: character * (item * 1024 // each))
    answer = handler(event_of([kibibytes // 2, kibibytes - kibibytes // 2], run))
    if kibibytes < 240:
        assert len(as_lambda_sends(answer)) <= SPILL_BYTES
        assert keys_in(run["bucket"]) == []
        return
    place = answer["distmapSpilled"]
    body = s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (place["bytes"], place["sha256"])
    assert place["key"].startswith("runs/run-1/spill/0-1-")
    assert len(resolve(answer)["batchItemResults"]) == 2
    assert len(as_lambda_sends(answer)) < 1024


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches without what they measure, which has another number of digits each time."""
    monkeypatch.setattr("distmap._batch.measure", lambda *_: None)


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_the_limit_is_exact_to_the_byte(character: str, run: Run) -> None:
    def answer_of(padding: int) -> Any:
        text = character * (200 * 1024 // (len(as_lambda_sends(character)) - 2)) + "x" * padding
        return process_items(lambda _: text)(event_of([0], run))

    padding = SPILL_BYTES - len(as_lambda_sends(answer_of(0)))
    assert len(as_lambda_sends(answer_of(padding))) == SPILL_BYTES
    assert "distmapSpilled" in answer_of(padding + 1)


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True]}, 'ü\n"\\', "🎉", [], {"k": {"ü": "語"}}], ids=repr)
def test_an_answer_is_measured_as_lambda_sends_it(value: object) -> None:
    assert plain(value, what="it") == (value, len(as_lambda_sends(value)))


def test_a_large_answer_of_a_single_envelope_is_spilled_under_its_path(run: Run) -> None:
    nested: Run = {**run, "path": "/3"}
    answer = process_items(lambda _: "x" * 300_000)({"index": 17, "value": 0, "run": nested})
    assert answer["distmapSpilled"]["key"].startswith("runs/run-1/spill/3/17-")
    assert resolve(answer)["batchItemResults"][0]["itemIdentifier"] == "17"


@pytest.mark.usefixtures("unmeasured")
def test_the_same_answer_of_a_second_attempt_has_the_same_key_and_another_answer_another(run: Run) -> None:
    def key_of(text: str) -> str:
        key: str = process_items(lambda _: text)(event_of([0], run))["distmapSpilled"]["key"]
        return key

    assert key_of("x" * 300_000) == key_of("x" * 300_000)
    assert key_of("x" * 300_000) != key_of("y" * 300_000)


@pytest.mark.parametrize("event", [5, {"Items": [5]}], ids=["item", "batch"])
def test_fails_when_the_answer_of_bare_items_is_too_large(event: object) -> None:
    with pytest.raises(
        AnswerTooLargeError, match=r"is 300,\d+ bytes, over the 245,760 .* let the map send items in their env"
    ):
        process_items(lambda _: "x" * 300_000)(event)


def test_fails_when_the_spill_cannot_be_written(run: Run, bucket: str) -> None:
    elsewhere: Run = {**run, "bucket": "no-such-bucket"}
    with pytest.raises(
        SpillError, match=r"could not be written to s3://no-such-bucket/runs/run-1/spill/0-.*NoSuchBucket"
    ):
        process_items(lambda _: "x" * 300_000)(event_of([0], elsewhere))


def test_fails_when_a_spilled_object_is_not_what_its_reference_says(run: Run, s3: S3Client) -> None:
    answer = process_items(lambda _: "x" * 300_000)(event_of([0], run))
    s3.put_object(Bucket=run["bucket"], Key=answer["distmapSpilled"]["key"], Body=b"{}")
    with pytest.raises(SpillError, match="is not what was spilled there"):
        resolve(answer)


def raise_text(text: str) -> Any:
    def fail(item: Any) -> None:
        raise ValueError(text)

    return process_items(fail)


@pytest.mark.parametrize(
    "character", ["x", '"', "\\", "\n", "🎉"], ids=["plain", "quote", "backslash", "newline", "emoji"]
)
@pytest.mark.parametrize("length", [10, 300, 900], ids=str)
def test_what_each_item_of_a_failed_batch_met_fits_into_the_cause(character: str, length: int, run: Run) -> None:
    with pytest.raises(BatchFailedError) as failure:
        raise_text(character * length)(event_of([0] * 30, run))
    cause = json.dumps(
        {"errorMessage": str(failure.value), "errorType": "BatchFailedError", "stackTrace": ["x" * 4096]}
    )
    assert len(cause) <= MAX_CAUSE_CHARACTERS
    assert len(json.dumps(str(failure.value))) <= FAILURE_MESSAGE_CHARACTERS
    batch = resolve(json.loads(json.loads(cause)["errorMessage"])["batch"])
    assert [entry["cause"] for entry in batch["batchItemFailures"]] == [character * length] * 30


def test_a_failed_batch_of_bare_items_says_at_least_the_first_reason() -> None:
    with pytest.raises(BatchFailedError) as failure:
        raise_text("x" * 900)({"Items": [0] * 30})
    message = json.loads(str(failure.value))
    assert message["batch"] is None
    assert re.match(r"30 of 30 items failed, the first with ValueError at \S+:\d+ in fail: xxx", message["message"])
