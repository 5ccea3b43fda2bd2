"""The built-in captures, over one invocation and over many."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmap import CaptureError, CaptureLimitError, EventError, _upload, capture_input
from distmap._ordered import read_in_order
from distmap.limits import MAX_ITEMS, MIN_PART_BYTES
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "runs/run-1/items.jsonl"
HANDLER = Path(__file__).parents[2] / "lambdas" / "capture_input" / "handler.py"


def event_of(run: Run, **capture: Any) -> dict[str, Any]:
    return {"input": {}, "run": run, "key": KEY, "capture": capture, "continuation": None}


def items_in(s3: S3Client, run: Run) -> list[dict[str, Any]]:
    body = s3.get_object(Bucket=run["bucket"], Key=KEY)["Body"].read()
    lines = body.splitlines()
    items: list[dict[str, Any]] = json.loads(b"[%s]" % b",".join(lines))
    assert len(items) == len(lines)
    return items


def ranges_of(number: int, chunk: int) -> list[dict[str, int]]:
    return [{"from": low, "to": min(low + chunk, number)} for low in range(0, number, chunk)]


def capture_all(event: dict[str, Any], contexts: Iterator[Any]) -> tuple[dict[str, Any], int]:
    """Invoke like the state machine does, until there is no continuation; return the answer and the invocations."""
    invocations = 0
    while True:
        answer: Any = capture_input(event, next(contexts))
        invocations += 1
        # It travels as JSON, and beside the execution's input, which holds it a second time.
        assert len(json.dumps(answer)) < 60_000
        if "continuation" not in answer:
            return answer, invocations
        event = json.loads(json.dumps({**event, "continuation": answer["continuation"]}))


class Context:
    """A Lambda context that has time, or none left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


def always(seconds: float) -> Iterator[Context]:
    while True:
        yield Context(seconds)


@pytest.mark.parametrize(
    ("number", "chunk"),
    [
        (0, 5),
        (1, 1),
        (1, 5),
        (5, 5),
        (6, 5),
        (100_000, 5),
        (49_999, 5),
        (50_001, 5),
        (3, 10**15),
        (2**53 - 1, 10**12),
        (1e5, 5.0),
    ],
    ids=str,
)
def test_ranges_page_from_zero_up_to_the_number(number: int, chunk: int, run: Run, s3: S3Client) -> None:
    answer = capture_input(event_of(run, kind="ranges", number=number, chunk=chunk))
    expected = ranges_of(int(number), int(chunk))
    assert items_in(s3, run) == expected
    body = s3.get_object(Bucket=run["bucket"], Key=KEY)["Body"].read()
    assert answer == {
        "bucket": run["bucket"],
        "key": KEY,
        "count": len(expected),
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }


def test_ranges_are_those_of_the_documentation(run: Run, s3: S3Client) -> None:
    assert capture_input(event_of(run, kind="ranges", number=100_000, chunk=5))["count"] == 20_000
    items = items_in(s3, run)
    assert items[:2] == [{"from": 0, "to": 5}, {"from": 5, "to": 10}]
    assert items[-1] == {"from": 99_995, "to": 100_000}


@pytest.mark.parametrize("count", [0, 1, 9_999, 10_000, 10_003], ids=str)
@pytest.mark.parametrize(("start", "inclusive"), [(0, True), (1, False), (1, True), (70, True)], ids=str)
def test_ranges_begin_elsewhere_and_include_their_ends(
    count: int, start: int, run: Run, s3: S3Client, *, inclusive: bool
) -> None:
    number = count * 3 - 1 if count else 0
    capture_input(event_of(run, kind="ranges", number=number, chunk=3, start=start, inclusive=inclusive))
    assert items_in(s3, run) == [
        {"from": start + each["from"], "to": start + each["to"] - inclusive} for each in ranges_of(number, 3)
    ]


@pytest.mark.parametrize("most", [1, 3, 9_999, 10_000, 10_001, 25_000, 25_001, 1e4], ids=str)
def test_ranges_end_at_the_most_items(most: float, run: Run, s3: S3Client) -> None:
    event = {**event_of(run, kind="ranges", number=50_000, chunk=2), "maxItems": most}
    answer, _ = capture_all(event, always(0))
    assert items_in(s3, run) == ranges_of(50_000, 2)[: int(most)]
    assert answer["count"] == min(most, 25_000)


