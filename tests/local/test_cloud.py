"""Tests of users on an account: what they call there, shown on the local AWS, which looks like one to clients."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from cdk_distributed_map.local.cloud import CloudAws
from cdk_distributed_map.local.server import LocalAws
from tests.local import assemblies

SUM = {"QueryLanguage": "JSONata", "StartAt": "Sum", "States": {"Sum": {"Type": "Pass", "End": True}}}
CDK = """#!{python}
import json, os, sys
arguments = sys.argv[1:]
if "Broken" in arguments:
    sys.exit("the stack Broken is broken")
with open(arguments[arguments.index("--outputs-file") + 1], "w") as file:
    json.dump({{"Stack": {{"Said": " ".join(arguments[:6])}}}}, file)
"""


@pytest.fixture
def cloud(local: LocalAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CloudAws:
    """What takes the local AWS for an account, with a CDK CLI that deploys nothing."""

    program = tmp_path / "bin" / "cdk"
    program.parent.mkdir()
    program.write_text(CDK.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return CloudAws(pause_seconds=0.01)


def test_executions_of_an_account_are_run(cloud: CloudAws, local: LocalAws) -> None:
    role = local.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=json.dumps(assemblies.TRUST))
    arguments = {"name": "OnCloud", "definition": json.dumps(SUM), "roleArn": role["Role"]["Arn"]}
    cloud.client("stepfunctions").create_state_machine(**arguments)

    run = cloud.run("OnCloud", [1, 2]).check()

    assert run.output == [1, 2]
    assert cloud.path(run).states == ["Sum"]


def test_stacks_are_deployed_by_the_cdk_cli(cloud: CloudAws) -> None:
    assert cloud.deploy("cdk.out", "Stack") == {
        "Stack": {"Said": "deploy Stack --app cdk.out --require-approval never"}
    }


def test_fails_when_the_cdk_cli_does(cloud: CloudAws) -> None:
    with pytest.raises(RuntimeError, match="cdk deploy failed: the stack Broken is broken"):
        cloud.deploy("cdk.out", "Broken")


def test_fails_when_there_is_no_cdk_cli(cloud: CloudAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(RuntimeError, match="the CDK CLI isn't on the path: install it"):
        cloud.deploy("cdk.out")
