"""Starting the local AWS in the background, finding it, ending it, and what is left of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.endpoints import unconfigured_session
from cdk_distributed_map.local import control
from cdk_distributed_map.local.__main__ import main
from cdk_distributed_map.local.control import LocalError
from cdk_distributed_map.local.embedded.environment import environment_of, environment_script, local_environment
from cdk_distributed_map.local.embedded.keys import Keys
from cdk_distributed_map.local.embedded.sdk import clients
from cdk_distributed_map.local.functions.launch import pinned
from cdk_distributed_map.local.server import LocalAws

GIVE_UP_SECONDS = 120


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return all processes below one."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        listed = Path(f"/proc/{waiting.pop()}/task")
        for task in listed.glob("*"):
            # Threads come and go meanwhile.
            with contextlib.suppress(OSError):
                below = [int(child) for child in (task / "children").read_text().split()]
                found += below
                waiting += below
    return found


def processes_with(wanted: bytes, file: str) -> list[int]:
    """Return all processes with some text in a file of /proc, whoever started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # They come and go meanwhile.
        with contextlib.suppress(OSError):
            if wanted in (process / file).read_bytes():
                found.append(int(process.name))
    return found


def users_of(endpoint: str) -> list[int]:
    """Return all processes whose environment names an endpoint."""
    return processes_with(f"AWS_ENDPOINT_URL={endpoint}\0".encode(), "environ")


