"""Killed at any point, the local AWS leaves whole objects: all of what was there, and nothing of what wasn't."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local import control
from cdk_distributed_map.local._sdk import clients

BUCKET = "killed"
ITEMS = [{"n": number, "text": "x" * 500} for number in range(500)]
ROLE = "arn:aws:iam::000000000000:role/any"
DEFINITION = {
    "StartAt": "Map",
    "States": {
        "Map": {
            "Type": "Map",
            "Label": "Each",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": BUCKET, "Key": "items.json"},
            },
            "ItemBatcher": {"MaxItemsPerBatch": 20},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Each",
                "States": {"Each": {"Type": "Pass", "End": True}},
            },
            "ResultWriter": {
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {"Bucket": BUCKET, "Prefix": "results"},
            },
            "End": True,
        }
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Folder of a local AWS that is ended in any case."""
    yield tmp_path / ".distmap"
    control.down(folder=tmp_path / ".distmap")


def started(folder: Path) -> tuple[control.Running, Any]:
    """Start, or start again on what is kept; return what runs and its clients."""
    running = control.up(folder=folder, iam=False, state=folder / "state")
    return running, clients(running.endpoint, region=running.region)


def run_many(client: Any, rounds: int) -> None:
    """Start many runs of the map, which go on by themselves."""
    arn = client("stepfunctions").create_state_machine(name="m", definition=json.dumps(DEFINITION), roleArn=ROLE)
    for _ in range(rounds):
        client("stepfunctions").start_execution(stateMachineArn=arn["stateMachineArn"])


def checked(client: Any) -> tuple[int, int]:
    """Check each object, and what manifests say of others; return how many objects and finished runs there are."""
    s3 = client("s3")
    bodies: dict[str, bytes] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for entry in page.get("Contents", []):
            found = s3.get_object(Bucket=BUCKET, Key=entry["Key"])
            body = bodies[entry["Key"]] = found["Body"].read()
            assert len(body) == found["ContentLength"] == entry["Size"], entry["Key"]
            assert hashlib.md5(body).hexdigest() == entry["ETag"].strip('"') == found["ETag"].strip('"'), entry["Key"]  # noqa: S324 - what S3 calls an ETag
            json.loads(body)
    finished = 0
    for key, body in bodies.items():
        if not key.endswith("/manifest.json"):
            continue
        files = [file for group in json.loads(body)["ResultFiles"].values() for file in group]
        for file in files:
            assert len(bodies[file["Key"]]) == file["Size"], file["Key"]
        items = [json.loads(child["Input"])["Items"] for file in files for child in json.loads(bodies[file["Key"]])]
        if files:
            finished += 1
            assert [item for batch in items for item in batch] == ITEMS
    assert json.loads(bodies["items.json"]) == ITEMS
    return len(bodies), finished


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("whom", ["engine", "embedded AWS"])
def test_killed_at_any_point_it_leaves_whole_objects(folder: Path, whom: str) -> None:
    moments = random.Random(20261124)  # noqa: S311 - the same moments each time, no secret
    running, client = started(folder)
    client("s3").create_bucket(Bucket=BUCKET)
    client("s3").put_object(Bucket=BUCKET, Key="items.json", Body=json.dumps(ITEMS).encode())
    finished = 0
    for _ in range(3):
        run_many(client, 12)
        time.sleep(moments.uniform(0.05, 1.0))
        os.kill(running.pid if whom == "engine" else embedded(running.pid), signal.SIGKILL)
        ended(running.pid)
        running, client = started(folder)
        _, finished = checked(client)
    assert finished, "no run came to its end: the machine is too slow for these moments"


def embedded(pid: int) -> int:
    """Return the process of the embedded AWS that a process started."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"_embedded_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError(pid)


def ended(pid: int) -> None:
    """Wait for the end of a process."""
    give_up = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < give_up
        time.sleep(0.02)
