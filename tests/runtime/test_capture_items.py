"""Captures of the user's own: streamed to a real S3 API, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from distmap import (
    CaptureDeadlineError,
    CaptureError,
    CaptureLimitError,
    EventError,
    NotJsonError,
    capture_items,
)
from distmap.limits import MIN_PART_BYTES
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "runs/run-1/items.jsonl"


def event_of(run: Run, given: object = None, **more: Any) -> dict[str, Any]:
    return {
        "input": given,
        "run": run,
        "key": f"{run['prefix']}/items.jsonl",
        "capture": {},
        "continuation": None,
        **more,
    }


def body_of(s3: S3Client, run: Run) -> bytes:
    return s3.get_object(Bucket=run["bucket"], Key=KEY)["Body"].read()


def nothing_is_there(s3: S3Client, run: Run) -> bool:
    readable = s3.list_objects_v2(Bucket=run["bucket"])["KeyCount"]
    unfinished = s3.list_multipart_uploads(Bucket=run["bucket"]).get("Uploads", [])
    return readable == 0 and not unfinished


@capture_items
def rows(given: int) -> Iterator[dict[str, Any]]:
    """Yield that many items of about a kilobyte each."""
    for number in range(given):
        yield {"row": number, "text": "ü" * 500}


@pytest.mark.parametrize("count", [0, 1, 3, 20_000], ids=str)
def test_items_are_written_one_per_line_and_accounted_for(count: int, run: Run, s3: S3Client) -> None:
    captured = rows(event_of(run, count))
    body = body_of(s3, run)
    assert captured == {
        "bucket": run["bucket"],
        "key": KEY,
        "count": count,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    lines = body.decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["row"] for line in lines] == list(range(count))


def test_an_item_may_hold_decimals(run: Run, s3: S3Client) -> None:
    capture_items(lambda _: [{"price": Decimal("2.50"), "pieces": Decimal(3)}])(event_of(run, 0))
    assert body_of(s3, run) == b'{"price":2.5,"pieces":3}\n'


def test_every_part_but_the_last_has_the_size_that_s3_demands(run: Run, s3: S3Client) -> None:
    sizes: list[int] = []
    s3.meta.events.register(
        "before-parameter-build.s3.UploadPart", lambda params, **_: sizes.append(len(params["Body"]))
    )
    rows(event_of(run, 20_000))
    assert len(sizes) == 3
    assert min(sizes[:-1]) >= MIN_PART_BYTES


def test_a_capture_that_is_tried_again_replaces_its_own_file(run: Run, s3: S3Client, keys_in: Any) -> None:
    assert rows(event_of(run, 3)) == rows(event_of(run, 3))
    assert keys_in(run["bucket"]) == [KEY]
    assert rows(event_of(run, 2))["count"] == 2
    assert body_of(s3, run).count(b"\n") == 2


def test_two_runs_never_meet(run: Run, keys_in: Any) -> None:
    rows(event_of(run, 3))
    rows(event_of({**run, "name": "run-2", "prefix": "runs/run-2"}, 2))
    assert keys_in(run["bucket"]) == [KEY, "runs/run-2/items.jsonl"]


class BrokenSourceError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 1, 5, 12_000], ids=["at-once", "after-one", "after-five", "after-a-part"])
def test_fails_when_the_source_breaks_and_leaves_nothing(after: int, run: Run, s3: S3Client) -> None:
    closed: list[bool] = []

    @capture_items
    def broken(given: None) -> Iterator[dict[str, Any]]:
        try:
            for number in range(after):
                yield {"row": number, "text": "x" * 1000}
            raise BrokenSourceError
        finally:
            closed.append(True)

    with pytest.raises(BrokenSourceError):
        broken(event_of(run))
    assert closed == [True]
    assert nothing_is_there(s3, run)


@pytest.mark.parametrize(
    ("operation", "count"),
    [("PutObject", 3), ("CreateMultipartUpload", 20_000), ("UploadPart", 20_000), ("CompleteMultipartUpload", 20_000)],
    ids=["put", "before-the-upload", "in-a-part", "before-completion"],
)
def test_fails_when_a_step_of_the_upload_fails_and_leaves_nothing(
    operation: str, count: int, run: Run, s3: S3Client
) -> None:
    calls: list[str] = []

    def refuse(**_: Any) -> None:
        calls.append(operation)
        # The second part, where there are several: one is in S3 by then.
        if operation != "UploadPart" or len(calls) == 2:
            raise BrokenSourceError(operation)

    s3.meta.events.register(f"before-call.s3.{operation}", refuse)
    with pytest.raises(BrokenSourceError, match=operation):
        rows(event_of(run, count))
    assert calls
    assert nothing_is_there(s3, run)


def test_a_completion_whose_answer_was_lost_is_taken_for_done(run: Run, s3: S3Client) -> None:
    def lose(attempts: int, **_: Any) -> float | None:
        return 0 if attempts == 1 else None  # boto3 asks again, and S3 knows no such upload any more

    s3.meta.events.register("needs-retry.s3.CompleteMultipartUpload", lose)  # type: ignore[arg-type] # may answer
    assert rows(event_of(run, 20_000))["count"] == 20_000
    assert s3.head_object(Bucket=run["bucket"], Key=KEY)["ContentLength"] > 0


def test_fails_when_the_upload_was_aborted_before_its_completion(run: Run, s3: S3Client) -> None:
    def abort(params: dict[str, Any], **_: Any) -> None:
        s3.abort_multipart_upload(**{name: params[name] for name in ("Bucket", "Key", "UploadId")})

    s3.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", abort)
    with pytest.raises(CaptureError, match="was completed, aborted or changed"):
        rows(event_of(run, 20_000))
    assert nothing_is_there(s3, run)


def test_fails_when_the_abort_fails_too_and_shows_the_first_error(run: Run, s3: S3Client) -> None:
    def refuse(model: Any, **_: Any) -> None:
        raise BrokenSourceError(model.name)

    s3.meta.events.register("before-call.s3.CompleteMultipartUpload", refuse)
    s3.meta.events.register("before-call.s3.AbortMultipartUpload", refuse)
    with pytest.raises(BrokenSourceError, match="CompleteMultipartUpload") as failure:
        rows(event_of(run, 20_000))
    assert failure.value.__notes__ == [
        "the upload could not be aborted: AbortMultipartUpload; the bucket's lifecycle rule will"
    ]
    with pytest.raises(ClientError, match="NoSuchKey"):
        body_of(s3, run)


@pytest.mark.parametrize("item", [{1, 2}, float("nan"), b"x"], ids=["set", "nan", "bytes"])
def test_fails_when_an_item_is_not_json_and_says_which(item: object, run: Run, s3: S3Client) -> None:
    handler = capture_items(lambda _: [1, 2, item])
    with pytest.raises(NotJsonError, match=r"item 2 is not JSON: .*only dict with text keys"):
        handler(event_of(run))
    assert nothing_is_there(s3, run)


def test_fails_when_an_item_is_larger_than_a_child_can_get(run: Run, s3: S3Client) -> None:
    handler = capture_items(lambda _: ["x", "x" * 250_000])
    with pytest.raises(CaptureLimitError, match="item 1 has 250,002 bytes of JSON, over the 245,760 allowed"):
        handler(event_of(run))
    assert nothing_is_there(s3, run)
    assert capture_items(max_item_bytes=300_000)(lambda _: ["x" * 250_000])(event_of(run))["count"] == 1


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (("MAX_ITEMS", 9_000), "more than the 9,000 items that a map can read"),
        (("MAX_ITEM_FILE_BYTES", 9_000_000), "more than the 9,000,000 bytes that a map can read, at item 8,798"),
    ],
    ids=["items", "bytes"],
)
def test_fails_when_a_limit_of_aws_would_be_passed(
    limit: tuple[str, int], message: str, run: Run, s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"distmap._upload.{limit[0]}", limit[1])
    with pytest.raises(CaptureLimitError, match=message):
        rows(event_of(run, 20_000))
    assert nothing_is_there(s3, run)


def test_a_limit_may_be_reached(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmap._upload.MAX_ITEMS", 7)
    assert rows(event_of(run, 7))["count"] == 7


def test_fails_when_the_deadline_comes_near_and_says_how_far_it_got(
    run: Run, s3: S3Client, lambda_context: Callable[[float], Any]
) -> None:
    @capture_items(reserve_seconds=899.7)
    def slow(given: None) -> Iterator[int]:
        while True:
            yield 1
            time.sleep(0.05)

    with pytest.raises(
        CaptureDeadlineError, match=r"after [1-9] items and \d+ bytes: 900 s were left .* raise the func"
    ):
        slow(event_of(run), lambda_context(900))
    assert nothing_is_there(s3, run)


def test_a_capture_that_ends_in_the_reserve_is_whole(run: Run, lambda_context: Callable[[float], Any]) -> None:
    @capture_items(reserve_seconds=899.9)
    def slow(given: None) -> Iterator[int]:
        yield 1
        time.sleep(0.2)

    assert slow(event_of(run), lambda_context(900))["count"] == 1


CAPTURE = """
    import json, os, sys, time
    from distmap import capture_items

    @capture_items
    def handler(given):
        for number in range(given):
            yield {"row": number, "text": "x" * 1000}
        print("WRITTEN", flush=True)
        time.sleep(600)

    handler(json.load(sys.stdin))
