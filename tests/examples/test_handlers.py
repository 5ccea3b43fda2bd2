from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Load = Callable[[str], ModuleType]
Batch = Callable[[list[Any]], dict[str, Any]]

MIB = 1024 * 1024


def results(answer: dict[str, Any]) -> list[Any]:
    return [entry["result"] for entry in answer["batchItemResults"]]


def image(color: tuple[int, int, int], width: int, height: int, kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), color).save(file, kind)
    return file.getvalue()


def test_content_length_of_each_object(s3: S3Client, bucket: str, handler_of: Load, batch: Batch) -> None:
    for at in range(3):
        s3.put_object(Bucket=bucket, Key=f"k{at}", Body=b"x" * at)
    items: list[dict[str, object]] = [{"bucket": bucket, "key": f"k{at}"} for at in range(3)]
    s3.put_object(Bucket=bucket, Key="parameters", Body=json.dumps(items[2]).encode())
    items.append({"parameters": {"bucket": bucket, "key": "parameters"}})
    answer = handler_of("content_length").handler(batch(items))
    assert results(answer) == [0, 1, 2, 2]


def test_sum_of_squares_goes_on_past_bad_files(s3: S3Client, bucket: str, handler_of: Load, batch: Batch) -> None:
    bodies = {"good": b"1\n2\n\n3\n", "bad": b"1\ntwo\n", "empty": b""}
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    keys = ["good", "bad", "missing", "empty"]
    answer = handler_of("sum_of_squares").handler(batch([{"bucket": bucket, "key": key} for key in keys]))
    assert results(answer) == [14, 0]
    bad, missing = answer["batchItemFailures"]
    assert (bad["itemIdentifier"], bad["error"]) == ("1", "ValueError")
    assert bad["cause"] == "line 2 of bad is not an integer: b'two'"
    assert (missing["itemIdentifier"], missing["error"]) == ("2", "NoSuchKey")