def test_ranges_that_end_early_may_be_more_than_a_map_reads(run: Run, s3: S3Client) -> None:
    capture_input({**event_of(run, kind="ranges", number=10**15, chunk=1), "maxItems": 2})
    assert items_in(s3, run) == [{"from": 0, "to": 1}, {"from": 1, "to": 2}]


@pytest.mark.parametrize("most", [0, -1, 1.5, "10", True, MAX_ITEMS + 1, []], ids=repr)
def test_fails_when_the_most_items_are_no_number_of_items(most: object, run_nowhere: Run) -> None:
    with pytest.raises(EventError, match="max_items must be a whole number from 1 to 100,000,000, got"):
        capture_input({**event_of(run_nowhere, kind="ranges", number=3, chunk=1), "maxItems": most})


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"start": -1}, "start must be a whole number from 0 to 9,007,199,254,740,991, got -1"),
        ({"start": None}, "got None"),
        ({"start": 2**53 - 10, "number": 11}, "end after 9,007,199,254,740,991"),
        ({"inclusive": "no"}, "inclusive must be true or false, got 'no'"),
    ],
    ids=["negative", "null", "inexact", "text"],
)
def test_fails_when_ranges_begin_or_end_nowhere(settings: dict[str, Any], found: str, run_nowhere: Run) -> None:
    with pytest.raises(EventError, match=found):
        capture_input(event_of(run_nowhere, **{"kind": "ranges", "number": 10, "chunk": 1, **settings}))


@pytest.mark.parametrize(
    ("number", "chunk", "found"),
    [
        (-1, 5, "number must be a whole number from 0 to 9,007,199,254,740,991, got -1"),
        (1.5, 5, "got 1.5"),
        ("10", 5, "got '10'"),
        (True, 5, "got True"),
        (None, 5, "got None"),
        (2**53, 5, "got 9007199254740992"),
        (10, 0, "chunk must be a whole number from 1 to 9,007,199,254,740,991, got 0"),
        (10, float("inf"), "got inf"),
    ],
    ids=["negative", "fraction", "text", "true", "null", "too-large", "chunk-0", "infinity"],
)
def test_fails_when_a_range_is_no_range(number: Any, chunk: Any, found: str, run_nowhere: Run) -> None:
    with pytest.raises(EventError) as failure:
        capture_input(event_of(run_nowhere, kind="ranges", number=number, chunk=chunk))
    assert found in str(failure.value)


def test_fails_when_ranges_are_more_than_a_map_reads(run_nowhere: Run) -> None:
    with pytest.raises(
        CaptureLimitError, match=r"makes 100,000,001 items, over the 100,000,000 .*; raise chunk to 2 or"
    ):
        capture_input(event_of(run_nowhere, kind="ranges", number=MAX_ITEMS + 1, chunk=1))


@pytest.mark.parametrize("kind", [None, "range", 3], ids=str)
def test_fails_when_the_capture_is_unknown(kind: object, run_nowhere: Run) -> None:
    with pytest.raises(EventError, match="are of the kind 'ranges' and 's3Listing', got"):
        capture_input(event_of(run_nowhere, kind=kind))


