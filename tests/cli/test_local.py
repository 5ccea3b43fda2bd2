"""``distmap local`` from the command line: up, deploy, run, down."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn


def distmap(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cdk_distributed_map.cli", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small assembly, which commands look for in ``cdk.out`` of the folder they run in."""
    folder = tmp_path_factory.mktemp("assembly") / "cdk.out"
    app = cdk.App(outdir=str(folder), analytics_reporting=False)
    stack = cdk.Stack(app, "Small")
    machine = sfn.StateMachine(stack, "M", definition_body=sfn.DefinitionBody.from_chainable(sfn.Pass(stack, "P")))
    cdk.CfnOutput(stack, "Machine", value=machine.state_machine_arn)
    app.synth()
    return folder


def test_up_deploy_status_and_down(assembly: Path, tmp_path: Path) -> None:
    (tmp_path / "cdk.out").symlink_to(assembly)
    up = distmap("local", "up", cwd=tmp_path)
    try:
        assert up.returncode == 0, up.stderr
        assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in up.stdout
        lines = [line for line in up.stdout.splitlines() if line.startswith("export ")]
        environment = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        told = json.loads(distmap("local", "status", cwd=tmp_path).stdout)
        assert told["endpoint"] == environment["AWS_ENDPOINT_URL"]
        assert not {"token", "access_key", "secret_key"} & set(told)
        deployed = distmap("local", "deploy", cwd=tmp_path, **environment)
        assert deployed.returncode == 0, deployed.stderr
        assert "Small.Machine = arn:aws:states:us-east-1:000000000000:stateMachine:" in deployed.stdout
    finally:
        down = distmap("local", "down", cwd=tmp_path)
    assert (down.returncode, down.stderr) == (0, "stopped\n")
    assert distmap("local", "status", cwd=tmp_path).returncode == 1


def test_all_of_it_as_json(assembly: Path, tmp_path: Path) -> None:
    (tmp_path / "cdk.out").symlink_to(assembly)
    told = json.loads(distmap("local", "up", "--json", cwd=tmp_path).stdout)
    try:
        environment = json.loads(distmap("local", "env", "--json", cwd=tmp_path).stdout)
        assert told.pop("environment") == environment
        assert environment["AWS_ENDPOINT_URL"] == told["endpoint"]
        assert json.loads(distmap("local", "status", "--json", cwd=tmp_path).stdout) == told
        deployed = distmap("local", "deploy", "--json", cwd=tmp_path, **environment)
        assert list(json.loads(deployed.stdout)) == ["Small"]
        assert "Small" in deployed.stderr
    finally:
        ended = [json.loads(distmap("local", "down", "--json", cwd=tmp_path).stdout) for _ in range(2)]
    assert ended == [{"ended": True}, {"ended": False}]


def test_up_takes_faults_and_clock(tmp_path: Path) -> None:
    faults = ("--fault", "throttle=0.25", "--fault", "express_duplicate=1")
    up = distmap("local", "up", "--iam", "off", "--clock", "real", "--dispatch-rates", *faults, cwd=tmp_path)
    try:
        assert up.returncode == 0, up.stderr
        told = json.loads(distmap("local", "status", cwd=tmp_path).stdout)
    finally:
        distmap("local", "down", cwd=tmp_path)
    assert told["faults"] == {"throttle": 0.25, "express_duplicate": 1.0}
    assert (told["iam"], told["virtualClock"], told["dispatchRates"]) == (False, False, True)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("throttle", "a fault is NAME=SHARE, as in throttle=0.1, got 'throttle'"),
        ("throttle=2", "the share of the fault 'throttle' must be between 0 and 1, got 2.0"),
        (
            "rain=0.5",
            "unknown fault 'rain'; faults are crash, express_duplicate, hang, inactive, index_by_file, lost_answer",
        ),
    ],
    ids=["no share", "too large", "unknown"],
)
def test_fails_when_a_fault_is_wrong(fault: str, said: str, tmp_path: Path) -> None:
    up = distmap("local", "up", "--fault", fault, cwd=tmp_path)
    assert up.returncode != 0
    assert said in " ".join(up.stderr.split())


@pytest.mark.parametrize(
    ("command", "told"),
    [(["env"], "distmap local up"), (["deploy"], "distmap local up"), (["fire", "Nightly"], "distmap local up")],
    ids=["env", "deploy", "fire"],
)
def test_fails_when_nothing_runs(command: list[str], told: str, tmp_path: Path) -> None:
    done = distmap("local", *command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert told in done.stderr
