"""Deployed pipelines whose items do as they are planned to, and a record of what their workers did."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_s3 as s3

from cdk_distributed_map import Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.execution.executions import LocalExecution
from cdk_distributed_map.local.faults import SHARES
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs.client import Client

GIVE_UP_SECONDS = 120.0
BUCKET = "account-of-runs"
BLOCK = 1_000_000
"""Each run has numbers of its own, so that one worker tells them apart: this many."""
MOST_BLOCKS = 2**53 // BLOCK - 1

HANDLER = '''
import functools
import json
import os
import time
from pathlib import Path

from distmap import PermanentError, combine_results, process_items

FOLDER = Path({folder!r})


class Temporary(Exception):
    pass


@functools.cache
def plan(block):
    return json.loads((FOLDER / f"{{block}}.plan").read_text())


def attempt(number):
    """Which attempt this is, counted over all processes."""
    tried = 0
    while True:
        try:
            os.close(os.open(FOLDER / f"{{number}}.{{tried}}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            tried += 1
        else:
            return tried


def note(block, number, what):
    with open(FOLDER / f"{{block}}.record", "ab", buffering=0) as file:
        file.write(f"{{number}} {{what}}\\n".encode())


@process_items
def handler(item):
    number = item["from"]
    block, index = divmod(number, {block})
    actions = plan(block).get(str(index), [])
    tried = attempt(number) if actions else 0
    action = actions[tried] if tried < len(actions) else "ok"
    if action == "gate":
        note(block, index, action)
        while not (FOLDER / f"{{block}}.open").exists():
            time.sleep(0.01)
        action = "ok"
    if action == "slow":
        note(block, index, action)
        time.sleep(60)
    note(block, index, action)
    if action == "crash":
        os._exit(1)
    if action == "permanent":
        raise PermanentError("never")
    if action == "other":
        raise ValueError("something else")
    if action == "error":
        raise Temporary("not yet")
    return number


@combine_results
def combine(results):
    numbers = {{}}
    for result in results:
        numbers.setdefault("done" if result.succeeded else "not", []).append(result.index)
        if result.succeeded and (FOLDER / f"{{result.value // {block}}}.combine-fails").exists():
            raise ValueError("nothing is combined today")
    return {{key: sorted(value) for key, value in numbers.items()}}
'''

Plan = Mapping[int, Sequence[str]]
"""What an item does at its first attempts, by index: ``ok``, ``error``, ``other``, ``permanent``, ``crash``, ``slow``
or ``gate``; each attempt beyond, and every other item, is ok."""


@dataclass(kw_only=True)
class Run:
    """One run: what AWS says of it, and what its workers wrote down."""

    lab: Lab
    block: int
    items: int
    plan: Plan
    execution: LocalExecution
    prefix: str

    def record(self) -> list[tuple[int, str]]:
        """Return what the workers did, in order."""
        path = self.lab.folder / f"{self.block}.record"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(index), what) for index, what in (line.split() for line in lines)]

    def done(self) -> set[int]:
        """Return the items that some worker did."""
        return {index for index, what in self.record() if what == "ok"}

    def wait(self) -> Run:
        """Return once it has ended."""
        self.execution = self.lab.local.wait(self.execution)
        return self

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while not is_so():
            assert time.monotonic() < give_up, f"waited in vain: {self.execution}"
            time.sleep(0.02)

    def stop_at_gate(self) -> Run:
        """Stop it once an item waits at its gate, and open that."""
        self.until(lambda: any(what == "gate" for _, what in self.record()))
        self.lab.local.client("stepfunctions").stop_execution(executionArn=self.execution.arn, error="Enough")
        self.open()
        return self.wait()

    def open(self) -> None:
        """Open the gates."""
        (self.lab.folder / f"{self.block}.open").touch()

    def redrive(self) -> Run:
        """Redrive it, to its next end."""
        self.lab.local.client("stepfunctions").redrive_execution(executionArn=self.execution.arn)
        return self.wait()

    def body(self, name: str) -> bytes | None:
        """Return a file of its folder."""
        s3 = self.lab.local.client("s3")
        try:
            found: bytes = s3.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")["Body"].read()
        except s3.exceptions.NoSuchKey:
            return None
        return found

    def ledger(self, *, redrives: int = 0) -> dict[str, Any]:
        """Return ``ledger.json``, once it is that of the run's end: of a run that failed, a rule has it written."""
        found: dict[str, Any] = {}

        def there() -> bool:
            body = self.body("ledger.json")
            found.update({} if body is None else json.loads(body))
            return (found.get("status"), found.get("redriveCount")) == (self.execution.status, redrives)

        self.until(there)
        return found

    def recount(self) -> dict[str, Any]:
        """Return the account that a client makes of the same files."""
        return self.lab.client.run(self.execution.arn).ledger().to_json()

    def results(self) -> list[Any]:
        """Return the results that a client reads."""
        return list(self.lab.client.run(self.execution.arn).results())

    def metrics(self) -> list[dict[str, Any]]:
        """Return what its account functions wrote for CloudWatch to make metrics of, in order."""
        invocations = self.lab.local.invocations
        lines = [
            line for _, result in invocations or () for line in result.log.splitlines() if line.startswith('{"_aws"')
        ]
        return [each for each in map(json.loads, lines) if each["run"] == self.execution.name]

    def failures(self) -> list[dict[str, Any]]:
        """Return the lines of ``failures.jsonl``, none where there is no such file."""
        body = self.body("failures.jsonl")
        return [] if body is None else [json.loads(line) for line in body.splitlines()]


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A local AWS with pipelines."""

    local: LocalAws
    client: Client
    folder: Path

    def calm(self) -> None:
        """Have nothing go wrong any more."""
        for fault in SHARES:
            self.local.faults.set(fault, 0)
        self.local.faults.functions = None

    def workers_only(self) -> None:
        """Keep faults from the account functions, which else might be given up on for the event of a run's end."""
        names = [each["FunctionName"] for each in self.local.client("lambda").list_functions()["Functions"]]
        self.local.faults.functions = {name for name in names if re.search(r"-\w+?Worker", name)}
        assert self.local.faults.functions

    def start(self, pipeline: str, items: int, plan: Plan | None = None, **given: Any) -> Run:
        """Start a run over so many items."""
        block, plan = secrets.randbelow(MOST_BLOCKS), {} if plan is None else plan
        (self.folder / f"{block}.plan").write_text(json.dumps({str(index): list(do) for index, do in plan.items()}))
        sent = {"number": items, "start": block * BLOCK, **given}
        name = f"{pipeline}-{block}"
        execution = self.local.start_execution(pipeline, sent, name=name)
        return Run(
            lab=self,
            block=block,
            items=items,
            plan=plan,
            execution=execution,
            prefix=f"{pipeline}/runs/{name}",
        )

    def run(self, pipeline: str, items: int, plan: Plan | None = None, **given: Any) -> Run:
        """Run so many items to the end."""
        return self.start(pipeline, items, plan, **given).wait()