"""


def test_a_capture_killed_by_its_deadline_leaves_nothing_that_can_be_read(
    run: Run, s3: S3Client, aws_environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CAPTURE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **aws_environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(json.dumps(event_of(run, 20_000)))
        process.stdin.close()
        assert process.stdout.readline() == "WRITTEN\n"
        # Lambda ends a function at its deadline like this: no handler, no finally.
        process.kill()
    assert s3.list_objects_v2(Bucket=run["bucket"])["KeyCount"] == 0
    assert rows(event_of(run, 5))["count"] == 5


def test_the_function_gets_the_input_and_the_context(run: Run) -> None:
    seen: list[object] = []

    @capture_items
    def handler(given: object, context: object) -> list[int]:
        seen.extend([given, context])
        return []

    context = object()
    handler(event_of(run, {"number": 3}), context)
    assert seen == [{"number": 3}, context]


@pytest.mark.parametrize(
    "returned", [None, 5, "text", b"x", {"a": 1}], ids=["none", "integer", "text", "bytes", "object"]
)
def test_fails_when_the_function_gives_no_items(returned: object, run: Run, s3: S3Client) -> None:
    with pytest.raises(CaptureError, match=f"returned a {type(returned).__name__}; a capture function yields"):
        capture_items(lambda _: returned)(event_of(run))
    assert nothing_is_there(s3, run)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"run": None}, "a run that lacks"),
        ({"key": ""}, "got the key ''"),
        ({"key": 3}, "got the key 3"),
        ({"capture": []}, "got capture: []"),
        ({"continuation": 5}, "continuation: 5"),
        ({"continuation": {"position": 1}}, "got a continuation, which only the built-in captures"),
    ],
    ids=["run", "empty-key", "key", "capture", "continuation", "continued"],
)
def test_fails_when_the_event_is_no_capture_event(change: dict[str, Any], found: str, run_nowhere: Run) -> None:
    with pytest.raises(EventError) as failure:
        rows({**event_of(run_nowhere), **change})
    assert found in str(failure.value)


@pytest.mark.parametrize("event", [None, [], {"number": 3}], ids=["null", "list", "bare-input"])
def test_fails_when_the_event_is_something_else(event: object) -> None:
    with pytest.raises(EventError, match="a capture function takes what the pipeline sends to it"):
        rows(event)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_item_bytes": 0}, "max_item_bytes must be an integer from 1 to 8,388,608, got 0"),
        ({"max_item_bytes": 9_000_000}, "got 9000000"),
        ({"reserve_seconds": -0.1}, "reserve_seconds must be 0 or more, got -0.1"),
    ],
    ids=["zero-bytes", "nine-megabytes", "reserve"],
)
def test_fails_when_a_setting_is_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        capture_items(**settings)


def test_one_log_line_tells_the_capture(run: Run, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    rows(event_of(run, 2))
    with pytest.raises(NotJsonError):
        capture_items(lambda _: [{1}])(event_of(run))
    done, failed = log_lines()
    assert (done["message"], done["items"], done["run"], done["key"]) == ("items captured", 2, "run-1", KEY)
    assert (failed["message"], failed["error"]) == ("capture failed", "NotJsonError")


@pytest.mark.parametrize(("most", "taken"), [(1, 1), (3, 3), (5, 3), (None, 3)], ids=str)
def test_a_capture_ends_at_the_most_items(most: int | None, taken: int, run: Run, s3: S3Client) -> None:
    told: list[str] = []

    @capture_items
    def capture(given: object) -> Iterator[int]:
        try:
            yield from range(3)
            told.append("end")
        finally:
            told.append("closed")

    answer = capture(event_of(run, maxItems=most))
    assert [json.loads(line) for line in body_of(s3, run).splitlines()] == list(range(taken))
    assert answer["count"] == taken
    # What the generator holds is let go of either way, and no item is asked for that isn't wanted.
    assert told == (["closed"] if most in {1, 3} else ["end", "closed"])


def test_fails_when_the_most_items_are_none(run_nowhere: Run) -> None:
    with pytest.raises(EventError, match="max_items must be a whole number from 1 to 100,000,000, got 0"):
        rows(event_of(run_nowhere, 3, maxItems=0))