def test_brightness_of_images(s3: S3Client, bucket: str, handler_of: Load, batch: Batch) -> None:
    white = image((255, 255, 255), 8, 4, "PNG")
    green = image((0, 255, 0), 3000, 2000, "JPEG")
    bodies = {"white": white, "green": green, "none": b"no picture", "cut": green[: len(green) // 2]}
    bodies["other"] = image((0, 0, 0), 8, 4, "GIF")
    for key, body in bodies.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    answer = handler_of("image_brightness").handler(batch([{"bucket": bucket, "key": key} for key in bodies]))
    facts = results(answer)
    assert facts[0] == {"key": "white", "width": 8, "height": 4, "brightness": 1.0}
    assert (facts[1]["width"], facts[1]["height"]) == (3000, 2000)
    assert facts[1]["brightness"] == pytest.approx(0.587, abs=0.01)  # what green is of luma: ITU-R 601-2
    failures = {entry["itemIdentifier"]: entry["error"] for entry in answer["batchItemFailures"]}
    assert failures == {"2": "UnidentifiedImageError", "3": "OSError", "4": "UnidentifiedImageError"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read the way Linux tells it")
def test_checksum_of_an_object_larger_than_the_memory(s3: S3Client, bucket: str, s3_endpoint: str) -> None:
    line, lines = b"0123456789abcdef" * 64 + b"\n", 140_000
    body = line * lines
    assert len(body) > 128 * MIB
    s3.put_object(Bucket=bucket, Key="large/one", Body=body)
    code = (
        "import json, pathlib, re, sys, handler\n"
        "answer = handler.handler({'index': 0, 'value': json.loads(sys.argv[1]), 'run': json.loads(sys.argv[2])})\n"
        # Not ru_maxrss, which begins with what the parent of the process had.
        "peak = re.search(r'VmHWM:\\s*(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1]\n"
        "print(json.dumps([answer, int(peak) * 1024]))"
    )
    run = {"id": "arn", "name": "r", "bucket": bucket, "prefix": "runs/r", "path": ""}
    folder = Path(__file__).resolve().parents[2] / "lambdas" / "checksum"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps({"bucket": bucket, "key": "large/one"}), json.dumps(run)],
        cwd=folder,
        env={**os.environ, "AWS_ENDPOINT_URL": s3_endpoint, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer, peak = json.loads(done.stdout.splitlines()[-1])
    (fact,) = results(answer)
    assert fact == {
        "key": "large/one",
        "bytes": len(body),
        "lines": lines,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    assert peak < 128 * MIB


def test_each_range_gives_the_sum_of_its_squares(handler_of: Load, batch: Batch) -> None:
    answer = handler_of("range_squares").handler(batch([{"from": 0, "to": 5}, {"from": 5, "to": 6}]))
    assert results(answer) == [{"sum": 30}, {"sum": 25}]


def test_part_of_a_shard_is_spilled_and_known_by_reference(
    s3: S3Client, bucket: str, handler_of: Load, batch: Batch
) -> None:
    event = batch([{"seed": 1, "size": 20_000}])
    single = {**event["Items"][0], "run": event["BatchInput"]["distmap"]["run"]}
    answer = handler_of("shards").part(single)
    spilled = answer["distmapSpilled"]
    assert spilled["bytes"] > 256 * 1024
    body = s3.get_object(Bucket=spilled["bucket"], Key=spilled["key"])["Body"].read()
    assert hashlib.sha256(body).hexdigest() == spilled["sha256"]
    assert len(json.loads(body)["batchItemResults"][0]["result"]) == 20_000


def export(s3: S3Client, bucket: str, folder: str, outputs: list[Any], values: list[Any]) -> dict[str, Any]:
    """Write what ResultWriter exports for children of one item each; return the event of the combine function."""
    run = {"id": "arn", "name": "r1", "bucket": bucket, "prefix": "runs/r1", "path": ""}
    records = [
        {
            "ExecutionArn": f"arn:aws:states:us-east-1:000000000000:execution:m/L:{at}",
            "Input": json.dumps({"index": at, "value": value, "run": run}),
            "InputDetails": {"Included": True},
            "Name": str(at),
            "Output": json.dumps(output),
            "OutputDetails": {"Included": True},
            "RedriveCount": 0,
            "RedriveStatus": "NOT_REDRIVABLE",
            "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
            "StartDate": "2026-11-21T00:00:00.000Z",
            "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:m/L",
            "Status": "SUCCEEDED",
            "StopDate": "2026-11-21T00:00:01.000Z",
        }
        for at, (output, value) in enumerate(zip(outputs, values, strict=True))
    ]
    body = "".join(json.dumps(record) + "\n" for record in records).encode()
    s3.put_object(Bucket=bucket, Key=f"{folder}/SUCCEEDED_0.json", Body=body)
    manifest = {
        "DestinationBucket": bucket,
        "MapRunArn": "arn",
        "ResultFiles": {
            "FAILED": [],
            "PENDING": [],
            "SUCCEEDED": [{"Key": f"{folder}/SUCCEEDED_0.json", "Size": len(body)}],
        },
    }
    s3.put_object(Bucket=bucket, Key=f"{folder}/manifest.json", Body=json.dumps(manifest).encode())
    place = {"bucket": bucket, "key": f"{folder}/manifest.json"}
    return {"run": run, "items": None, "results": place, "mapRunArn": "arn"}


def test_ranges_are_combined_and_failures_counted(s3: S3Client, bucket: str, handler_of: Load, batch: Batch) -> None:
    module = handler_of("range_squares")
    run = batch([])["BatchInput"]["distmap"]["run"]
    ranges = [{"from": 0, "to": 5}, {"from": 5, "to": 11}]
    answers = [module.handler({"index": at, "value": value, "run": run}) for at, value in enumerate(ranges)]
    event = export(s3, bucket, "runs/r1/results/m1", answers, ranges)
    assert module.combine(event) == {"ranges": 2, "failed": 0, "sum": sum(n * n for n in range(1, 11))}


def test_shards_are_joined_after_their_parts(s3: S3Client, bucket: str, handler_of: Load, batch: Batch) -> None:
    module = handler_of("shards")
    run = batch([])["BatchInput"]["distmap"]["run"]
    shards = [[{"seed": 1, "size": 20_000}, {"seed": 2, "size": 3}], [{"seed": 3, "size": 20_000}]]
    outputs = []
    for at, parts in enumerate(shards):
        inner = {**run, "path": f"/{at}"}
        answers = [module.part({"index": of, "value": part, "run": inner}) for of, part in enumerate(parts)]
        assert "distmapSpilled" in answers[0]
        event = export(s3, bucket, f"runs/r1/nested/Shards-Nested/{at}/results/m{at}", answers, parts)
        outputs.append({"run": inner, "items": None, "results": event["results"], "combined": module.join_parts(event)})
    joined = module.join_shards(export(s3, bucket, "runs/r1/results/m9", outputs, shards))
    everything = [n for parts in shards for part in parts for n in module.part.__wrapped__(part)]
    assert joined["count"] == len(everything) == 40_003
    assert joined["total"] == pytest.approx(sum(everything))
    assert joined["largest"] == max(everything)
