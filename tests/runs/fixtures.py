"""Fixtures of the client and of the command: a fake of Step Functions, a real S3, and pipelines to find there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from cdk_distributed_map.runs import Client, Pipeline
from tests.runs.example_pipelines import render_definitions
from tests.runs.fake_executions import Clock
from tests.runs.fake_states import FakeStates
from tests.runs.run_files import RunFiles, wire_run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def definitions(make_once: Callable[[str, Callable[[Path], object]], Path]) -> dict[str, str]:
    """Definitions of real pipelines, by name; the payload bucket reads ``payload`` in them."""
    folder = make_once(
        "definitions", lambda new: (new / "rendered.json").write_text(json.dumps(render_definitions(new)))
    )
    rendered: dict[str, str] = json.loads((folder / "rendered.json").read_text())
    return rendered


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(clock: Clock) -> Iterator[FakeStates]:
    fake = FakeStates(clock)
    yield fake
    fake.close()


@pytest.fixture
def environment(states: FakeStates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment in which the client reaches the fake, and S3 where the test asks for it."""
    for name, value in {
        "AWS_ENDPOINT_URL_SFN": states.url,
        "AWS_ENDPOINT_URL_CLOUDFORMATION": states.url,
        "AWS_ENDPOINT_URL_LAMBDA": states.url,
        "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": states.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(environment: None) -> Iterator[Client]:
    made = Client()
    yield made
    made.aws.close()


@pytest.fixture
def s3(s3_endpoint: str, environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """A real S3 API, which the client under test uses too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    made = boto3.client("s3")
    yield made
    made.close()


@pytest.fixture
def bucket(s3: S3Client) -> str:
    name = f"payload-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def squares(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline of captured items in batches, with its bucket."""
    arn = states.add_machine("Squares", definitions["Squares"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


@pytest.fixture
def listed(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline over a listing, with an item selector, a tolerance, a payload prefix and compact results."""
    arn = states.add_machine("Listed", definitions["Listed"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


@pytest.fixture
def bare(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline whose children get single unidentified items."""
    arn = states.add_machine("Bare", definitions["Bare"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


@pytest.fixture
def files(s3: S3Client) -> Callable[..., RunFiles]:
    """Makes the writer of a run's files."""

    def make(pipeline: Pipeline, name: str, **options: Any) -> RunFiles:
        label = pipeline.definition.source.label
        return RunFiles(s3, wire_run(pipeline, name), machine=pipeline.name, label=label, **options)

    return make
