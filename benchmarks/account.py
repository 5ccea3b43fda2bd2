"""The account of 1 and 10 million items: its rate, memory and price, beside a plain reader of the same files.

python benchmarks/account.py                         # a minute or two
python benchmarks/account.py --items 1000000
python benchmarks/account.py --proof                 # runs of a million items under faults, instead
python benchmarks/account.py --proof --items 20000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from combine import BATCH, MAP_RUN, PLACE, RUN, record

FILE_BYTES = 256 * 1024**2
MEMORY_MB = 1_769
"""Of the account function, by default."""
ITEM_SECONDS = 0.05
WORKER_MB = 512
CHILD_ITEMS = 200
"""Of the run that the price is set beside: items of 50 ms, in batches as they are by default."""
SETTINGS: dict[str, Any] = {
    "pipeline": "Benchmark/Map",
    "toleratedFailureCount": None,
    "toleratedFailurePercentage": 1,
    "rounds": 10,
    "rerun": None,
    "waitSeconds": 10,
    "backoffRate": 2,
    "maxWaitSeconds": 60,
    "metrics": False,
    "enveloped": True,
    "batched": True,
    "selects": False,
    "resultsBucket": "b",
    "nested": [],
    "targets": [],
}


def write_results(folder: Path, items: int) -> int:
    """Write the result files of so many items and their manifest; return their bytes."""
    place = folder / "runs" / "r" / "results" / MAP_RUN
    place.mkdir(parents=True)
    files: list[dict[str, Any]] = []
    batch = total = 0
    while batch * BATCH < items:
        path = place / f"SUCCEEDED_{len(files)}.json"
        with path.open("w", encoding="utf-8") as file:
            while batch * BATCH < items and file.tell() < FILE_BYTES:
                file.write(record(batch, "") + "\n")
                batch += 1
        total += path.stat().st_size
        files.append({"Key": str(path.relative_to(folder)), "Size": path.stat().st_size})
    manifest = {
        "DestinationBucket": "b",
        "MapRunArn": f"arn:aws:states:us-east-1:000000000000:mapRun:b/L:{MAP_RUN}",
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": files},
    }
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return total


def baseline() -> dict[str, int]:
    """Read each file line by line and take each record apart with json, marking the items that succeeded."""
    import boto3  # noqa: PLC0415 - a candidate imports what it needs

    s3 = boto3.client("s3")
    manifest = json.load(s3.get_object(Bucket=PLACE["bucket"], Key=PLACE["key"])["Body"])
    done: set[int] = set()
    for file in manifest["ResultFiles"]["SUCCEEDED"]:
        for line in s3.get_object(Bucket=PLACE["bucket"], Key=file["Key"])["Body"].iter_lines(1024**2):
            for result in json.loads(json.loads(line)["Output"])["batchItemResults"]:
                done.add(int(result["itemIdentifier"]))
    return {"items": len(done)}


def ours(items: int) -> dict[str, int]:
    """Call the account function."""
    from distmap import account_run  # noqa: PLC0415

    stdout, sys.stdout = sys.stdout, sys.stderr  # its log line
    try:
        answer = account_run(
            {
                "run": RUN,
                "items": {"bucket": "b", "key": "runs/r/items.jsonl", "count": items},
                "results": PLACE,
                "mapRunArn": f"arn:aws:states:us-east-1:000000000000:mapRun:b/L:{MAP_RUN}",
                "redriveCount": 0,
                "account": SETTINGS,
                "continuation": None,
            }
        )
    finally:
        sys.stdout = stdout
    return {"items": answer["ledger"]["succeeded"] if answer is not None else 0}


def price(seconds: float, items: int) -> tuple[float, float]:
    """Return what an account costs that takes so long, and what the run costs that it is of, in USD."""
    from cdk_distributed_map import prices  # noqa: PLC0415

    second = prices.LAMBDA_GB_SECOND["arm64"] / 1024
    children = items / CHILD_ITEMS
    run = items * ITEM_SECONDS * WORKER_MB * second + children * (
        2 * prices.STANDARD_TRANSITION + prices.LAMBDA_REQUEST
    )
    return seconds * MEMORY_MB * second + prices.LAMBDA_REQUEST, run


def measure(items: int) -> list[list[str]]:
    """Return two rows of the table.

    Raises:
        SystemExit: A reader did not find every item.
    """
    from _aws import sink  # noqa: PLC0415
    from _measure import progress, run  # noqa: PLC0415

    rows = []
    with tempfile.TemporaryDirectory() as name:
        progress(f"writing the results of {items:,} items")
        size = write_results(Path(name), items)
        with sink(Path(name)) as environment:
            for label, which in (("json.loads of each line", "baseline"), ("account_run", "ours")):
                progress(label)
                measured = run(
                    [sys.executable, __file__, "--one", which, "--items", str(items)], environment=environment
                )
                if not measured.ok or measured.answer["items"] != items:
                    raise SystemExit(f"{label} gave {measured.said!r}, not {items:,} items")
                seconds = measured.seconds
                dollars, beside = price(seconds, items)
                cost = [f"{dollars:.5f} USD", f"{dollars / beside:.3%}"] if which == "ours" else ["", ""]
                rate = [f"{seconds:.1f} s", f"{items / seconds:,.0f}", f"{size / 1e6 / seconds:.0f} MB/s"]
                rows.append([f"{items:,}", label, *rate, f"{measured.peak_mib:,.0f} MiB", *cost])
    return rows


def main() -> None:
    """Measure, or prove, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, help="Default: 1 and 10 million, and a million with --proof")
    parser.add_argument("--proof", action="store_true", help="run items under faults instead")
    parser.add_argument("--cases", type=int, nargs="*", help="with --proof: which of its cases, from 0. Default: all")
    parser.add_argument("--one", choices=("baseline", "ours"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        sys.stdout.write(json.dumps(ours(given.items) if given.one == "ours" else baseline()) + "\n")
        return
    from _measure import machine, table  # noqa: PLC0415

    if given.proof:
        from _account_proof import proof  # noqa: PLC0415

        said = proof(given.items or 1_000_000, given.cases)
    else:
        rows = [row for items in ([given.items] if given.items else [1_000_000, 10_000_000]) for row in measure(items)]
        header = ["items", "reader", "time", "items/s", "rate", "peak memory", "price", "of its run"]
        said = (
            f"Price at {MEMORY_MB:,} MB, beside that of a run of items of {ITEM_SECONDS * 1000:g} ms at {WORKER_MB} MB "
            f"in Standard children of {CHILD_ITEMS}:\n\n{table(header, rows)}"
        )
    sys.stdout.write(f"{machine()}\n\n{said}\n")


if __name__ == "__main__":
    main()
