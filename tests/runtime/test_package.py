"""The package as it is imported."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import distmap
from distmap._garbage import long_lived_objects_left_alone

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MODULES = sorted(
    f"distmap.{path.stem}" for path in Path(distmap.__file__).parent.glob("*.py") if path.stem != "__init__"
)


def test_the_public_names_are_sorted_and_there() -> None:
    assert distmap.__all__ == sorted(distmap.__all__)
    assert all(getattr(distmap, name).__name__ == name for name in distmap.__all__)


def test_fails_when_a_name_is_misspelt() -> None:
    with pytest.raises(AttributeError, match="module 'distmap' has no attribute 'proces_items'"):
        distmap.proces_items  # type: ignore[attr-defined] # noqa: B018 - reading it is the test


@pytest.mark.parametrize("module", ["distmap", *(each for each in MODULES if each != "distmap._async_batch")])
def test_importing_needs_neither_boto3_nor_the_construct(module: str) -> None:
    heavy = ("boto3", "botocore", "aws_cdk", "jsii", "random", "concurrent.futures")
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_worker_imports_only_what_a_worker_needs() -> None:
    code = "import sys; from distmap import process_items; print([m for m in sys.modules if m.startswith('distmap.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "distmap._process" in found.stdout
    assert not any(f"distmap.{module}" in found.stdout for module in ("_capture", "_upload", "_listing", "_results"))


def test_the_client_reads_times_in_every_format(s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]["LastModified"]  # ISO 8601 in the answer's body
    read = s3.head_object(Bucket=bucket, Key="k")["LastModified"]  # as HTTP has it, in a header
    assert listed.utcoffset() == UTC.utcoffset(None)
    assert abs((listed - read).total_seconds()) < 2


@pytest.fixture
def thawed() -> Iterator[None]:
    """Nothing kept from the collector, as a function begins; what the tests themselves keep from it comes back."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("thawed")
def test_the_collector_gets_back_what_was_kept_from_it() -> None:
    class BrokenError(Exception):
        pass

    def breaks() -> None:
        with long_lived_objects_left_alone():
            assert gc.get_freeze_count() > 0
            raise BrokenError

    with pytest.raises(BrokenError):
        breaks()
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("thawed")
def test_what_the_functions_author_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        with long_lived_objects_left_alone():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
