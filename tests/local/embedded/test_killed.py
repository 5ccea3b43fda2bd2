"""Killed at any point, the local AWS leaves whole objects: all of what was there, and nothing of what wasn't."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

import distmap
from cdk_distributed_map.local import control
from cdk_distributed_map.local.embedded.errors import EmbeddedAwsError
from cdk_distributed_map.local.embedded.process import EmbeddedAws
from cdk_distributed_map.local.embedded.sdk import clients
from cdk_distributed_map.local.guardian import Guardian

pytestmark = pytest.mark.slow

GIVE_UP_SECONDS = 120
BUCKET = "killed"
ITEMS = 3_000
# Large enough for items and results to be uploaded in parts.
TEXT = "x" * 3_000
CODE = f"""
from distmap import capture_items

@capture_items
def capture(given):
    for number in range(given):
        yield {{"n": number, "text": "{TEXT}"}}

def work(event, context):
    return len(event["Items"])
"""
ROLE = "arn:aws:iam::000000000000:role/any"
# Of a wheel it is elsewhere than in a checkout.
RUNTIME = Path(distmap.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a local AWS that is ended in any case."""
    yield tmp_path / ".distmap"
    control.down(folder=tmp_path / ".distmap")


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*"):
            # Threads come and go meanwhile.
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Tell whether a process runs, which one that nobody has waited for doesn't."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def users_of(endpoint: str) -> list[int]:
    """Return all processes whose environment names an endpoint, whoever started them."""
    found = []
    wanted = f"AWS_ENDPOINT_URL={endpoint}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def embedded(pid: int) -> int:
    """Return the process of the embedded AWS that a process started."""
    return next(each for each in tree(pid) if b"process_main" in Path(f"/proc/{each}/cmdline").read_bytes())


def archive() -> bytes:
    """Return the code of the functions, with the module distmap."""
    opened = io.BytesIO()
    with zipfile.ZipFile(opened, "w") as file:
        file.writestr("app.py", CODE)
        for module in RUNTIME.glob("*.py"):
            file.write(module, f"distmap/{module.name}")
    return opened.getvalue()


def definition(functions: dict[str, str]) -> dict[str, Any]:
    """Return captured items, mapped in batches, with results exported."""

    def invoke(function: str, payload: dict[str, Any], **then: Any) -> dict[str, Any]:
        parameters = {"FunctionName": functions[function], **payload}
        return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, **then}

    run = {"id.$": "$$.Execution.Id", "name.$": "$$.Execution.Name", "bucket": BUCKET, "prefix": "r", "path": ""}
    key = {"key.$": "States.Format('items/{}.jsonl', $$.Execution.Name)"}
    captured = {"input": ITEMS, "run": run, **key, "capture": {}, "continuation": None}
    each = invoke("work", {"Payload.$": "$"}, OutputPath="$.Payload", End=True)
    mapped = {
        "Type": "Map",
        "Label": "Each",
        "MaxConcurrency": 4,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket": BUCKET, "Key.$": "$.key"},
        },
        "ItemBatcher": {"MaxItemsPerBatch": 60},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Work",
            "States": {"Work": each},
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": BUCKET, "Prefix": "results"},
        },
        "End": True,
    }
    capture = invoke("capture", {"Payload": captured}, OutputPath="$.Payload", Next="Map")
    return {"StartAt": "Capture", "States": {"Capture": capture, "Map": mapped}}


def begin(folder: Path) -> tuple[control.Running, Any]:
    """Start, or start again on what is kept, with functions and state machine; return what runs and its clients."""
    running = control.up(folder=folder, iam=False, state=folder / "state")
    client = clients(running.endpoint, region=running.region, keys=running.keys)
    functions = {}
    for name in ("capture", "work"):
        functions[name] = client("lambda").create_function(
            FunctionName=name,
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Handler=f"app.{name}",
            Role=ROLE,
            Timeout=60,
            Code={"ZipFile": archive()},
        )["FunctionArn"]
        client("lambda").get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    text = json.dumps(definition(functions))
    client("stepfunctions").create_state_machine(name="m", definition=text, roleArn=ROLE)
    return running, client


def start_runs(client: Any, count: int) -> list[str]:
    """Start runs, which go on by themselves; return their ARNs."""
    sfn = client("stepfunctions")
    arn = sfn.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    return [sfn.start_execution(stateMachineArn=arn)["executionArn"] for _ in range(count)]


