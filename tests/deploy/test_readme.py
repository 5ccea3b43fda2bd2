"""What the README tells a new user to deploy is deployed, with the very command it gives."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]

README = Path(__file__).resolve().parents[2] / "README.md"


def test_smallest_program_is_deployed(aws_endpoint: str, run_cdk: Any, tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    for title, code in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL):
        path = tmp_path / title
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    (command,) = re.findall(r"^cdk (deploy .*)$", text, re.MULTILINE)
    empty = tmp_path / "empty"
    empty.mkdir()
    aws = {"AWS_ENDPOINT_URL": aws_endpoint}
    run_cdk("bootstrap", "aws://000000000000/us-east-1", env=aws, cwd=empty)
    run_cdk(*shlex.split(command), "--require-approval", "never", env=aws, cwd=tmp_path)
    cloudformation: CloudFormationClient = boto3.client("cloudformation", endpoint_url=aws_endpoint)
    (stack,) = cloudformation.describe_stacks(StackName="Squares")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    (output,) = stack["Outputs"]
    assert ":stateMachine:" in output["OutputValue"]
