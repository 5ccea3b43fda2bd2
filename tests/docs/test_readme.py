"""The README: short, and what it says to write works by itself. tests/deploy/test_whole_readme.py walks through it."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.literate import blocks_of
from tests.docs.site import ROOT

pytestmark = pytest.mark.checkout

README = ROOT / "README.md"
KNOWN_COMMANDS = {"cd", "cdk", "echo", "distmap", "eval", "export", "mkdir", "npm", "npx", "pip", "python3", "seq"}
MOST_LINES = 200


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: what the README says to write."""
    for block in blocks_of(README):
        if block.title:
            path = tmp_path / block.title
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
    return tmp_path


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_smallest_program_runs_by_itself(project: Path) -> None:
    done = subprocess.run([sys.executable, "app.py"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "end-of-life" not in done.stderr


def test_smallest_worker_is_tested_with_a_plain_call(project: Path) -> None:
    spec = importlib.util.spec_from_file_location("readme_worker", project / "worker" / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.handler({"n": 12}, None) == {"square": 144}


def test_shell_blocks_name_commands_that_exist() -> None:
    lines = [line for block in blocks_of(README) if block.language == "sh" for line in block.code.splitlines()]
    assert lines
    assert {line for line in lines if shlex.split(line)[0] not in KNOWN_COMMANDS} == set()


def test_targets_of_make_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    make = shutil.which("make")
    assert make is not None
    for target in ("demo", "docs", "test", "test-all"):
        assert f"`make {target}`" in text
        done = subprocess.run([make, "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_four_blocks_lead_to_a_ledger() -> None:
    first, handler, app, last, *_ = [block for block in blocks_of(README) if block.language in {"python", "sh"}]
    assert (handler.title, app.title) == ("worker/handler.py", "app.py")
    assert first.code.startswith("export DISTMAP=")
    assert [line for line in first.code.splitlines() if "once it is published" in line] == first.code.splitlines()[:1]
    assert last.code.splitlines()[-2:] == ["distmap ledger Squares", "distmap local down"]


def test_no_block_is_left_out() -> None:
    assert {block.language for block in blocks_of(README)} == {"mermaid", "python", "sh", "text"}
