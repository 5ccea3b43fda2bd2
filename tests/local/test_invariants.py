"""What holds for any items, limits and failures."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_distributed_map.local.asl.json_text import dumps, loads, size
from cdk_distributed_map.local.distributed.batcher import Batcher
from cdk_distributed_map.local.errors import StateError

if TYPE_CHECKING:
    from tests.local.bench import Bench

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(value=JSON, space=st.sampled_from(["", " ", "\n\t"]))
def test_json_is_written_and_read_as_the_standard_library_does(value: Any, space: str) -> None:
    text = dumps(value)
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert loads(space + text + space) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting"),
        (" ", "Expecting"),
        ("{", "Expecting"),
        ("1 2", "Extra data"),
        ("{}x", "Extra data"),
        ("\ufeff1", "Expecting"),
        ("[NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "blank", "open", "two", "rest", "mark", "nan", "infinite", "deep"],
)
def test_fails_when_text_is_not_json(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loads(text)


@given(
    items=st.lists(st.text(max_size=40), max_size=60),
    max_items=st.one_of(st.none(), st.integers(1, 9)),
    max_bytes=st.integers(20, 200),
    batch_input=st.one_of(st.none(), st.just('{"a":1}')),
)
def test_batches_keep_their_limits_and_lose_nothing(
    items: list[str], max_items: int | None, max_bytes: int, batch_input: str | None
) -> None:
    batcher = Batcher(max_items=max_items, max_bytes=max_bytes, batch_input=batch_input)
    base = size('{"Items":[]}' if batch_input is None else f'{{"BatchInput":{batch_input},"Items":[]}}')
    too_large = any(base + size(dumps(item)) > max_bytes for item in items)
    try:
        batches = [*batcher.add(dumps(item) for item in items), *batcher.rest()]
    except StateError:
        assert too_large
        return
    assert not too_large
    parsed = [json.loads(text) for text, _ in batches]
    assert [item for batch in parsed for item in batch["Items"]] == items
    for (text, count), batch in zip(batches, parsed, strict=True):
        assert len(text) <= max_bytes
        assert count == len(batch["Items"]) > 0
        assert max_items is None or count <= max_items
        assert ("BatchInput" in batch) == (batch_input is not None)
    for (text, count), (_, batch) in zip(batches, list(zip(batches, parsed, strict=True))[1:], strict=False):
        # A batch was closed because the next item didn't fit.
        first = size(dumps(batch["Items"][0]))
        assert count == max_items or len(text) + 1 + first > max_bytes


@settings(max_examples=25, deadline=None)
@given(
    outcomes=st.lists(st.sampled_from(["ok", "ok", "ok", "bad"]), max_size=25),
    batch=st.integers(1, 4),
    concurrency=st.integers(1, 5),
    tolerated=st.integers(0, 6),
    kind=st.sampled_from(["STANDARD", "EXPRESS"]),
    duplicate=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_each_item_ends_in_exactly_one_place(  # noqa: PLR0917 - hypothesis gives them by name
    bench: Bench, outcomes: list[str], batch: int, concurrency: int, tolerated: int, kind: str, duplicate: float
) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def work(event: Any) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            if any(outcome == "bad" for _, outcome in event["Items"]):
                raise ValueError("bad")
            return event["Items"]
        finally:
            with lock:
                running[0] -= 1

    # Of its own for each example: functions of children that were aborted run to their end, as on AWS.
    function = f"judge-{uuid.uuid4()}"
    bench.functions.handlers[function] = work
    bucket = bench.bucket()
    made = bench.mapped(
        bench.task(function),
        kind=kind,
        ItemBatcher={"MaxItemsPerBatch": batch},
        MaxConcurrency=concurrency,
        ToleratedFailureCount=tolerated,
        ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": bucket, "Prefix": "r"}},
    )
    bench.engine.services.faults.express_duplicate = duplicate
    try:
        found = bench.run(made, {"items": list(enumerate(outcomes))})
    finally:
        bench.engine.services.faults.express_duplicate = 0.0
    counts = bench.map_run(found["executionArn"])["itemCounts"]
    seen: list[int] = []
    by_file: dict[str, int] = {}
    for key in bench.keys(bucket):
        name = key.rsplit("/", 1)[-1].split("_")[0]
        if name in {"SUCCEEDED", "FAILED", "PENDING"}:
            for record in json.loads(bench.body(bucket, key)):
                items = json.loads(record["Input"])["Items"]
                seen += [index for index, _ in items]
                by_file[name] = by_file.get(name, 0) + len(items)
    assert sorted(seen) == list(range(len(outcomes)))
    assert by_file.get("SUCCEEDED", 0) == counts["succeeded"]
    assert by_file.get("PENDING", 0) == counts["pending"]
    assert by_file.get("FAILED", 0) == counts["failed"] + counts["aborted"]
    assert sum(by_file.values()) == counts["total"] == len(outcomes)
    allowed = tolerated if tolerated else 0
    assert (found["status"] == "SUCCEEDED") == (counts["failed"] <= allowed)
    twice = kind == "EXPRESS" and duplicate > 0
    assert most[0] <= (2 * concurrency if twice else concurrency)


@settings(max_examples=15, deadline=None)
@given(
    failures=st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=1, max_size=20),
    batch=st.integers(1, 3),
    concurrency=st.integers(1, 4),
    stops=st.lists(st.integers(1, 8), max_size=3),
    kind=st.sampled_from(["STANDARD", "EXPRESS"]),
)
def test_redrives_bring_each_item_into_exactly_one_file(  # noqa: PLR0917 - hypothesis gives them by name
    bench: Bench, failures: list[int], batch: int, concurrency: int, stops: list[int], kind: str
) -> None:
    left, lock = dict(enumerate(failures)), threading.Lock()
    calls, due = [0], threading.Event()
    planned = iter(stops)
    stop_at = [next(planned, 0)]

    def work(event: Any) -> Any:
        with lock:
            calls[0] += 1
            if calls[0] == stop_at[0]:
                due.set()
            again = [item for item in event["Items"] if left[item]]
            for item in again:
                left[item] -= 1
        if again:
            raise ValueError("not yet")
        return event["Items"]

    bench.functions.handlers["in-the-end"] = work
    bucket = bench.bucket()
    made = bench.mapped(
        bench.task("in-the-end"),
        kind=kind,
        ItemBatcher={"MaxItemsPerBatch": batch},
        MaxConcurrency=concurrency,
        ResultWriter=bench.writer(bucket),
    )
    execution = bench.start(made, {"items": list(left)})
    while True:
        while bench.sfn.describe_execution(executionArn=execution)["status"] == "RUNNING":
            if due.wait(0.005):
                bench.sfn.stop_execution(executionArn=execution)
                due.clear()
        if bench.ended(execution)["status"] == "SUCCEEDED":
            break
        calls[0], stop_at[0] = 0, next(planned, 0)
        bench.sfn.redrive_execution(executionArn=execution)
    seen = [
        item
        for key in bench.keys(bucket)
        if "SUCCEEDED" in key
        for record in json.loads(bench.body(bucket, key))
        for item in json.loads(record["Input"])["Items"]
    ]
    assert sorted(seen) == list(range(len(failures)))
    assert bench.map_run(execution)["itemCounts"]["succeeded"] == len(failures)
