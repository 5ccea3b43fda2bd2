"""Every block of the README is executed, and its tables are those of the code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
KNOWN_COMMANDS = {"make", "pip", "cdk", "distmap", "eval"}


class Block(NamedTuple):
    language: str
    title: str
    code: str


def blocks() -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(README.read_text(encoding="utf-8"))]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's project: what the README says to write, and a capture function it mentions."""
    for block in blocks():
        if block.title:
            path = tmp_path / block.title
            path.parent.mkdir(exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "handler.py").write_text("from yours import handler\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_blocks_run_in_order_and_synthesize(project: Path) -> None:
    code = [block for block in blocks() if block.language == "python" and not block.title.endswith("handler.py")]
    namespace: dict[str, Any] = {}
    for block in code:
        # The program's own synthesis comes last here, when everything else has been added to its stack.
        exec(compile(block.code.replace("app.synth()\n", ""), "README.md", "exec"), namespace)  # noqa: S102 - our own text
    template = namespace["app"].synth().get_stack_by_name("Squares").template
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert {"AWS::StepFunctions::StateMachine", "AWS::Lambda::Function", "AWS::S3::Bucket"} <= kinds


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
    lines = [line for block in blocks() if block.language == "sh" for line in block.code.splitlines()]
    assert lines
    for line in lines:
        command, *arguments = shlex.split(line)
        assert command in KNOWN_COMMANDS, line
        if command == "make":
            make = shutil.which("make")
            assert make is not None
            dry = [make, "--dry-run", *arguments]
            done = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_no_block_is_left_out() -> None:
    assert {block.language for block in blocks()} == {"json", "python", "sh"}
