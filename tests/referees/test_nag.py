"""cdk-nag's AwsSolutions rules over the example app, and over everything else with what is acknowledged of it."""

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


PIPELINES = """
import sys
sys.path.insert(0, {here!r})
import aws_cdk as cdk
from aws_cdk import aws_iam as iam, aws_lambda as lambda_, aws_s3 as s3, aws_stepfunctions as sfn
from cdk_distributed_map import DistributedMapPipeline, ItemSource, NagAcknowledgements, Worker

app = cdk.App()
"""
STACKS = """
from everything import Secured, Sources, Started
Sources(app, "Sources"); Started(app, "Started"); Secured(app, "Secured", code={code!r})
lake = s3.Bucket(cdk.Stack(app, "Lake"), "Bucket")
far = cdk.Stack(app, "Far")
states = Worker.states(lambda scope: sfn.Pass(scope, "Work"))
DistributedMapPipeline(far, "Far", items=ItemSource.s3_objects(lake, prefix="in/"), worker=states, payload_bucket=lake)
"""
CHOSEN = """
stack = cdk.Stack(app, "Chosen")
pipeline = DistributedMapPipeline(
    stack,
    "Chosen",
    items=ItemSource.state_array(),
    worker=Worker.python({code!r}, handler="handler.handler", runtime=lambda_.Runtime.PYTHON_3_11),
    log_level=sfn.LogLevel.OFF,
)
everything = iam.PolicyStatement(actions=["sqs:SendMessage"], resources=["*"])
pipeline.role.add_to_principal_policy(everything)
pipeline.worker.add_to_role_policy(everything)
s3.Bucket(stack, "Mine", enforce_ssl=True).grant_read(pipeline.role)
"""
ASPECT = "cdk.Aspects.of(app).add(NagAcknowledgements())\n"
LAST = "app.synth()\n"


@pytest.fixture
def code(tmp_path: Path) -> str:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "handler.py").write_text("from elsewhere import handler\n")
    return str(folder)


def found_in(app: str, tmp_path: Path, code: str) -> set[tuple[str, str]]:
    """The path and the rule of each finding in an app."""
    file = tmp_path / "app.py"
    file.write_text((PIPELINES + app).format(here=str(HERE), code=code))
    return {(each["path"], each["rule"]) for each in nag(file, tmp_path)}


@pytest.mark.slow  # a synthesis of every source, thrice
def test_nothing_is_found_in_pipelines_whose_findings_are_acknowledged(tmp_path: Path, code: str) -> None:
    found = found_in(STACKS + ASPECT + LAST, tmp_path, code)
    templates = {path.name: path.read_text() for path in (tmp_path / "cdk.out").glob("*.template.json")}
    without = found_in(STACKS + LAST, tmp_path, code)

    # The user's own queue, buckets, cluster, task, state machine and operator are reported as before.
    own = ("Secured/FailedItems", "Secured/Mine", "Secured/Operator", "Started/Cluster", "Started/Task/", "Lake/")
    assert {path for path, _ in found if not path.startswith((*own, "Sources/Lake", "Started/Incoming"))} == set()
    assert found < without
    assert {path for path, _ in without - found} >= {"Far/Far/Role/DefaultPolicy/Resource", "Far/Far/Account/Resource"}
    assert templates == {path.name: path.read_text() for path in (tmp_path / "cdk.out").glob("*.template.json")}


def test_what_users_choose_and_add_is_still_reported(tmp_path: Path, code: str) -> None:
    found = found_in(CHOSEN + ASPECT + LAST, tmp_path, code)

    assert {(path, rule.partition("<")[0]) for path, rule in found if path.startswith("Chosen/Chosen/")} == {
        ("Chosen/Chosen/Worker/Resource", "AwsSolutions-L1"),
        ("Chosen/Chosen/StateMachine/Resource", "AwsSolutions-SF1"),
        ("Chosen/Chosen/Role/DefaultPolicy/Resource", "AwsSolutions-IAM5[Resource::*]"),
        ("Chosen/Chosen/Role/DefaultPolicy/Resource", "AwsSolutions-IAM5[Resource::"),
        ("Chosen/Chosen/Role/DefaultPolicy/Resource", "AwsSolutions-IAM5[Action::s3:GetBucket*]"),
        ("Chosen/Chosen/Role/DefaultPolicy/Resource", "AwsSolutions-IAM5[Action::s3:GetObject*]"),
        ("Chosen/Chosen/Role/DefaultPolicy/Resource", "AwsSolutions-IAM5[Action::s3:List*]"),
        ("Chosen/Chosen/WorkerRole/DefaultPolicy/Resource", "AwsSolutions-IAM5[Resource::*]"),
    }
