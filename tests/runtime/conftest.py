"""Fixtures of the Lambda side: a bucket, a run in it, and Lambda contexts with a clock of their own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from distmap import _clients
from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class LambdaContext:
    """What Lambda gives to a handler, with a deadline that many seconds away."""

    aws_request_id = "5f2d0d4e-0000-4000-8000-000000000000"

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._ends - time.monotonic()) * 1000))


@pytest.fixture
def lambda_context() -> Callable[[float], LambdaContext]:
    return LambdaContext


@pytest.fixture(scope="session")
def aws_environment(s3_endpoint: str) -> dict[str, str]:
    """The environment in which boto3 reaches the local S3 API."""
    return {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def s3(aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """The runtime's own client, which the handlers of the test use too: a hook on it is a hook on them."""
    for name, value in aws_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_clients, "_client", None)
    client = _clients.s3_client()
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3Client) -> str:
    name = f"payload-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def run(bucket: str) -> Run:
    return make_run(bucket)


@pytest.fixture
def run_nowhere() -> Run:
    """A run whose bucket nobody reaches: for what must not touch S3."""
    return make_run("no-such-bucket")


def make_run(bucket: str) -> Run:
    return {
        "id": "arn:aws:states:us-east-1:123456789012:execution:Squares:run-1",
        "name": "run-1",
        "bucket": bucket,
        "prefix": "runs/run-1",
        "path": "",
    }


@pytest.fixture
def keys_in(s3: S3Client) -> Callable[[str], list[str]]:
    def list_keys(bucket: str) -> list[str]:
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]

    return list_keys


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read