def objects_in(state: Path) -> int:
    """Return how many objects are on the disk."""
    return sum(1 for path in (state / "s3").rglob("*.meta.json"))


def checked(client: Any) -> tuple[int, int]:
    """Check each object, and what manifests say of others; return how many captures and finished runs there are."""
    s3 = client("s3")
    bodies: dict[str, bytes] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", []):
            found = s3.get_object(Bucket=BUCKET, Key=entry["Key"])
            body = bodies[entry["Key"]] = found["Body"].read()
            assert len(body) == found["ContentLength"] == entry["Size"], entry["Key"]
            tag = entry["ETag"].strip('"')
            assert tag == found["ETag"].strip('"')
            # Of one uploaded in parts it isn't that of the whole.
            assert "-" in tag or tag == hashlib.md5(body).hexdigest(), entry["Key"]  # noqa: S324 - what S3 calls so
    captured = finished = 0
    for key, body in bodies.items():
        if key.startswith("items/"):
            assert [json.loads(line)["n"] for line in body.splitlines()] == list(range(ITEMS))
            captured += 1
        elif key == "first":
            assert body == b"there before"
        elif key.endswith("/manifest.json"):
            files = [file for group in json.loads(body)["ResultFiles"].values() for file in group]
            children = [child for file in files for child in json.loads(bodies[file["Key"]])]
            numbers = [item["n"] for child in children for item in json.loads(child["Input"])["Items"]]
            assert [len(bodies[file["Key"]]) for file in files] == [file["Size"] for file in files]
            assert numbers == (list(range(ITEMS)) if files else [])
            finished += bool(files)
        else:
            # A result file may be there before its manifest names it, but whole.
            assert sum(int(child["Output"]) for child in json.loads(body)) == ITEMS
    return captured, finished


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("whom", ["engine", "embedded AWS"])
def test_killed_at_any_point_it_leaves_whole_objects_and_no_process(folder: Path, whom: str) -> None:
    moments = random.Random(20261124)  # noqa: S311 - the same moments each time, no secret
    state = folder / "state"
    running, client = begin(folder)
    client("s3").create_bucket(Bucket=BUCKET)
    client("s3").put_object(Bucket=BUCKET, Key="first", Body=b"there before")
    for _ in range(3):
        # A run writes items, an empty manifest, results and the manifest; how fast depends on the machine.
        wanted = objects_in(state) + moments.randint(0, 8)
        start_runs(client, 3)
        until(lambda: objects_in(state) >= wanted)  # noqa: B023 - waited for here
        time.sleep(moments.uniform(0.0, 0.5))
        below = tree(running.pid)
        assert len(below) > 2
        os.kill(running.pid if whom == "engine" else embedded(running.pid), signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in below))  # noqa: B023
        until(lambda: not users_of(running.endpoint))  # noqa: B023
        running, client = begin(folder)
        assert running.killed
        captured, finished = checked(client)
    (last,) = start_runs(client, 1)
    until(lambda: client("stepfunctions").describe_execution(executionArn=last)["status"] == "SUCCEEDED")
    after = checked(client)
    assert captured
    assert after == (captured + 1, finished + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_killed_one_has_lost_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = folder / "state"
    first = control.up(folder=folder, state=state)
    clients(first.endpoint, region=first.region, keys=first.keys)("sqs").create_queue(QueueName="before")
    assert control.down(folder=folder)
    second = control.up(folder=folder, state=state)
    clients(second.endpoint, region=second.region, keys=second.keys)("sqs").create_queue(QueueName="after")
    below = tree(second.pid)
    os.kill(second.pid, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in below))
    third = control.up(folder=folder, state=state)
    urls = clients(third.endpoint, region=third.region, keys=third.keys)("sqs").list_queues()["QueueUrls"]
    assert [url.rsplit("/", 1)[1] for url in urls] == ["before"]
    assert [first.killed, second.killed, third.killed] == [False, False, True]
    assert "was killed" in str(third)
    assert "deploy again" in (folder / "local.log").read_text()
    assert control.down(folder=folder)
    assert not control.up(folder=folder, state=state).killed


