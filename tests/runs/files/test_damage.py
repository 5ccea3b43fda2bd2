"""Files that are damaged and answers that are none of AWS's end in errors of the client's own, whatever reads them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from cdk_distributed_map.runs import AwsError, Client, ConnectionLostError, Pipeline, Run, RunsError
from cdk_distributed_map.runs.report.page import gather, render

DEEP = b"[" * 100_000
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "page": lambda _: b"<!doctype html><html><body>Sign in</body></html>",
    "not UTF-8": lambda whole: b"\xff\xfe" + whole,
    "nested": lambda _: DEEP,
    "null": lambda _: b"null\n",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "number": lambda _: b"9" * 5000,
    "null lists": lambda whole: json.dumps(
        {
            key: dict.fromkeys(value) if isinstance(value, dict) else value
            for key, value in json.loads(whole.splitlines()[0]).items()
        }
    ).encode(),
}


@pytest.fixture
def chain(squares: Pipeline, states: Any, files: Callable[..., Any]) -> Run:
    """A run of four items of which one failed, and its retry."""
    items = [{"v": index} for index in range(4)]
    run = states.add_run(squares.arn, "first", label="Squares", items=4, seconds=0)
    run.ended = ("SUCCEEDED", 1.0)
    writer = files(squares, "first")
    writer.items(items)
    writer.child(list(enumerate(items))[:3])
    writer.child([(3, items[3])], "FAILED", error="E", cause="c")
    writer.write()
    retry = squares.run("first").retry()
    assert retry is not None
    again = states.executions[retry.arn]
    again.ended = ("SUCCEEDED", 1.0)
    writer = files(squares, retry.name)
    writer.child([(3, items[3])])
    writer.write()
    return squares.run("first")


# Three more ways in which a body is no JSON of ours; `make test` tries those that ended otherwise once.
LIKE_OTHERS = {"page", "null", "number"}


def uses(run: Run) -> dict[str, Callable[[], object]]:
    return {
        "ledger": lambda: run.ledger(wait_seconds=0).to_json(),
        "results": lambda: list(run.results(ordered=True, unsuccessful=True, wait_seconds=0)),
        "failures": lambda: list(run.failures(run.ledger(wait_seconds=0))),
        "report": lambda: render(gather(run)),
    }


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind in LIKE_OTHERS else ()) for kind in DAMAGE]
)
def test_damaged_files_end_in_errors_of_the_clients_own(kind: str, chain: Run, s3: Any, bucket: str) -> None:
    for use in uses(chain).values():
        use()  # which works with whole files
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    damaged = [key for key in keys if "manifest" in key or "retries" in key or "first/results" in key]
    assert len(damaged) == 5
    for key in damaged:
        whole = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key=key, Body=DAMAGE[kind](whole))
        complete = None
        for use in uses(chain).values():
            try:
                done = use()
            except RunsError:
                continue  # anything else would be a traceback
            else:
                if isinstance(done, dict):
                    complete = done["complete"]
        # The items of the first run are counted by the run's own word, or by lines: only results can tell of damage.
        assert key.endswith("items.jsonl") or not complete, key
        s3.put_object(Bucket=bucket, Key=key, Body=whole)


def test_fails_when_the_bucket_is_gone(client: Client, states: Any, definitions: dict[str, str], s3: Any) -> None:
    pipeline = client.pipeline(states.add_machine("Gone", definitions["Squares"].replace('"payload"', '"gone-bucket"')))
    states.add_run(pipeline.arn, "first", label="Squares", items=4, seconds=0).ended = ("SUCCEEDED", 1.0)
    run = pipeline.run("first")
    for name, use in uses(run).items():
        with pytest.raises(RunsError, match=r"gone-bucket|NoSuchBucket|first"):
            use()
        assert name
    with pytest.raises(AwsError, match="NoSuchBucket"):
        pipeline.start(items=io.BytesIO(b"1\n"), name="mine")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><body>Sign in</body></html>", "text/html; charset=utf-8"),
        (b"<html><body>Sign in</body></html>", "application/x-amz-json-1.0"),
        (b"{}", "application/x-amz-json-1.0"),
        (b"[]", "application/x-amz-json-1.0"),
        (b"\xff", "application/x-amz-json-1.0"),
        (b"", "text/plain"),
    ],
    ids=["page", "page that says it is JSON", "nothing in it", "list", "not UTF-8", "empty"],
)
def test_fails_when_an_answer_is_none_of_aws(
    body: bytes, kind: str, squares: Pipeline, states: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.add_run(squares.arn, "first", label="Squares")
    run = squares.run("first")
    monkeypatch.setattr(states, "answer", lambda *_: (200, body, kind))
    calls: dict[str, Callable[[], object]] = {
        "describe": run.describe,
        "map runs": run.map_runs,
        "list": lambda: list(squares.runs()),
        "start": lambda: squares.start({"number": 1}),
        "find": lambda: Client().pipeline("Squares"),
        "stack": lambda: Client().pipeline("Stack/Squares"),
    }
    for name, call in calls.items():
        with pytest.raises(ConnectionLostError, match="none of AWS's"):
            call()
        assert name