@pytest.mark.parametrize("count", [9_000, 10_000, 10_001, 35_000], ids=str)
def test_ranges_go_on_in_later_invocations(count: int, run: Run, s3: S3Client) -> None:
    sizes: list[int] = []
    s3.meta.events.register(
        "before-parameter-build.s3.UploadPart", lambda params, **_: sizes.append(len(params["Body"]))
    )
    event = event_of(run, kind="ranges", number=count * 3 - 1, chunk=3)
    answer, invocations = capture_all(event, always(0))
    # One block in each, the last and shorter range being one of its own, and one that finds nothing left.
    assert invocations == -(-(count - 1) // 10_000) + 2
    assert items_in(s3, run) == ranges_of(count * 3 - 1, 3)
    assert answer["count"] == count
    assert answer["bytes"] == s3.head_object(Bucket=run["bucket"], Key=KEY)["ContentLength"]
    assert "sha256" not in answer
    assert min(sizes[:-1]) >= MIN_PART_BYTES
    assert s3.list_multipart_uploads(Bucket=run["bucket"]).get("Uploads", []) == []


def test_a_capture_that_has_time_takes_one_invocation(run: Run) -> None:
    _, invocations = capture_all(event_of(run, kind="ranges", number=50_000, chunk=1), always(900))
    assert invocations == 1


def test_an_invocation_tried_again_with_the_same_continuation_changes_nothing(run: Run, s3: S3Client) -> None:
    event = event_of(run, kind="ranges", number=30_000, chunk=1)
    first: Any = capture_input(event, Context(0))
    again = {**event, "continuation": first["continuation"]}
    # The first attempt's answer was lost; it wrote a part that the second one replaces.
    capture_input(again, Context(0))
    second: Any = capture_input(again, Context(0))
    capture_all({**event, "continuation": second["continuation"]}, always(900))
    assert items_in(s3, run) == ranges_of(30_000, 1)


Interference = Callable[["S3Client", str, Any], None]


def wrote_a_part(s3: S3Client, bucket: str, answer: Any) -> None:
    upload_id = answer["continuation"]["upload"]["uploadId"]
    s3.upload_part(Bucket=bucket, Key=KEY, UploadId=upload_id, PartNumber=1, Body=b"x" * MIN_PART_BYTES)


def aborted(s3: S3Client, bucket: str, answer: Any) -> None:
    s3.abort_multipart_upload(Bucket=bucket, Key=KEY, UploadId=answer["continuation"]["upload"]["uploadId"])


@pytest.fixture
def interrupted(run: Run) -> tuple[dict[str, Any], Any]:
    """The event of a second invocation, and the answer of the first."""
    event = event_of(run, kind="ranges", number=30_000, chunk=1)
    first: Any = capture_input(event, Context(0))
    return json.loads(json.dumps({**event, "continuation": first["continuation"]})), first


def no_upload_is_left(s3: S3Client, run: Run) -> bool:
    return s3.list_multipart_uploads(Bucket=run["bucket"]).get("Uploads", []) == []


def test_an_invocation_tried_again_after_it_had_completed_answers_the_same(
    interrupted: tuple[dict[str, Any], Any], run: Run, s3: S3Client
) -> None:
    again, _ = interrupted
    completed: Any = capture_input(again, Context(900))
    answer, _ = capture_all(again, always(900))
    assert (answer["count"], answer["key"]) == (completed["count"], completed["key"]) == (30_000, KEY)
    assert items_in(s3, run) == ranges_of(30_000, 1)
    assert answer["bytes"] == s3.head_object(Bucket=run["bucket"], Key=KEY)["ContentLength"]
    assert no_upload_is_left(s3, run)


@pytest.mark.parametrize("interfere", [wrote_a_part, aborted])
@pytest.mark.parametrize("seconds", [0, 900], ids=["in-many-invocations", "in-one"])
def test_a_capture_begins_again_where_another_attempt_spoilt_its_upload(
    interfere: Interference, seconds: float, interrupted: tuple[dict[str, Any], Any], run: Run, s3: S3Client
) -> None:
    again, first = interrupted
    interfere(s3, run["bucket"], first)
    answer, _ = capture_all(again, always(seconds))
    assert answer["count"] == 30_000
    assert items_in(s3, run) == ranges_of(30_000, 1)
    assert no_upload_is_left(s3, run)


def test_a_listing_that_begins_again_keeps_its_start(listed: str, run: Run, s3: S3Client) -> None:
    first: Any = capture_input(event_of(run, **listing(listed, maxAgeSeconds=60)), Context(0))
    first["continuation"]["upload"] |= {"uploadId": "gone", "parts": 1, "etags": ""}
    event = event_of(run, **listing(listed, maxAgeSeconds=60))
    second: Any = capture_input({**event, "continuation": first["continuation"]}, Context(0))
    assert second["continuation"]["source"] == first["continuation"]["source"]
    answer, _ = capture_all({**event, "continuation": second["continuation"]}, always(900))
    assert answer["count"] == len({item["key"] for item in items_in(s3, run)})


@pytest.mark.parametrize("seconds", [0, 900], ids=["going-on", "ending"])
def test_two_invocations_at_once_both_give_the_whole_file(
    seconds: float, interrupted: tuple[dict[str, Any], Any], run: Run, s3: S3Client
) -> None:
    again, _ = interrupted
    with ThreadPoolExecutor(2) as twins:
        answers = [each.result() for each in [twins.submit(capture_input, again, Context(seconds)) for _ in range(2)]]
    for answer in answers:
        whole: Any = answer
        if "continuation" in answer:
            whole, _ = capture_all({**again, "continuation": answer["continuation"]}, always(900))
        assert whole["count"] == 30_000
        assert items_in(s3, run) == ranges_of(30_000, 1)
    assert no_upload_is_left(s3, run)


@pytest.mark.parametrize("operation", ["ListParts", "UploadPart", "CompleteMultipartUpload"])
def test_a_capture_begins_again_wherever_its_upload_is_found_to_be_gone(
    operation: str, run: Run, s3: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that parts are uploaded of what is left, without millions of bytes.
    monkeypatch.setattr(_upload, "PART_BYTES", 2**18)
    event = event_of(run, kind="ranges", number=60_000, chunk=1)
    first: Any = capture_input(event, Context(0))
    stolen: list[str] = []

    def steal(**_: Any) -> None:
        if not stolen:
            stolen.append(operation)
            aborted(s3, run["bucket"], first)

    s3.meta.events.register(f"before-call.s3.{operation}", steal)
    answer, _ = capture_all({**event, "continuation": first["continuation"]}, always(900))
    assert stolen == [operation]
    assert answer["count"] == len(items_in(s3, run)) == 60_000
    assert no_upload_is_left(s3, run)


def test_fails_when_the_upload_is_lost_again_and_again(run: Run, s3: S3Client) -> None:
    def spoiled() -> Iterator[Context]:
        # Whatever a continuation says its upload is, it is gone when it is gone on with.
        for upload in iter(lambda: s3.list_multipart_uploads(Bucket=run["bucket"]).get("Uploads", []), None):
            for each in upload:
                s3.abort_multipart_upload(Bucket=run["bucket"], Key=KEY, UploadId=each["UploadId"])
            yield Context(0)

    with pytest.raises(CaptureError, match=r"by another invocation of this capture .* start the run again"):
        capture_all(event_of(run, kind="ranges", number=30_000, chunk=1), spoiled())
    assert s3.list_objects_v2(Bucket=run["bucket"])["KeyCount"] == 0
    assert no_upload_is_left(s3, run)


def test_fails_when_the_continuation_is_a_strangers(run_nowhere: Run) -> None:
    event = event_of(run_nowhere, kind="ranges", number=3, chunk=1)
    with pytest.raises(EventError, match="the continuation is none of this capture's"):
        capture_input({**event, "continuation": {"position": 3}})


@pytest.fixture(scope="module")
def keys() -> list[str]:
    names = [f"data/{shard}/file-{number:03d}.csv" for shard in "abc" for number in range(9)]
    return [*names, "data/a/", "data/a/ünï 🎉.csv", "data/b/notes.txt", "other/x.csv", 'data/c/q"\\.csv']


@pytest.fixture
def listed(s3: S3Client, bucket: str, keys: list[str]) -> Iterator[str]:
    """A bucket of objects, listed in pages of four keys."""
    source = f"{bucket}-source"
    s3.create_bucket(Bucket=source)
    for key in keys:
        s3.put_object(Bucket=source, Key=key, Body=b"" if key.endswith("/") else key.encode())

    def small_pages(params: dict[str, Any], **_: Any) -> None:
        params["MaxKeys"] = 4

    s3.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    yield source
    s3.meta.events.unregister("provide-client-params.s3.ListObjectsV2", small_pages)


def listing(bucket: str, **changes: Any) -> dict[str, Any]:
    everything = {
        "kind": "s3Listing",
        "bucket": bucket,
        "prefixes": [""],
        "suffix": None,
        "minBytes": 1,
        "maxBytes": None,
        "modifiedAfter": None,
        "modifiedBefore": None,
        "minAgeSeconds": None,
        "maxAgeSeconds": None,
    }
    return {**everything, **changes}


def in_s3_order(keys: list[str]) -> list[str]:
    return sorted(keys, key=str.encode)


def test_a_listing_gives_each_object_that_is_not_empty(listed: str, run: Run, s3: S3Client, keys: list[str]) -> None:
    answer: Any = capture_input(event_of(run, **listing(listed)))
    items = items_in(s3, run)
    expected = in_s3_order([key for key in keys if not key.endswith("/")])
    assert [item["key"] for item in items] == expected
    assert answer["count"] == len(expected)
    key = "data/a/ünï 🎉.csv"
    one = next(item for item in items if item["key"] == key)
    head = s3.head_object(Bucket=listed, Key=key)
    assert one == {
        "bucket": listed,
        "key": key,
        "size": len(key.encode()),
        "etag": hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(),
        "lastModified": head["LastModified"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


FILTERS: dict[str, tuple[dict[str, Any], Callable[[str], bool]]] = {
    "no-suffix": ({"suffix": ""}, lambda key: not key.endswith("/")),
    "suffix": ({"suffix": ".txt"}, lambda key: key.endswith(".txt")),
    "empty-too": ({"minBytes": 0}, lambda _: True),
    "sizes": ({"minBytes": 12, "maxBytes": 19}, lambda key: not key.endswith("/") and 12 <= len(key.encode()) <= 19),
    "modified-later": ({"modifiedAfter": "2999-01-01T00:00:00Z"}, lambda _: False),
    "modified-before": ({"modifiedBefore": "2999-01-01T00:00:00Z"}, lambda key: not key.endswith("/")),
    "older": ({"minAgeSeconds": 3600}, lambda _: False),
    "younger": ({"maxAgeSeconds": 3600}, lambda key: not key.endswith("/")),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_listing_is_filtered(name: str, listed: str, run: Run, s3: S3Client, keys: list[str]) -> None:
    changes, wanted = FILTERS[name]
    capture_input(event_of(run, **listing(listed, **changes)))
    assert [item["key"] for item in items_in(s3, run)] == in_s3_order([key for key in keys if wanted(key)])


@pytest.mark.parametrize("most", [1, 4, 5, 100])
def test_a_listing_ends_at_the_most_items(most: int, listed: str, run: Run, s3: S3Client, keys: list[str]) -> None:
    event = {**event_of(run, **listing(listed)), "maxItems": most}
    answer, _ = capture_all(event, always(0))
    expected = in_s3_order([key for key in keys if not key.endswith("/")])[:most]
    assert [item["key"] for item in items_in(s3, run)] == expected
    assert answer["count"] == len(expected)


def test_prefixes_are_listed_in_their_order_and_twice_where_they_overlap(
    listed: str, run: Run, s3: S3Client, keys: list[str]
) -> None:
    prefixes = ["other/", "data/c/", "data/", "nothing/", "data/a/"]
    answer: Any = capture_input(event_of(run, **listing(listed, prefixes=prefixes)))
    full = [key for key in keys if not key.endswith("/")]
    expected = [key for prefix in prefixes for key in in_s3_order([key for key in full if key.startswith(prefix)])]
    assert [item["key"] for item in items_in(s3, run)] == expected
    assert answer["count"] == len(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, deadline=None)
@given(stops=st.lists(st.sampled_from([0, 0, 900]), max_size=12))
def test_a_listing_goes_on_in_later_invocations_and_gives_the_same_items(
    stops: list[int], listed: str, run: Run, s3: S3Client
) -> None:
    def contexts() -> Iterator[Context]:
        yield from map(Context, stops)
        yield from always(900)

    event = event_of(run, **listing(listed, prefixes=["data/b/", "data/", "none/", "other/"]))
    whole: Any = capture_input(event)
    expected = items_in(s3, run)
    answer, _ = capture_all(event, contexts())
    assert items_in(s3, run) == expected
    assert answer["count"] == whole["count"]


def test_ages_count_from_the_first_invocation(listed: str, run: Run) -> None:
    first: Any = capture_input(event_of(run, **listing(listed, maxAgeSeconds=60)), Context(0))
    started = datetime.fromisoformat(first["continuation"]["source"]["started"])
    first["continuation"]["source"]["started"] = (started + timedelta(hours=1)).isoformat()
    event = event_of(run, **listing(listed, maxAgeSeconds=60))
    rest: Any = capture_input({**event, "continuation": first["continuation"]}, Context(900))
    assert first["count"] == rest["count"]
    assert abs(datetime.now(UTC) - started) < timedelta(minutes=5)


def test_fails_when_the_bucket_cannot_be_listed_and_leaves_nothing(run: Run, s3: S3Client) -> None:
    with pytest.raises(Exception, match="NoSuchBucket"):
        capture_input(event_of(run, **listing("no-such-bucket-at-all")))
    assert s3.list_objects_v2(Bucket=run["bucket"])["KeyCount"] == 0


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"bucket": ""}, "bucket must be a text that isn't empty, got ''"),
        ({"bucket": "logs--use1-az5--x-s3"}, "is a directory bucket, which lists in no order"),
        ({"prefixes": "a"}, "prefixes must be a list of texts, got 'a'"),
        ({"prefixes": ["a", 3]}, "got ['a', 3]"),
        ({"suffix": 3}, "suffix must be a text, got 3"),
        ({"minBytes": -1}, "minBytes must be a number from 0 to 9,007,199,254,740,991, got -1"),
        ({"maxBytes": "9"}, "maxBytes must be a number from 0 to 9,007,199,254,740,991, got '9'"),
        ({"minBytes": 9, "maxBytes": 8}, "minBytes 9 is over maxBytes 8: no object could match"),
        (
            {"modifiedAfter": "yesterday"},
            "modifiedAfter must be an ISO 8601 date-time with its offset from UTC, such as",
        ),
        (
            {"modifiedBefore": "2026-01-01T00:00:00"},
            "modifiedBefore must be an ISO 8601 date-time with its offset from UTC, such as",
        ),
        (
            {"modifiedAfter": "2026-01-02T00:00:00Z", "modifiedBefore": "2026-01-01T00:00:00Z"},
            "objects would have to be",
        ),
        ({"minAgeSeconds": 100, "maxAgeSeconds": 50}, "objects would have to be modified after"),
        (
            {"modifiedAfter": "2026-01-01"},
            "modifiedAfter must be an ISO 8601 date-time with its offset from UTC, such as",
        ),
        ({"modifiedAfter": "9999-12-31T23:59:59-10:00"}, "modifiedAfter must be an ISO 8601 date-time with its offset"),
        ({"modifiedAfter": 3}, "modifiedAfter must be an ISO 8601 date-time with its offset from UTC, such as"),
        ({"maxAgeSeconds": 1e12}, "maxAgeSeconds must be a number from 0 to 31,622,400,000, got 1000000000000.0"),
        ({"maxAgeSeconds": True}, "maxAgeSeconds must be a number from 0 to 31,622,400,000, got True"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_fails_when_a_setting_of_the_listing_is_wrong(changes: dict[str, Any], found: str, run_nowhere: Run) -> None:
    with pytest.raises(EventError) as failure:
        capture_input({**event_of(run_nowhere), "capture": {**listing("a-bucket"), **changes}})
    assert found in str(failure.value)


def test_the_deployed_handler_is_the_runtimes(run: Run, s3: S3Client) -> None:
    spec = importlib.util.spec_from_file_location("capture_input_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.handler(event_of(run, kind="ranges", number=12, chunk=5), None)["count"] == 3
    assert items_in(s3, run) == ranges_of(12, 5)


class SourceBrokeError(Exception):
    pass


@settings(max_examples=30, deadline=None)
@given(
    sources=st.lists(st.lists(st.integers(), max_size=8), max_size=6),
    threads=st.integers(1, 4),
    ahead=st.integers(1, 3),
    broken=st.none() | st.integers(0, 5),
    taken=st.integers(0, 40),
)
def test_sources_read_together_are_consumed_in_order(
    sources: list[list[int]], threads: int, ahead: int, broken: int | None, taken: int
) -> None:
    def source_of(position: int, values: list[int]) -> Callable[[], Iterator[int]]:
        def read() -> Iterator[int]:
            yield from values
            if position == broken:
                raise SourceBrokeError

        return read

    fails = broken is not None and broken < len(sources)
    expected = [value for values in sources[: broken + 1 if fails and broken is not None else None] for value in values]
    reading = read_in_order([source_of(n, values) for n, values in enumerate(sources)], threads=threads, ahead=ahead)
    got: list[int] = []
    error = None
    try:
        for value in reading:
            got.append(value)
            if len(got) == taken:
                break
    except SourceBrokeError as raised:
        error = raised
    reading.close()  # type: ignore[attr-defined] # it is a generator
    if taken and taken <= len(expected):
        assert got == expected[:taken]
    else:
        assert got == expected
        assert (error is not None) == fails
