"""What the README tells a new user to deploy is deployed, with the very command it gives."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from cdk_distributed_map.local.faults import SHARES
from tests.cli.command import options_of
from tests.docs.literate import blocks_of

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
START = "distmap local up"
LOCAL = ROOT / "docs" / "local.md"


def write_project(folder: Path, document: Path = README) -> None:
    """Write the files that the README, or another document, says to write."""
    text = document.read_text(encoding="utf-8")
    for title, code in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        path = folder / title
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")


def test_smallest_program_is_synthesized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path("app.py")["app"].synth()
    assert list(made.get_stack_by_name("Squares").template["Outputs"]) == ["DataBucket"]


@pytest.mark.slow
def test_smallest_program_is_deployed(aws_endpoint: str, run_cdk: Any, tmp_path: Path) -> None:
    write_project(tmp_path)
    assert "\nnpx cdk deploy\n" in README.read_text(encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    aws = {"AWS_ENDPOINT_URL": aws_endpoint}
    run_cdk("bootstrap", "aws://000000000000/us-east-1", env=aws, cwd=empty)
    run_cdk("deploy", "--app", "python app.py", "--require-approval", "never", env=aws, cwd=tmp_path)
    cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=aws_endpoint)
    (stack,) = cloudformation.describe_stacks(StackName="Squares")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    (output,) = stack["Outputs"]
    assert output["OutputKey"] == "DataBucket"


@pytest.fixture
def project(tmp_path: Path, run_cdk: Any) -> Path:
    """A user's project as the README says to write it, synthesized."""
    write_project(tmp_path)
    run_cdk("synth", "--quiet", "--app", "python app.py", cwd=tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}


@pytest.mark.slow
def test_tests_of_the_page_on_the_local_aws_pass(project: Path) -> None:
    write_project(project, LOCAL)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "test_squares.py", "test_throttled.py"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    printed = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    (documented,) = [json.loads(block.code) for block in blocks_of(LOCAL) if block.language == "json"]
    assert list(printed) == list(documented)
    named = ("bucket", "key")
    assert {key: printed[key] for key in printed if key not in named} == {
        key: documented[key] for key in documented if key not in named
    }


def test_the_document_on_the_local_engine_lists_every_option_and_fault() -> None:
    text = LOCAL.read_text(encoding="utf-8")
    options = options_of("local", "up")
    assert "--region" in options
    assert {name for name in options if f"`{name}" not in text} == set()
    assert {name for name in SHARES if f"| `{name}` |" not in text} == set()