# Puts an object, and another in its place, and ends as if killed before the n-th file is moved to its place.
PUT_TWICE = """
import hashlib, os, signal, sys
from pathlib import Path
from cdk_distributed_map.local.embedded import process_main
from ministack.services import s3

process_main.mend(Path(os.environ["S3_DATA_DIR"]))
process_main.write_in_pairs(s3)
left, move = int(sys.argv[1]), os.replace

def moved(*arguments, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    move(*arguments, **named)

os.replace = moved
for body in (b"old", b"new and longer"):
    etag = '"' + hashlib.md5(body).hexdigest() + '"'
    s3._persist_object("killed", "a/b", {"body": body, "size": len(body), "etag": etag})
"""


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    """Ends what is started."""
    guardian = Guardian()
    yield guardian
    guardian.close()


def kept(guardian: Guardian, state: Path, scratch: Path) -> EmbeddedAws:
    """Return an embedded AWS on a folder of state."""
    scratch.mkdir(exist_ok=True)
    return EmbeddedAws(guardian=guardian, scratch=scratch, state=state, iam=False)


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_an_object_is_the_old_or_the_new_whenever_writing_it_is_cut_off(guardian: Guardian, tmp_path: Path) -> None:
    seen = []
    for step in range(1, 20):
        state = tmp_path / str(step)
        (state / "s3" / "000000000000" / BUCKET).mkdir(parents=True)
        environment = {**os.environ, "S3_PERSIST": "1", "S3_DATA_DIR": str(state / "s3")}
        code = subprocess.run([sys.executable, "-c", PUT_TWICE, str(step)], env=environment, check=False).returncode
        assert code in {0, -signal.SIGKILL}
        aws = kept(guardian, state, tmp_path / "scratch")
        try:
            aws.start()
            s3 = aws.clients()("s3")
            keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
            body = b""
            if keys:
                found = s3.get_object(Bucket=BUCKET, Key="a/b")
                body = found["Body"].read()
                assert len(body) == found["ContentLength"]
                assert hashlib.md5(body).hexdigest() == found["ETag"].strip('"')  # noqa: S324 - what S3 calls so
        finally:
            aws.stop()
        assert not list((state / "s3").rglob("*.tmp"))
        seen.append(body)
        if code == 0:
            break
    assert sorted(set(seen), key=seen.index) == [b"", b"old", b"new and longer"]
    assert seen == sorted(seen, key=[b"", b"old", b"new and longer"].index)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a lock of POSIX")
def test_fails_when_another_has_the_state(guardian: Guardian, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first, second = (kept(guardian, state, tmp_path / name) for name in ("first", "second"))
    try:
        first.start()
        with pytest.raises(EmbeddedAwsError, match=f"the state in .* is in use by process {first.pid}: end it"):
            second.start()
    finally:
        first.stop()
    try:
        second.start()
        assert not second.killed
    finally:
        second.stop()


# Starts another in a session of its own, as a daemon does, and ends.
STARTS_ANOTHER = """
import subprocess, sys
left = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, start_new_session=True)
print(left.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("scratch", [True, False], ids=["of the engine", "of others"])
def test_a_process_in_a_session_of_its_own_ends_with_the_engine(tmp_path: Path, *, scratch: bool) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    guardian = Guardian(scratch=folder)
    named = {"TMPDIR": str(folder / "of-the-function")} if scratch else {}
    started = subprocess.run(
        [sys.executable, "-c", STARTS_ANOTHER],
        env={**os.environ, **named},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    pid = int(started.stdout)
    try:
        assert alive(pid)
        guardian.close()
        assert alive(pid) is not scratch
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_nothing_is_tried_again_once_the_embedded_aws_has_ended(guardian: Guardian, tmp_path: Path) -> None:
    aws = EmbeddedAws(guardian=guardian, scratch=tmp_path, iam=False)
    aws.start()
    s3 = aws.clients()("s3")
    tried: list[object] = []
    s3.meta.events.register("request-created.s3", lambda **given: tried.append(given))
    s3.list_buckets()
    os.kill(aws.pid, signal.SIGKILL)

    def has_ended() -> bool:
        # Not told by its state: that of a process is a zombie's a moment before its last thread has ended.
        try:
            aws.check()
        except EmbeddedAwsError:
            return True
        return False

    until(has_ended)
    with pytest.raises(BotoCoreError, match="the embedded AWS has ended"):
        s3.list_buckets()
    assert len(tried) == 2
