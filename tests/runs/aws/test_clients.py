"""How the client finds Region, credentials and endpoint, and where it sends nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.runs import Client, Pipeline
from cdk_distributed_map.runs.aws.sessions import Aws

REAL_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL", "AWS_SECRET_ACCESS_KEY": "real", "AWS_SESSION_TOKEN": "token"}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A shell without a Region, credentials or an endpoint."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "given", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, None, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, None, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "us-west-2", "us-west-2"),
        ({"AWS_REGION": ""}, None, "ca-central-1"),
    ],
    ids=["AWS_REGION", "AWS_DEFAULT_REGION", "both", "given", "of the profile"],
)
def test_region_is_that_of(
    variables: dict[str, str], given: str | None, region: str, clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = ca-central-1\n")
    for name, value in variables.items():
        clean.setenv(name, value)
    assert Aws(region=given).sfn().meta.region_name == region


def test_program_that_gives_credentials_is_asked_once(clean: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "give.py"
    program.write_text(
        f"open({str(tmp_path / 'asked')!r}, 'a').write('x')\n"
        'print(\'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}\')\n'
    )
    (tmp_path / "config").write_text(
        f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {program}\n"
    )
    aws = Aws()
    clients: list[Any] = [aws.sfn(), aws.sfn(paced=True), aws.s3(), aws.cloudformation(), aws.logs(), aws.functions()]
    for client in clients:
        client._request_signer._credentials.get_frozen_credentials()  # noqa: SLF001 - botocore's, as a call does
    assert (tmp_path / "asked").read_text() == "x"
    aws.renew()
    aws.sfn()._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined] # noqa: SLF001 - likewise
    assert (tmp_path / "asked").read_text() == "xx"


def test_no_proxy_sees_what_this_machine_says_to_itself(
    states: Any, definitions: dict[str, str], clean: pytest.MonkeyPatch
) -> None:
    for name, value in {**REAL_KEYS, "AWS_REGION": "us-east-1"}.items():
        clean.setenv(name, value)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        clean.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    arn = states.add_machine("Squares", definitions["Squares"])
    assert Client(endpoint_url=states.url).pipeline(arn).definition.source.label == "Squares"
    clean.setenv("AWS_ENDPOINT_URL", states.url)
    assert Client().pipeline(arn).definition.source.label == "Squares"


SCRIPT = """
import json, sys
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client

if __name__ == "__main__":
    with LocalAws() as aws:
        client = Client(endpoint_url=aws.endpoint_url)
        keys = client.aws.s3()._request_signer._credentials.get_frozen_credentials()
        machines = [each["name"] for each in client.aws.sfn().list_state_machines()["stateMachines"]]
        client.aws.s3().list_buckets()
        region = client.aws.sfn().meta.region_name
        print(json.dumps([keys.access_key == aws.keys.access_key, keys.token, region, machines]))
"""


@pytest.mark.parametrize(
    "extra",
    [{}, {**REAL_KEYS, "AWS_PROFILE": "none", "HTTP_PROXY": "http://127.0.0.1:9"}],
    ids=["clean", "full"],
)
def test_client_of_a_local_aws_works_in_a_clean_shell_and_in_a_full_one(
    extra: dict[str, str], clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    shell = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, str(script)], env={**shell, **extra}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [True, None, "us-east-1", []]


def test_run_that_was_just_started_may_be_unknown_for_a_while(squares: Pipeline, states: Any) -> None:
    run = squares.start({"number": 1}, name="new")
    states.faults.extend([("DescribeExecution", 400, "ExecutionDoesNotExist")] * 2)
    assert run.describe().name == "new"
    assert not states.faults
