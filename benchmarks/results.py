"""Ledger, results, their columns and SQL over a million items in batches of 100: time and memory.

Beside them stand a reader of whole files, and pyarrow that is given all rows of the table at once.

python benchmarks/results.py                              # 1,000,000 items
python benchmarks/results.py 10000000                     # ten million: the same memory
python benchmarks/results.py 10000000 'results -o table/' # some of the candidates
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from combine import BATCH, FILE_BYTES, MAP_RUN, PLACE, record

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:b"
TEXT = ""


def write_run(folder: Path, items: int) -> int:
    """Write item file, result files and manifest of a run of that many items; return the bytes of the results."""
    place = folder / "runs" / "r" / "results" / MAP_RUN
    place.mkdir(parents=True)
    files: list[dict[str, Any]] = []
    written = batch = 0
    while batch * BATCH < items:
        path = place / f"SUCCEEDED_{len(files)}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            while file.tell() < FILE_BYTES and batch * BATCH < items:
                file.write(record(batch, TEXT) + "\n")
                batch += 1
        written += path.stat().st_size
        files.append({"Key": str(path.relative_to(folder)), "Size": path.stat().st_size})
    manifest = {
        "DestinationBucket": "b",
        "MapRunArn": f"arn:aws:states:us-east-1:000000000000:mapRun:b/L:{MAP_RUN}",
        "ResultFiles": {"FAILED": [], "PENDING": [], "SUCCEEDED": files},
    }
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return written


def _run(items: int) -> Any:
    """Return the run as the client sees it, with what Step Functions would say of it given."""
    from datetime import UTC, datetime  # noqa: PLC0415 - a candidate imports what it needs

    from cdk_distributed_map.runs import Pipeline, RunDescription  # noqa: PLC0415
    from cdk_distributed_map.runs.aws.sessions import Aws  # noqa: PLC0415
    from cdk_distributed_map.runs.files import chain, scan  # noqa: PLC0415
    from cdk_distributed_map.runs.find.definition import MapDefinition, PipelineDefinition  # noqa: PLC0415
    from cdk_distributed_map.runs.find.handles import RunHandle  # noqa: PLC0415
    from cdk_distributed_map.runs.run import Run  # noqa: PLC0415

    made = MapDefinition(
        label="L",
        bucket="b",
        payload_prefix="",
        results_bucket="b",
        transformation="NONE",
        output_type="JSONL",
        express=False,
        batched=True,
        enveloped=True,
        selects=False,
        input_type="JSONL",
        reads_item_file=True,
    )
    now = datetime.now(UTC)
    file = {"bucket": "b", "key": "runs/r/items.jsonl", "count": items}
    # The endpoint of this benchmark has S3 alone, without listing: some answers are given instead of asked for.
    RunHandle.describe = lambda self, **_: RunDescription(  # type: ignore[method-assign] # see above
        name="r", arn=self.arn, status="SUCCEEDED", started=now, stopped=now, input={}, output={"items": file}
    )
    scan.places = _places  # type: ignore[assignment] # see above
    scan.rounds = lambda _: []  # type: ignore[assignment] # see above
    RunHandle.own_map_run_arns = lambda self: []  # type: ignore[method-assign] # noqa: ARG005 - see above
    chain.links_of = lambda _: []  # type: ignore[assignment] # see above
    from distmap._export import Export  # noqa: PLC0415

    Export._sizes = lambda self: {}  # type: ignore[method-assign] # noqa: SLF001, ARG005 - see above
    pipeline = Pipeline(Aws(), MACHINE)
    pipeline._definition = PipelineDefinition(source=made, item_file=made)  # noqa: SLF001 - see above
    return Run(pipeline, "r")


def _places(_run: Any, number: int = 0) -> list[Any]:
    return [] if number else [PLACE]


def ledger(items: int) -> dict[str, Any]:
    """Account for every item."""
    made = _run(items).ledger()
    return {"items": made.succeeded, "complete": made.is_complete}


def results(items: int) -> dict[str, Any]:
    """Stream every result."""
    return {"items": sum(1 for _ in _run(items).results()), "complete": True}


def ordered(items: int) -> dict[str, Any]:
    """Stream every result in the order of the items."""
    found = _run(items).results(ordered=True)
    return {"items": sum(1 for _ in found), "complete": True}


def naive(items: int) -> dict[str, Any]:
    """Load each file whole, take its records apart with json, and note what was seen."""
    import boto3  # noqa: PLC0415 - a candidate imports what it needs

    s3 = boto3.client("s3")
    manifest = json.load(s3.get_object(Bucket=PLACE["bucket"], Key=PLACE["key"])["Body"])
    seen: dict[int, Any] = {}
    for file in manifest["ResultFiles"]["SUCCEEDED"]:
        body = s3.get_object(Bucket=PLACE["bucket"], Key=file["Key"])["Body"].read()
        for found in [json.loads(line) for line in body.splitlines()]:
            for result in json.loads(found["Output"])["batchItemResults"]:
                seen[int(result["itemIdentifier"])] = result["result"]
    return {"items": len(seen), "complete": len(seen) == items}


def columns(items: int) -> dict[str, Any]:
    """Write every result as typed columns, in files of a million rows."""
    from cdk_distributed_map.runs.results import columns as made  # noqa: PLC0415 - a candidate imports what it needs

    with tempfile.TemporaryDirectory() as folder:
        found = _run(items).results()
        written = made.write_parts(found, made.Parts(Path(folder)), layout=made.Layout())
        return {"items": _rows_of(Path(folder)), "complete": written.rows == items}


def question(items: int) -> dict[str, Any]:
    """Write the same files, and ask DuckDB about all of them."""
    from cdk_distributed_map.runs.results import columns as made  # noqa: PLC0415 - a candidate imports what it needs
    from cdk_distributed_map.runs.results import sql  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        made.write_parts(_run(items).results(), made.Parts(Path(folder)), layout=made.Layout())
        (row,) = sql.ask("select count(*) as n, count(distinct square) as s from results", Path(folder)).rows()
        return {"items": row["n"], "complete": row["s"] == items}


def at_once(items: int) -> dict[str, Any]:
    """Give pyarrow all rows of the same table, as the same reader yields them."""
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415 - see above, without types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415 - likewise

    rows = [
        {"index": each.index, "status": each.status, **each.value, "error": each.error, "cause": each.cause}
        for each in _run(items).results()
    ]
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.Table.from_pylist(rows), Path(folder, "all.parquet"), compression="zstd")
        return {"items": _rows_of(Path(folder)), "complete": True}


def _rows_of(folder: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415 - a candidate imports what it needs

    return sum(pq.ParquetFile(path).metadata.num_rows for path in folder.glob("*.parquet"))


CANDIDATES = {
    "json.loads of whole files": naive,
    "ledger": ledger,
    "results": results,
    "results --ordered": ordered,
    "results -o table/": columns,
    "results --sql": question,
    "pyarrow, all rows at once": at_once,
}


def main() -> None:
    """Measure and print the table."""
    from _aws import sink  # noqa: PLC0415
    from _measure import machine, progress, run, table  # noqa: PLC0415

    items = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    chosen = sys.argv[2:] or list(CANDIDATES)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        progress(f"writing a run of {items:,} items")
        size = write_run(Path(name), items)
        with sink(Path(name)) as environment:
            for label in chosen:
                progress(label)
                measured = run([sys.executable, __file__, label, str(items)], environment=environment)
                if not measured.ok or measured.answer != {"items": items, "complete": True}:
                    raise SystemExit(f"{label} gave {measured.said!r}, not {items:,} items")
                rate = f"{items / measured.seconds:,.0f}"
                rows.append([label, f"{measured.seconds:.1f} s", rate, f"{measured.peak_mib:,.0f} MiB"])
    header = [f"{items:,} items in batches of {BATCH}, {size / 1e6:,.0f} MB", "time", "items/s", "peak memory"]
    sys.stdout.write(f"{machine()}\n\n{table(header, rows)}\n")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CANDIDATES:
        sys.stdout.write(json.dumps(CANDIDATES[sys.argv[1]](int(sys.argv[2]))))
    else:
        main()
