"""What the tests of the construct share: labs, examples of every kind, and an evaluation of what is rendered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from cdk_distributed_map import (
    ItemSource,
    Worker,
)
from tests.construct.evaluation import evaluated
from tests.construct.lab import Lab
from tests.construct.sources_and_workers import FULL_SOURCES, FULL_WORKERS, SMALLEST_SOURCES, SMALLEST_WORKERS


@pytest.fixture(scope="session")
def new_lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lab]:
    """Makes labs with context or an environment of their own."""
    base, numbers = tmp_path_factory.mktemp("labs"), itertools.count()
    return lambda **options: Lab(base / str(next(numbers)), **options)


@pytest.fixture(scope="session")
def outdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cdk.out")


@pytest.fixture
def lab(new_lab: Callable[..., Lab], outdir: Path) -> Lab:
    """A test's one lab, which finds the assets staged that the labs of the tests before it had as well."""
    return new_lab(outdir=outdir)


@pytest.fixture
def json_snapshot(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    """A snapshot in a JSON file of its own for each test; `make snapshots` writes them anew."""
    return snapshot.use_extension(JSONSnapshotExtension)


# Formats that differ in one word of the reader, which the tests of the readers compare.
_ALIKE = {"s3-objects-json", "s3-objects-json-lines", "s3-objects-parquet"}


@pytest.fixture(params=[kind for kind in SMALLEST_SOURCES if kind not in _ALIKE])
def source_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of source in turn."""
    return str(request.param)


@pytest.fixture(params=SMALLEST_WORKERS)
def worker_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of worker in turn."""
    return str(request.param)


@pytest.fixture
def sources() -> dict[str, dict[str, Callable[[Lab], ItemSource]]]:
    """Examples of sources: the smallest and the everything-on one of each kind."""
    return {"smallest": SMALLEST_SOURCES, "full": FULL_SOURCES}


@pytest.fixture
def workers() -> dict[str, dict[str, Callable[[Lab], Worker]]]:
    """Examples of workers, likewise."""
    return {"smallest": SMALLEST_WORKERS, "full": FULL_WORKERS}


@pytest.fixture
def evaluate() -> Callable[[Any, Mapping[str, Any]], Any]:
    """Evaluates rendered values: ``evaluate(value, {"input": ..., "context": ..., "result": ...})``."""
    return evaluated
