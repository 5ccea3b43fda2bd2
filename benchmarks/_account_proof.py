"""A million items under faults, with nobody intervening: the run's own ledger beside what its workers wrote down.

The workers keep one byte for each item in a file of their own, outside of everything that the pipeline knows.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measure import progress, table

FAULTS = {"throttle": 0.10, "crash": 0.02, "lost_answer": 0.02, "express_duplicate": 0.05}
RECORD = "record"
TRIED = "tried"
WORKER = """
import mmap
from pathlib import Path

from distmap import PermanentError, process_items

FOLDER = Path({folder!r})


def opened(name):
    with open(FOLDER / name, "r+b") as file:
        return mmap.mmap(file.fileno(), 0)


record, tried = opened("record"), opened("tried")


class BusyError(Exception):
    pass


@process_items
def handler(item):
    number = item["from"]
    if {permanent} and number % 100 == 37:
        raise PermanentError("never")
    if {temporary} and number % 100 in (3, 4, 5) and not tried[number]:
        tried[number] = 1
        raise BusyError("not now")
    record[number] = 1
    return number
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run.

    Args:
        name: What it is.
        permanent: Whether one item in a hundred raises for good.
        temporary: Whether three in a hundred raise the first time, and run again.
        percentage: How many items may not succeed.
        succeeds: Whether the run is to succeed.
    """

    name: str
    permanent: bool = False
    temporary: bool = False
    percentage: float = 0
    succeeds: bool = True


CASES = (
    Case(name="faults alone"),
    Case(name="3 % raise once", temporary=True),
    Case(name="1 % raise for good, 0 % tolerated", permanent=True, succeeds=False),
    Case(name="1 % raise for good, 1 % tolerated", permanent=True, percentage=1),
    Case(name="1 % raise for good, 2 % tolerated", permanent=True, percentage=2),
)


def synthesize(folder: Path, record: Path, case: Case) -> Path:
    """Write the worker of a case and the assembly of its pipeline."""
    import aws_cdk as cdk  # noqa: PLC0415 - only here
    from aws_cdk import aws_stepfunctions as sfn  # noqa: PLC0415

    from cdk_distributed_map import Capture, DistributedMapPipeline, ItemSource, Rerun, Worker  # noqa: PLC0415

    code = folder / "worker"
    code.mkdir()
    source = WORKER.format(folder=str(record), permanent=case.permanent, temporary=case.temporary)
    (code / "handler.py").write_text(source, encoding="utf-8")
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    DistributedMapPipeline(
        cdk.Stack(app, "Proof"),
        "Proof",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(str(code), handler="handler.handler"),
        child_type=sfn.StateMachineType.EXPRESS,
        tolerated_failure_percentage="$.percentage",
        rerun=Rerun() if case.temporary else None,
        state_machine_name="Proof",
    )
    app.synth()
    return folder / "cdk.out"


def prove(case: Case, items: int) -> list[str]:
    """Run a case, compare its ledger with the record item by item, and return a row of the table.

    Raises:
        SystemExit: They don't agree, or the run ended otherwise than it should.
    """
    from cdk_distributed_map.local.faults import Faults  # noqa: PLC0415
    from cdk_distributed_map.local.server import LocalAws  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in (RECORD, TRIED):
            (folder / each).write_bytes(bytes(items))
        assembly = synthesize(folder, folder, case)
        with LocalAws(faults=Faults(**FAULTS, functions=None, seed=1), logs=False) as local:
            local.deploy(assembly)
            started = time.perf_counter()
            sent = {"number": items, "percentage": case.percentage}
            run = local.run("Proof", sent, name="proof", timeout=6 * 3600)
            seconds = time.perf_counter() - started
            ledger, failed = read(local)
        done = (folder / RECORD).read_bytes()
        wrong = disagreement(case, run, ledger, failed, done)
        if wrong:
            raise SystemExit(f"{case.name}: {wrong}\n{run.error}: {run.cause}\n{ledger}")
    numbers = [f"{ledger[key]:,}" for key in ("succeeded", "failed", "recovered", "rounds")]
    return [case.name, run.status, *numbers, f"{seconds:,.0f} s"]


def read(local: Any) -> tuple[dict[str, Any], list[int]]:
    """Return the run's ledger and which items are in its failures."""
    s3 = local.client("s3")
    bucket = next(each["Name"] for each in s3.list_buckets()["Buckets"] if "proof" in each["Name"])

    def body(name: str) -> bytes:
        try:
            found: bytes = s3.get_object(Bucket=bucket, Key=f"runs/proof/{name}")["Body"].read()
        except s3.exceptions.NoSuchKey:
            return b""
        return found

    return json.loads(body("ledger.json")), [json.loads(line)["index"] for line in body("failures.jsonl").splitlines()]


def disagreement(case: Case, run: Any, ledger: dict[str, Any], failed: list[int], done: bytes) -> str | None:
    """Return what does not agree; None where everything does."""
    items = len(done)
    planned = {index for index in range(items) if index % 100 == 37} if case.permanent else set()
    by_record = {index for index, byte in enumerate(done) if not byte}
    if run.status != ("SUCCEEDED" if case.succeeds else "FAILED"):
        return f"the run ended {run.status}"
    if not case.succeeds and run.error != "Distmap.ToleranceExceeded":
        return f"the run failed with {run.error}"
    if not ledger["addsUp"] or ledger["missing"] or (ledger["captured"], ledger["failed"]) != (items, len(planned)):
        return "the ledger doesn't add up"
    if ledger["succeeded"] != items - len(planned) or len(failed) != len(planned):
        return "the ledger has other numbers than the run was planned to have"
    return None if set(failed) == by_record == planned else "the failures are of other items than the record's"


def proof(items: int, only: list[int] | None = None) -> str:
    """Run the cases and return the table of them."""
    rows = []
    for number, case in enumerate(CASES):
        if only is None or number in only:
            progress(f"{items:,} items: {case.name}")
            rows.append(prove(case, items))
            sys.stderr.write(f"    {', '.join(rows[-1])}\n")
    shares = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in FAULTS.items())
    header = ["of which", "ended", "succeeded", "failed", "recovered", "rounds", "time"]
    return f"{items:,} items under {shares}, nobody intervening; each agrees item by item:\n\n{table(header, rows)}"
