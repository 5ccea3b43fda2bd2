"""docs/testing.md is a project whose tests run as they are printed, and names every helper of the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cdk_distributed_map.testing
from tests.docs.literate import blocks_of
from tests.docs.site import DOCS

pytestmark = pytest.mark.checkout

PAGE = DOCS / "testing.md"


def run_tests(folder: Path, *files: str) -> str:
    """Run files of the page in a project of their own, and return what pytest says."""
    for block in blocks_of(PAGE):
        assert block.title, "each block of the page is a file"
        path = folder / block.title
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.code, encoding="utf-8")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "--snapshot-update"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    assert "4 passed" in run_tests(tmp_path, "test_handler.py", "test_stack.py", "test_plan.py")


@pytest.mark.slow  # a local AWS of its own; tests/local tries its fixtures
def test_the_run_of_the_page_passes(tmp_path: Path) -> None:
    assert "7 passed" in run_tests(
        tmp_path, "test_run.py", "test_anywhere.py", "test_failures.py", "test_mocks.py", "test_state.py"
    )


def test_every_helper_is_shown() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert [name for name in cdk_distributed_map.testing.__all__ if f"`{name}`" not in text] == []
