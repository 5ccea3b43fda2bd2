"""Answers too large for Step Functions, and an S3 that refuses requests, through the client on the local engine."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from urllib3.response import HTTPResponse

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, ResultFilesError, Run
from distmap.limits import SPILL_BYTES
from tests.deployments import Deploy

HANDLER = """
from distmap import process_items


@process_items
def handler(item):
    if item["from"] == 3:
        raise ValueError("no luck with 3")
    return "x" * (item["to"] * 30_000)
"""
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """A local AWS with one pipeline, whose batches of 5 answer with more than a state's output may have."""
    import aws_cdk as cdk

    from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, ItemSource, Worker

    folder = tmp_path_factory.mktemp("spill")
    (folder / "worker").mkdir()
    (folder / "worker" / "handler.py").write_text(HANDLER)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    DistributedMapPipeline(
        cdk.Stack(app, "Stack"),
        "Large",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(str(folder / "worker"), handler="handler.handler"),
        batching=Batching(max_items=5),
        tolerated_failure_count=1,
    )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    return shared_aws


@pytest.fixture
def client(engine: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Client:
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    return Client()


def finished(client: Client, name: str) -> Run:
    run = client.pipeline("Large").start({"number": 15, "chunk": 1}, name=name)
    assert run.wait().succeeded
    return run


def spilled(engine: LocalAws, run: Run) -> list[tuple[str, str, int]]:
    """Bucket, key and size of what a run has spilled."""
    bucket = run.pipeline.definition.item_file.bucket
    listed = engine.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{run.prefix}spill/").get("Contents", [])
    return [(bucket, each["Key"], each["Size"]) for each in listed]


def test_spilled_answers_are_results_and_in_the_ledger(engine: LocalAws, client: Client) -> None:
    run = finished(client, "spilled")
    assert min(size for _, _, size in spilled(engine, run)) > SPILL_BYTES
    assert {each.index: len(each.value) for each in run.results(ordered=True)} == {
        index: (index + 1) * 30_000 for index in range(15) if index != 3
    }
    made = run.ledger()
    assert (made.captured, made.succeeded, made.failed, made.is_complete) == (15, 14, 1, True)
    assert [(failure.index, failure.error) for failure in run.failures()] == [(3, "ValueError")]


def test_fails_when_a_spilled_answer_is_gone(engine: LocalAws, client: Client) -> None:
    run = finished(client, "gone")
    bucket, key, _ = spilled(engine, run)[0]
    engine.client("s3").delete_object(Bucket=bucket, Key=key)
    assert run.ledger().is_complete  # what the run itself wrote, before that
    made = run.ledger(recount=True)
    assert not made.is_complete
    assert made.missing == 5
    assert any(key in problem for problem in made.problems)
    with pytest.raises(ResultFilesError, match=key):
        list(run.results())


def test_account_and_results_survive_an_s3_that_throttles(
    engine: LocalAws, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(client, "throttled")
    draw, refused = random.Random(7), []  # noqa: S311 - which request fails is no secret

    def slow_down(**_: object) -> AWSResponse | None:
        if draw.random() >= 0.3:
            return None
        refused.append(1)
        raw: Any = HTTPResponse(body=io.BytesIO(SLOW_DOWN), status=503, preload_content=False)
        return AWSResponse("", 503, raw.headers, raw)

    # Delays between the repetitions are the SDK's; what counts here is that there are repetitions.
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    events: Any = run.aws.s3().meta.events  # whose types don't know that an answer replaces the request
    events.register("before-send.s3", slow_down)
    assert run.ledger().is_complete
    assert len(list(run.results())) == 14
    assert refused


def test_state_machines_survive_an_s3_that_fails_now_and_then(engine: LocalAws, client: Client) -> None:
    engine.faults.s3_error = 0.1
    try:
        run = finished(client, "flaky")
    finally:
        engine.faults.s3_error = 0.0
    made = run.ledger()
    assert (made.succeeded, made.failed, made.is_complete) == (14, 1, True)
