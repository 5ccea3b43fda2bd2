"""The example handlers, loaded as Lambda loads them, and a real S3 API for them to read from."""

from __future__ import annotations

import importlib.util
import io
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from PIL import Image

from distmap.wire import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The examples are in the checkout only, not in the wheel."""
    here = Path(__file__).resolve().parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.checkout)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    client: S3Client = boto3.client("s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: S3Client) -> str:
    name = f"data-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def handler_of(s3: S3Client) -> Callable[[str], ModuleType]:
    """Load the module of an example anew, so that its client is that of this test."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", LAMBDAS / name / "handler.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def batch(bucket: str) -> Callable[[list[Any]], dict[str, Any]]:
    """Make a batch as Step Functions sends it."""
    run: Run = {
        "id": "arn:aws:states:us-east-1:000000000000:execution:example:r1",
        "name": "r1",
        "bucket": bucket,
        "prefix": "runs/r1",
        "path": "",
    }

    def make(values: list[Any]) -> dict[str, Any]:
        items = [{"index": index, "value": value} for index, value in enumerate(values)]
        return {"BatchInput": {"distmap": {"run": run}}, "Items": items}

    return make


@pytest.fixture(scope="session")
def jpeg() -> Callable[[int, int, int], bytes]:
    """Makes grey JPEG images of a width, a height and a shade from 0 to 255."""

    def make(width: int, height: int, shade: int) -> bytes:
        file = io.BytesIO()
        Image.new("L", (width, height), shade).save(file, "JPEG", quality=100)
        return file.getvalue()

    return make