def synthesize(folder: Path, pipelines: Mapping[str, Mapping[str, Any]]) -> None:
    """Synthesize pipelines by name, each with its arguments, over one bucket.

    Args:
        folder: Where the assembly goes, and the record of the workers.
        pipelines: The arguments of each beside what all have.
    """
    code, record = folder / "worker", folder / "record"
    code.mkdir()
    record.mkdir()
    (code / "handler.py").write_text(HANDLER.format(folder=str(record), block=BLOCK))
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Accounts")
    bucket = s3.Bucket(stack, "Bucket", bucket_name=BUCKET)
    for name, arguments in pipelines.items():
        options: dict[str, Any] = {
            "items": ItemSource.captured(Capture.ranges(start="$.start", number="$.number")),
            "worker": Worker.python(str(code), handler="handler.handler"),
            "state_machine_name": name,
            "payload_bucket": bucket,
            "payload_prefix": f"{name}/",
            **arguments,
        }
        if (seconds := options.pop("seconds", None)) is not None:
            timeout = cdk.Duration.seconds(seconds)
            options["worker"] = Worker.python(str(code), handler="handler.handler", timeout=timeout)
        if (nested := options.pop("nested", None)) is not None:
            chunk = nested.pop("items")
            options["items"] = ItemSource.captured(Capture.ranges(start="$.start", number="$.number", chunk=chunk))
            inner = ItemSource.captured(Capture.ranges(start="$.value.from", number=chunk))
            options["worker"] = Worker.nested(items=inner, worker=options["worker"], **nested)
        if options.pop("combines", False):
            options["combine"] = Combiner.python(str(code), handler="handler.combine")
        DistributedMapPipeline(stack, name, **options)
    app.synth()
    _wait_less(folder / "cdk.out")


def _wait_less(assembly: Path) -> None:
    """Have no account wait a minute of real time for what the engine never exports: nothing of a run that was stopped.

    A function's own clock is the real one, and so are its waits.
    """
    files = list(assembly.glob("asset.*/**/distmap/_account.py"))
    assert files
    for file in files:
        source = file.read_text()
        for name, value, less in (("_POLL_SECONDS", "5.0", "0.05"), ("_KILLED_SECONDS", "60.0", "0.5")):
            line = f"{name}: Final = {value}\n"
            assert line in source
            source = source.replace(line, f"{name}: Final = {less}\n")
        file.write_text(source)
