"""Fixtures of the Lambda side: a bucket, a run in it, and Lambda contexts with a clock of their own."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from distmap import _clients
from distmap.wire import ResultsPlace, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MOST_FILES = 5
MAP_RUN = "arn:aws:states:us-east-1:123456789012:mapRun:Squares/Map:5f0a"


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
    monkeypatch.setattr(_clients, "shared_client", None)
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


class Export:
    """What a ResultWriter exports: records as Step Functions writes them, in files, with a manifest.

    Unless it is said how many records a file has, it has three, or more where there would be many files.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        transformation: str = "NONE",
        output_type: str = "JSONL",
        per_file: int | None = None,
        suffix: str | None = None,
        express: bool = False,
        map_run: str = "5f0a",
        number: int = 0,
    ) -> None:
        self.s3, self.bucket = s3, bucket
        self.transformation, self.output_type, self.per_file = transformation, output_type, per_file
        self.suffix = output_type.lower() if suffix is None else suffix
        self.express = express
        self.map_run_arn = MAP_RUN.replace("5f0a", map_run)
        self.folder = f"runs/run-1/{f'rounds/{number}/' if number else ''}results/{map_run}/"
        self.records: dict[str, list[Any]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        self._succeeded: list[dict[str, Any]] = []
        self._children = 0

    @property
    def place(self) -> ResultsPlace:
        return {"bucket": self.bucket, "key": f"{self.folder}manifest.json"}

    def run_child(self, handler: Callable[..., Any], event: Any) -> None:
        """Run a worker on a child's input, and note how the child ended."""
        try:
            output = handler(json.loads(json.dumps(event)), None)
        except Exception as error:  # noqa: BLE001 - what Lambda makes of it is what is noted
            details = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": ["..."]}
            self.failed(event, type(error).__name__, json.dumps(details))
        else:
            self.succeeded(event, output)

    def succeeded(self, event: Any, output: Any) -> None:
        if self.transformation == "NONE":
            record = {**self._record(event, "SUCCEEDED"), "Output": dumps(output), "OutputDetails": {"Included": True}}
            self.records["SUCCEEDED"].append(dict(sorted(record.items())))
        elif self.transformation == "FLATTEN" and isinstance(output, list):
            self.records["SUCCEEDED"].extend(output)
        else:
            self.records["SUCCEEDED"].append(output)

    def failed(self, event: Any, error: str | None, cause: str | None, status: str = "FAILED") -> None:
        record = {**self._record(event, status), "OutputDetails": {"Included": True}}
        record |= {name: text for name, text in (("Error", error), ("Cause", cause)) if text is not None}
        self.records["FAILED"].append(dict(sorted(record.items())))

    def aborted(self, event: Any) -> None:
        """Note a child that was running when its map run was stopped: it has a cause and no error."""
        cause = f"The map run execution [{self.map_run_arn}] which was managing this resource was aborted"
        self.failed(event, None, cause, status="ABORTED")

    def pending(self, event: Any) -> None:
        self.records["PENDING"].append({"Input": dumps(event), "InputDetails": {"Included": True}, "Status": "PENDING"})

    def write(self, *, redrive: int | None = None) -> ResultsPlace:
        """Write what was noted since the last time, and return where its manifest is.

        The manifest of a redrive names all files of successes that there are, those of earlier attempts too; failed
        and pending children are those of this attempt alone.
        """
        folder = self.folder if redrive is None else f"{self.folder}Redrive-{redrive}/"
        files: dict[str, list[dict[str, Any]]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        for status, values in self.records.items():
            per_file = max(3, math.ceil(len(values) / MOST_FILES)) if self.per_file is None else self.per_file
            for number in range(0, len(values), per_file):
                key = f"{folder}{status}_{number // per_file}.{self.suffix}"
                body = self._file(values[number : number + per_file])
                self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
                files[status].append({"Key": key, "Size": len(body)})
            values.clear()
        self._succeeded += files["SUCCEEDED"]
        files["SUCCEEDED"] = list(self._succeeded)
        self.write_manifest(folder, files)
        return {"bucket": self.bucket, "key": f"{folder}manifest.json"}

    def write_manifest(self, folder: str, files: dict[str, list[dict[str, Any]]]) -> None:
        manifest = {"DestinationBucket": self.bucket, "MapRunArn": self.map_run_arn, "ResultFiles": files}
        self.s3.put_object(Bucket=self.bucket, Key=f"{folder}manifest.json", Body=dumps(manifest).encode())

    def _file(self, values: list[Any]) -> bytes:
        if self.output_type == "JSON":
            return dumps(values).encode()
        return "".join(dumps(value) + "\n" for value in values).encode()

    def _record(self, event: Any, status: str) -> dict[str, Any]:
        """The fields that every child has that ran; those of an Express one tell nothing of redrives."""
        self._children += 1
        name = f"00000000-0000-4000-8000-{self._children:012d}"
        kind, last = ("express", f"{name}:{name}") if self.express else ("execution", name)
        record: dict[str, Any] = {
            "ExecutionArn": f"arn:aws:states:us-east-1:123456789012:{kind}:Squares/Map:{last}",
            "Input": dumps(event),
            "InputDetails": {"Included": True},
            "Name": name,
            "RedriveCount": 0,
            "StartDate": "2026-01-31T12:00:00.000Z",
            "StateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:Squares/Map",
            "Status": status,
            "StopDate": "2026-01-31T12:00:01.000Z",
        }
        if not self.express:
            if status == "SUCCEEDED":
                reason = "Execution is SUCCEEDED and cannot be redriven"
                record |= {"RedriveStatus": "NOT_REDRIVABLE", "RedriveStatusReason": reason}
            else:
                record["RedriveStatus"] = "REDRIVABLE_BY_MAP_RUN"
        return record


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@pytest.fixture
def export(s3: S3Client, bucket: str) -> Export:
    return Export(s3, bucket)


@pytest.fixture
def make_export(s3: S3Client, bucket: str) -> Callable[..., Export]:
    def make(**settings: Any) -> Export:
        return Export(s3, bucket, **settings)

    return make
