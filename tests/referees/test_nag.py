"""cdk-nag's AwsSolutions rules over the example app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.referee,
    pytest.mark.checkout,
    pytest.mark.newer_cdk,  # cdk-nag 3 needs aws-cdk-lib 2.257
]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def nag(app: Path, folder: Path, **variables: str) -> list[dict[str, str]]:
    command = [sys.executable, str(HERE / "nag.py"), str(app), str(folder / "cdk.out")]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow  # a synthesis of the whole app in a process of its own
def test_cdk_nag_finds_nothing(
    tmp_path: Path,
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    found = nag(ROOT / "app.py", tmp_path)
    judge("cdk-nag", [new_finding(each["rule"], each["path"], each["message"]) for each in found])


def test_cdk_nag_sees_an_open_bucket(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import aws_cdk as cdk\n"
        "from aws_cdk import aws_s3 as s3\n"
        "app = cdk.App()\n"
        "s3.Bucket(cdk.Stack(app, 'S'), 'B')\n"
        "app.synth()\n"
    )
    assert "AwsSolutions-S10" in {each["rule"] for each in nag(app, tmp_path)}
