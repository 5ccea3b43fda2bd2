"""Combining a gigabyte of results: time and memory beside a reader that loads each file whole.

python benchmarks/combine.py            # 1 GB
python benchmarks/combine.py 200        # MB
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAP_RUN = "5f0a0000-0000-4000-8000-000000000000"
PLACE = {"bucket": "b", "key": f"runs/r/results/{MAP_RUN}/manifest.json"}
RUN = {
    "id": "arn:aws:states:us-east-1:000000000000:execution:b:r",
    "name": "r",
    "bucket": "b",
    "prefix": "runs/r",
    "path": "",
}
BATCH = 100
SHAPES = (("30 bytes", ""), ("1 kB", "An ordinary sentence of a result. " * 30))
FILE_BYTES = 256 * 1024**2


def record(batch: int, text: str) -> str:
    """Return a child's record as Step Functions writes it: input and output are strings of JSON."""
    first = batch * BATCH
    items = [{"index": at, "value": {"n": at}} for at in range(first, first + BATCH)]
    done = [
        {"itemIdentifier": str(at), "result": {"square": at * at, "text": text}} for at in range(first, first + BATCH)
    ]
    answer = {"batchItemResults": done, "batchItemFailures": [], "batchItemsUnprocessed": []}
    name = f"{batch:08x}-0000-4000-8000-000000000000"
    return json.dumps(
        {
            "ExecutionArn": f"arn:aws:states:us-east-1:000000000000:execution:b/L:{name}",
            "Input": json.dumps({"BatchInput": {"distmap": {"run": RUN}}, "Items": items}, separators=(",", ":")),
            "InputDetails": {"Included": True},
            "Name": name,
            "Output": json.dumps(answer, separators=(",", ":")),
            "OutputDetails": {"Included": True},
            "RedriveCount": 0,
            "RedriveStatus": "NOT_REDRIVABLE",
            "RedriveStatusReason": "Execution is SUCCEEDED and cannot be redriven",
            "StartDate": "2026-11-21T00:00:00.000Z",
            "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:b/L",
            "Status": "SUCCEEDED",
            "StopDate": "2026-11-21T00:00:01.000Z",
        },
        separators=(",", ":"),
    )


def write_results(folder: Path, size: int, text: str) -> int:
    """Write result files of that many bytes and their manifest; return how many items they hold."""
    place = folder / "runs" / "r" / "results" / MAP_RUN
    place.mkdir(parents=True)
    files: list[dict[str, Any]] = []
    batch = written = 0
    while written < size:
        path = place / f"SUCCEEDED_{len(files)}.json"
        with path.open("w", encoding="utf-8") as file:
            while file.tell() < FILE_BYTES and written + file.tell() < size:
                file.write("".join(record(at, text) + "\n" for at in range(batch, batch + 100)))
                batch += 100
        written += path.stat().st_size
        files.append({"Key": str(path.relative_to(folder)), "Size": path.stat().st_size})
    manifest = {
        "DestinationBucket": "b",
        "MapRunArn": f"arn:aws:states:us-east-1:000000000000:mapRun:b/L:{MAP_RUN}",
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": files},
    }
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return batch * BATCH


def naive() -> dict[str, int]:
    """Load each file whole and take its records apart with json."""
    import boto3  # noqa: PLC0415 - a candidate imports what it needs

    s3 = boto3.client("s3")
    manifest = json.load(s3.get_object(Bucket=PLACE["bucket"], Key=PLACE["key"])["Body"])
    items = total = 0
    for file in manifest["ResultFiles"]["SUCCEEDED"]:
        body = s3.get_object(Bucket=PLACE["bucket"], Key=file["Key"])["Body"].read()
        for found in [json.loads(line) for line in body.splitlines()]:
            for result in json.loads(found["Output"])["batchItemResults"]:
                items, total = items + 1, total + result["result"]["square"]
    return {"items": items, "total": total}


def ours() -> Any:
    """Call a combine function."""
    from distmap import Result, combine_results  # noqa: PLC0415

    @combine_results
    def combine(results: Iterable[Result]) -> dict[str, int]:
        items = total = 0
        for result in results:
            items, total = items + 1, total + result.value["square"]
        return {"items": items, "total": total}

    return combine({"run": RUN, "items": None, "results": PLACE, "mapRunArn": "arn"})


def main() -> None:
    """Measure and print the table."""
    from _aws import sink  # noqa: PLC0415
    from _measure import machine, progress, run, table  # noqa: PLC0415

    size = int(sys.argv[1] if len(sys.argv) > 1 else 1000) * 1_000_000
    rows = []
    for kind, text in SHAPES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            progress(f"writing {size / 1e6:,.0f} MB of results of {kind}")
            items = write_results(folder, size, text)
            with sink(folder) as environment:
                for label, which in (("json.loads of whole files", "naive"), ("combine_results", "ours")):
                    progress(label)
                    measured = run([sys.executable, __file__, which], environment=environment)
                    if not measured.ok or measured.answer["items"] != items:
                        raise SystemExit(f"{label} gave {measured.said!r}, not {items:,} items")
                    seconds = measured.seconds
                    numbers = [f"{seconds:.1f} s", f"{size / 1e6 / seconds:.0f} MB/s", f"{items / seconds:,.0f}"]
                    rows.append([f"{items:,} of {kind}", label, *numbers, f"{measured.peak_mib:,.0f} MiB"])
    header = [f"{size / 1e6:,.0f} MB in batches of {BATCH}", "reader", "time", "rate", "items/s", "peak memory"]
    sys.stdout.write(f"{machine()}\n\n{table(header, rows)}\n")


if __name__ == "__main__":
    if sys.argv[1:] in (["naive"], ["ours"]):
        sys.stdout.write(json.dumps(naive() if sys.argv[1] == "naive" else ours()))
    else:
        main()
