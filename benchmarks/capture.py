"""Capture of ranges and of an S3 listing: time and memory beside the handlers people write first.

python benchmarks/capture.py            # 1 and 10 million ranges, 100,000 keys
python benchmarks/capture.py --full     # and 100 million ranges
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

MILLION = 1_000_000
CHUNK = 5
RUN = {
    "id": "arn:aws:states:us-east-1:000000000000:execution:b:r",
    "name": "r",
    "bucket": "b",
    "prefix": "runs/r",
    "path": "",
}

NODE = """
const http = require('http');
const [number, chunk] = [Number(process.argv[1]), Number(process.argv[2])];
const items = [];
for (let from = 0; from < number; from += chunk) items.push({from, to: Math.min(from + chunk, number)});
const body = JSON.stringify(items);
const url = new URL(process.env.AWS_ENDPOINT_URL_S3);
const request = http.request({host: url.hostname, port: url.port, method: 'PUT', path: '/b/runs/r/items.json',
  headers: {'Content-Length': Buffer.byteLength(body)}}, (answer) => {
  answer.resume();
  answer.on('end', () => console.log(JSON.stringify({items: items.length, bytes: body.length})));
});
request.end(body);
"""


def naive(number: int, chunk: int) -> dict[str, int]:
    """Build the whole array, make a string of it, put it: what the Node handler does, in Python."""
    import boto3  # noqa: PLC0415 - a candidate imports what it needs

    items = [{"from": low, "to": min(low + chunk, number)} for low in range(0, number, chunk)]
    body = json.dumps(items)
    boto3.client("s3").put_object(Bucket="b", Key="runs/r/items.json", Body=body.encode())
    return {"items": len(items), "bytes": len(body)}


def ours(settings: Mapping[str, object]) -> dict[str, object]:
    """Call the built-in capture function."""
    from distmap import capture_input  # noqa: PLC0415

    event = {"input": {}, "run": RUN, "key": "runs/r/items.jsonl", "capture": settings, "continuation": None}
    answer = capture_input(event)
    return {"items": answer["count"], "bytes": answer["bytes"]}


def naive_listing() -> dict[str, int]:
    """List with a paginator, collect, put."""
    import boto3  # noqa: PLC0415

    s3 = boto3.client("s3")
    items = [
        {
            "bucket": "b",
            "key": found["Key"],
            "size": found["Size"],
            "etag": found["ETag"],
            "lastModified": str(found["LastModified"]),
        }
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="in/")
        for found in page["Contents"]
        if found["Size"] > 0
    ]
    body = json.dumps(items)
    s3.put_object(Bucket="b", Key="runs/r/items.json", Body=body.encode())
    return {"items": len(items), "bytes": len(body)}


LISTING = {"kind": "s3Listing", "bucket": "b", "prefixes": ["in/"], "suffix": None, "minBytes": 1, "maxBytes": None,
           "modifiedAfter": None, "modifiedBefore": None, "minAgeSeconds": None, "maxAgeSeconds": None}  # fmt: skip


def main() -> None:
    """Measure and print the table."""
    from _aws import sink  # noqa: PLC0415
    from _measure import MEMORY_LIMIT_BYTES, machine, progress, run, table  # noqa: PLC0415

    sizes = [1, 10, 20, 100] if "--full" in sys.argv else [1, 10]
    rows: list[list[str]] = []
    with sink(keys=100_000) as environment:
        for millions in sizes:
            number = millions * MILLION * CHUNK
            for name, command, limit in (
                ("Node: array, stringify, put", ["node", "-e", NODE, str(number), str(CHUNK)], None),
                ("Python: the same", [sys.executable, __file__, "naive", str(number)], MEMORY_LIMIT_BYTES),
                ("distmap capture", [sys.executable, __file__, "ours", str(number)], None),
            ):
                progress(f"{millions} million ranges, {name}")
                measured = run(command, environment=environment, limit=limit)
                rate = f"{millions * MILLION / measured.seconds:,.0f}" if measured.ok else f"died: {measured.said[:60]}"
                rows.append(
                    [
                        f"{millions} million ranges",
                        name,
                        f"{measured.seconds:.1f} s",
                        rate,
                        f"{measured.peak_mib:,.0f} MiB",
                    ]
                )
        for name, which in (("Python: paginator, list, put", "naive-listing"), ("distmap capture", "ours-listing")):
            progress(f"listing of 100,000 keys, {name}")
            measured = run([sys.executable, __file__, which], environment=environment)
            rate = f"{100_000 / measured.seconds:,.0f}" if measured.ok else f"died: {measured.said[:60]}"
            rows.append(
                ["100,000 keys listed", name, f"{measured.seconds:.1f} s", rate, f"{measured.peak_mib:,.0f} MiB"]
            )
    sys.stdout.write(f"{machine()}\n\n{table(['what', 'handler', 'time', 'items/s', 'peak memory'], rows)}\n")


if __name__ == "__main__":
    which = sys.argv[1] if len(sys.argv) > 1 else ""
    if which == "naive":
        sys.stdout.write(json.dumps(naive(int(sys.argv[2]), CHUNK)))
    elif which == "ours":
        sys.stdout.write(json.dumps(ours({"kind": "ranges", "number": int(sys.argv[2]), "chunk": CHUNK})))
    elif which == "naive-listing":
        sys.stdout.write(json.dumps(naive_listing()))
    elif which == "ours-listing":
        sys.stdout.write(json.dumps(ours(LISTING)))
    else:
        main()