# Of a shell in which somebody works on the real AWS, behind a proxy; nothing listens on port 9.
ODD = {
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9",
    "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a local AWS that is ended in any case."""
    place = tmp_path / ".distmap"
    yield place
    control.down(folder=place)


@pytest.fixture(scope="module")
def running_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a local AWS that was started in such a shell, and that nobody changes."""
    place = tmp_path_factory.mktemp("running") / ".distmap"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ODD.items():
            patch.setenv(name, value)
        control.up(folder=place)
    yield place
    control.down(folder=place)


def test_up_find_deploy_and_down(folder: Path, assembly: Any) -> None:
    running = control.up(folder=folder)
    below = children(running.pid)
    assert len(below) == 2
    assert control.up(folder=folder) == control.status(folder=folder) == running
    assert control.env(folder=folder)["AWS_ENDPOINT_URL"] == running.endpoint
    outputs = {"Url": {"Value": {"Ref": "Queue"}}}
    assembly.stack("Made", {"Queue": {"Type": "AWS::SQS::Queue"}}, Outputs=outputs)
    assert control.deploy(assembly.write(), "Made", folder=folder)["Made"]["Url"].startswith("http")
    told = running.as_json()
    assert told["pid"] == running.pid
    assert not {"token", "access_key", "secret_key"} & set(told)
    assert control.down(folder=folder)
    until(lambda: not any(alive(pid) for pid in [running.pid, *below]))
    assert control.status(folder=folder) is None
    assert not control.down(folder=folder)


def test_it_starts_and_is_used_in_a_shell_that_is_set_up_for_something_else(
    running_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ODD.items():
        monkeypatch.setenv(name, value)
    running = control.up(folder=running_folder)
    script = f"{control.env_script(folder=running_folder)}\nexec {sys.executable} -c '{PROBE}'"
    answer = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [running.endpoint, "000000000000"]
    whole = environment_of(control.env(folder=running_folder), os.environ)
    again = subprocess.run([sys.executable, "-c", PROBE], env=whole, capture_output=True, text=True, check=True)
    assert again.stdout == answer.stdout


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, "127.0.0.1"), ({"NO_PROXY": "a.b, c"}, "a.b,c,127.0.0.1"), ({"no_proxy": "*"}, "*")],
    ids=["none", "others", "all"],
)
def test_other_exceptions_to_the_proxy_stay(before: dict[str, str], after: str) -> None:
    variables = local_environment("http://127.0.0.1:1", "us-east-1", Keys("a", "s"), before)
    assert [variables["NO_PROXY"], variables["no_proxy"]] == [after, after]


def test_nothing_asks_the_metadata_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "auto")
    assert unconfigured_session().get_config_variable("defaults_mode") == "legacy"
    variables = environment_of(local_environment("http://127.0.0.1:1", "us-east-1", Keys("a", "s")), os.environ)
    assert variables["AWS_DEFAULTS_MODE"] == pinned("http://127.0.0.1:1")["AWS_DEFAULTS_MODE"] == "legacy"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_that_start_it_at_the_same_time_find_the_same(folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: control.up(folder=folder), range(2))
    assert first == second
    serving = f'"folder": "{folder}"'.encode()
    assert processes_with(serving, "cmdline") == [first.pid]


PROBE = (
    'import boto3; client = boto3.client("sts"); '
    'print(client.meta.endpoint_url, client.get_caller_identity()["Account"])'
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("moment", [0.0, 0.03, 0.3], ids=str)
def test_nothing_is_left_when_it_is_killed(folder: Path, assembly: Any, tmp_path: Path, moment: float) -> None:
    running = control.up(folder=folder)
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        ],
    }
    function = {
        "Code": {"S3Bucket": {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"}, "S3Key": "code.zip"},
        "Handler": "app.sleep",
        "Runtime": "python3.11",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Timeout": 900,
    }
    resources = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
        "Sleeper": {"Type": "AWS::Lambda::Function", "Properties": function},
    }
    assembly.stack("Busy", resources, Outputs={"Name": {"Value": {"Ref": "Sleeper"}}})
    name = control.deploy(assembly.write(), folder=folder)["Busy"]["Name"]
    client = clients(running.endpoint, region=running.region, keys=running.keys)("lambda")
    for _ in range(3):
        client.invoke(FunctionName=name, Payload=b"600", InvocationType="Event")
    until(lambda: len(children(running.pid)) > 2)
    time.sleep(moment)
    below = children(running.pid)
    # That of the embedded AWS at least: one that is only just starting has another one's environment.
    assert users_of(running.endpoint)
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in [running.pid, *below]))
    until(lambda: not users_of(running.endpoint))
    assert control.status(folder=folder) is None
    again = control.up(folder=folder)
    assert again.pid != running.pid


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "main",
    [
        pytest.param("process_main", id="embedded AWS"),
        pytest.param("guardian_main", id="guardian", marks=pytest.mark.slow),
    ],
)
def test_it_ends_when_a_process_that_it_needs_is_killed(folder: Path, main: str) -> None:
    running = control.up(folder=folder)
    below = children(running.pid)
    needed = next(pid for pid in below if main.encode() in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(needed, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in [running.pid, *below]))
    assert "has ended with code -9" in (folder / "local.log").read_text()
    assert control.status(folder=folder) is None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_loopback_only(running_folder: Path) -> None:
    running = control.up(folder=running_folder)
    inodes = set()
    for pid in [running.pid, *children(running.pid)]:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            target = str(handle.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = "0A"
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == listening and fields[9] in inodes:
                addresses.add(fields[1].split(":")[0])
    assert addresses == {"0100007F"}


def test_fails_when_one_runs_with_other_settings(running_folder: Path) -> None:
    with pytest.raises(LocalError, match="runs already, with iam True: end it first"):
        control.up(folder=running_folder, iam=False)


def test_fails_when_the_port_is_taken(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = rf"didn't start: port {port} of 127.0.0.1 can't be had \(Address already in use\): take another one"
        with pytest.raises(LocalError, match=message):
            control.up(folder=folder, port=port)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": 65_536}, "the port must be between 1 and 65535, or 0 for one that is free, got 65536"),
        ({"region": "us east"}, "the region must be one of AWS, such as us-east-1, got 'us east'"),
        ({"region": "cn-north-1"}, "the region must be one of the partition aws, such as us-east-1, got 'cn-north-1'"),
        ({"account": "12345"}, "the account must be 12 digits, got '12345'"),
    ],
    ids=["port", "region", "partition", "account"],
)
def test_fails_when_it_cannot_be_there(folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        control.up(folder=folder, **given)
    with pytest.raises(ValueError, match=message):
        LocalAws(**given)


def test_fails_when_the_state_cannot_be_kept(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        control.up(folder=folder, state=tmp_path / "file" / "state")


def test_a_file_of_something_else_is_not_believed(folder: Path) -> None:
    folder.mkdir()
    noted = {"pid": os.getpid(), "token": "x", "endpoint": "http://127.0.0.1:9", "region": "r", "account": "a"}
    noted |= {"access_key": "a", "secret_key": "s"}
    (folder / "local.json").write_text(json.dumps({**noted, "iam": True, "state": None, "started": 0}))
    assert control.status(folder=folder) is None
    assert not control.down(folder=folder)


@pytest.mark.parametrize("command", [control.env, control.deploy], ids=["env", "deploy"])
def test_fails_when_nothing_runs(tmp_path: Path, command: Callable[..., Any]) -> None:
    with pytest.raises(LocalError, match="no local AWS runs"):
        command(folder=tmp_path)


def test_fails_when_its_process_is_started_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "start it with 'distmap local up'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shell", "line"),
    [("sh", "export A='b c'"), ("fish", "set -gx A 'b c'"), ("powershell", "$env:A = 'b c'")],
    ids=["sh", "fish", "powershell"],
)
def test_the_environment_is_written_for_each_shell(shell: str, line: str) -> None:
    script = environment_script({"A": "b c"}, shell)
    assert line in script.splitlines()
    assert "AWS_PROFILE" in script


def test_fails_when_the_shell_is_unknown() -> None:
    with pytest.raises(ValueError, match="must be sh, fish or powershell, got 'csh'"):
        environment_script({}, "csh")
