"""What the README tells a new user to deploy is deployed, with the very command it gives."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from cdk_distributed_map.local.faults import SHARES
from tests.cli.command import options_of

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def write_project(folder: Path, document: Path = README) -> None:
    """Write the files that the README, or another document, says to write."""
    text = document.read_text(encoding="utf-8")
    for title, code in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        path = folder / title
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")


def test_smallest_program_is_synthesized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path)
    (command,) = re.findall(r"^cdk deploy .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    *_, app = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    made = runpy.run_path(app.removeprefix("python "))["app"].synth()
    assert list(made.get_stack_by_name("Squares").template["Outputs"]) == ["DataBucket"]


@pytest.mark.slow
def test_smallest_program_is_deployed(aws_endpoint: str, run_cdk: Any, tmp_path: Path) -> None:
    write_project(tmp_path)
    (command,) = re.findall(r"^cdk (deploy .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    empty = tmp_path / "empty"
    empty.mkdir()
    aws = {"AWS_ENDPOINT_URL": aws_endpoint}
    run_cdk("bootstrap", "aws://000000000000/us-east-1", env=aws, cwd=empty)
    run_cdk(*shlex.split(command), "--require-approval", "never", env=aws, cwd=tmp_path)
    cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=aws_endpoint)
    (stack,) = cloudformation.describe_stacks(StackName="Squares")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    (output,) = stack["Outputs"]
    assert output["OutputKey"] == "DataBucket"


def blocks(language: str) -> dict[str, str]:
    """Return the README's blocks by their first line."""
    found = re.findall(
        rf"^```{language}(?: title=.*)?\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return {code.splitlines()[0]: code for code in found}


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
def test_test_of_the_readme_passes(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "test_squares.py"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    printed = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    (documented,) = [json.loads(code) for code in blocks("json").values()]
    assert list(printed) == list(documented)
    named = ("bucket", "key")
    assert {key: printed[key] for key in printed if key not in named} == {
        key: documented[key] for key in documented if key not in named
    }


@pytest.mark.slow
def test_test_of_the_document_on_the_local_engine_passes(project: Path) -> None:
    write_project(project, ROOT / "docs" / "local.md")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_throttled.py"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_document_on_the_local_engine_lists_every_option_and_fault() -> None:
    text = (ROOT / "docs" / "local.md").read_text(encoding="utf-8")
    options = options_of("local", "up")
    assert "--region" in options
    assert {name for name in options if f"`{name}" not in text} == set()
    assert {name for name in SHARES if f"| `{name}` |" not in text} == set()


@pytest.mark.slow
def test_commands_of_the_readme_do_what_it_says(project: Path) -> None:
    """The local AWS goes up; a run with a bad item is watched, accounted for, retried, reported; and all goes down."""
    local, operating = blocks("sh")["distmap local up"], blocks("sh")["distmap run Squares --watch"]
    up, rest = local.split("distmap run Squares --watch\n")
    (down,) = rest.splitlines()
    put = (
        f'{shlex.quote(sys.executable)} -c \'import boto3, os; s3 = boto3.client("s3"); '
        'name = [b["Name"] for b in s3.list_buckets()["Buckets"] if b["Name"].startswith("squares-data")][0]; '
        's3.put_object(Bucket=name, Key="numbers.jsonl", Body=b"{\\"n\\": 3}\\n{}\\n{\\"n\\": 4}\\n")\''
    )
    script = "\n".join(["set -u", up, put, *[f"{line}; echo exit $?" for line in operating.splitlines()], down])
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", script],
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    codes = re.findall(r"^exit (\d+)$", done.stdout, re.MULTILINE)
    # No item is tolerated: the bad one fails the run, though its batch succeeds, and the retry of it alone too.
    # The codes of the run: its results, its ledger, its failures, and after the retry the report.
    assert codes == ["3", "3", "3", "3", "3", "3"], done.stdout
    assert "KeyError" in done.stdout
    results = [json.loads(line) for line in (project / "squares.jsonl").read_text().splitlines()]
    assert sorted(result["value"]["square"] for result in results) == [9, 16]
    assert (project / "squares.html").read_text().startswith("<!doctype html>")
    assert "stopped" in done.stdout
