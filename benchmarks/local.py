"""The local engine: items per second beside ministack's own Step Functions, ten million items, and its start.

python benchmarks/local.py
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measure import Measured, machine, progress, run, table

from cdk_distributed_map.local.embedded.process import EmbeddedAws
from cdk_distributed_map.local.guardian import Guardian
from cdk_distributed_map.local.server import LocalAws

NAME = "benchmark"
BATCH = 100
CONCURRENCIES = (5, 100)
ASK_SECONDS = 0.1
CODE = """
def each(event, context):
    return event

def batch(event, context):
    return len(event["Items"])
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": ["lambda.amazonaws.com", "states.amazonaws.com"]},
            "Action": "sts:AssumeRole",
        },
    ],
}
ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

Client = Callable[[str], Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What a map runs on.

    Args:
        client: Gives clients of it.
        pid: Process of the embedded AWS.
    """

    client: Client
    pid: int


@contextmanager
def ours() -> Iterator[Endpoint]:
    """Start the local AWS as anybody would, IAM enforced and logs kept."""
    with LocalAws() as aws:
        yield Endpoint(client=aws.client, pid=aws.pids["aws"])


@contextmanager
def theirs() -> Iterator[Endpoint]:
    """Start the embedded AWS alone, whose own Step Functions and Lambda then do the work."""
    guardian = Guardian()
    with tempfile.TemporaryDirectory() as folder:
        aws = EmbeddedAws(guardian=guardian, scratch=Path(folder), iam=False)
        try:
            aws.start()
            yield Endpoint(client=aws.clients(), pid=aws.pid)
        finally:
            aws.stop()
            guardian.close()


def definition(function: str, *, concurrency: int, batched: bool) -> dict[str, Any]:
    """Return the map: a JSON file of items, a function for each; batched, with the results exported."""
    invoke = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "OutputPath": "$.Payload",
        "End": True,
    }
    state: dict[str, Any] = {
        "Type": "Map",
        "Label": "Benchmark",
        "MaxConcurrency": concurrency,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": NAME, "Key": "items.json"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "Invoke",
            "States": {"Invoke": invoke},
        },
        "End": True,
    }
    if batched:
        state["ItemBatcher"] = {"MaxItemsPerBatch": BATCH}
        state["ResultWriter"] = {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": NAME, "Prefix": "results"},
        }
    return {"StartAt": "Map", "States": {"Map": state}}


def prepare(client: Client, *, items: int, concurrency: int, batched: bool) -> str:
    """Put items, function and state machine in place and return the ARN of the latter."""
    client("s3").create_bucket(Bucket=NAME)
    # From a file: the memory that is measured is that of the engine, which is in this process.
    with tempfile.TemporaryFile() as file:
        for number in range(items):
            file.write(b'%b{"n":%d}' % (b"," if number else b"[", number))
        file.write(b"]")
        file.seek(0)
        client("s3").put_object(Bucket=NAME, Key="items.json", Body=file)
    role = client("iam").create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    client("iam").put_role_policy(RoleName=NAME, PolicyName="all", PolicyDocument=json.dumps(ALLOWED))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("app.py", CODE)
    function: str = client("lambda").create_function(
        FunctionName=NAME,
        Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
        Handler="app.batch" if batched else "app.each",
        Role=role,
        Timeout=60,
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]
    while client("lambda").get_function(FunctionName=NAME)["Configuration"]["State"] != "Active":
        time.sleep(0.05)
    # What is used for the first time takes its time once, not for each item: a function's process, the S3 API.
    client("lambda").invoke(FunctionName=NAME, Payload=b'{"Items": []}')
    with client("s3").get_object(Bucket=NAME, Key="items.json")["Body"] as body:
        body.read(1)
    arn: str = client("stepfunctions").create_state_machine(
        name=NAME, definition=json.dumps(definition(function, concurrency=concurrency, batched=batched)), roleArn=role
    )["stateMachineArn"]
    return arn


def check(client: Client, output: str, *, items: int, batched: bool) -> None:
    """Make sure that every item was run.

    Raises:
        SystemExit: It wasn't.
    """
    answer = json.loads(output)
    if batched:
        place = answer["ResultWriterDetails"]
        manifest = json.loads(client("s3").get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"].read())
        files = manifest["ResultFiles"]["SUCCEEDED"]
        bodies = [client("s3").get_object(Bucket=place["Bucket"], Key=file["Key"])["Body"].read() for file in files]
        done = sum(int(child["Output"]) for body in bodies for child in json.loads(body))
        right = done == items
    else:
        right = answer == [{"n": number} for number in range(items)]
    if not right:
        raise SystemExit(f"the map didn't run all of its {items} items: {output[:200]}")


def measure_map(what: str, *, items: int, concurrency: int, batched: bool) -> dict[str, float]:
    """Run a map and return how long it took, and the peak memory of both processes in MiB."""
    with ours() if what == "ours" else theirs() as endpoint:
        arn = prepare(endpoint.client, items=items, concurrency=concurrency, batched=batched)
        sfn = endpoint.client("stepfunctions")
        execution = sfn.start_execution(stateMachineArn=arn)["executionArn"]
        # Seldom, as to ask is work for what is measured, and in our case in the very same process.
        while (described := sfn.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(ASK_SECONDS)
        seconds = (described["stopDate"] - described["startDate"]).total_seconds()
        # Of this process, before it reads the results to check them.
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if described["status"] != "SUCCEEDED":
            raise SystemExit(f"{described['status']}: {described.get('error')}: {described.get('cause')}")
        check(endpoint.client, described["output"], items=items, batched=batched)
        return {"seconds": seconds, "engine": own, "aws": peak_mib(endpoint.pid)}


def peak_mib(pid: int) -> float:
    """Return the peak of a process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} doesn't tell its memory")


def measure_start() -> dict[str, float]:
    """Start and end the local AWS a few times and return the median of how long the start took."""
    took = []
    for _ in range(5):
        started = time.perf_counter()
        with LocalAws():
            took.append(time.perf_counter() - started)
    return {"seconds": statistics.median(took), "engine": 0.0, "aws": 0.0}


def apart(*arguments: str) -> Measured:
    """Measure in a process of its own, so that memory is that of one map.

    Raises:
        SystemExit: It failed.
    """
    progress(" ".join(arguments))
    measured = run([sys.executable, __file__, "--one", *arguments])
    if not measured.ok:
        raise SystemExit(f"{' '.join(arguments)} failed: {measured.said}")
    return measured


def one(what: str, items: int, concurrency: int, batched: str) -> None:
    """Measure one thing and print it as JSON."""
    if what == "start":
        answer = measure_start()
    else:
        answer = measure_map(what, items=items, concurrency=concurrency, batched=batched == "batched")
    sys.stdout.write(json.dumps(answer) + "\n")


def rates_of(items: int, concurrency: int, runs: int) -> list[str]:
    """Return a row of the table: both take turns, so that what else the machine does is the same for both."""
    found: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(runs):
        for what, rates in found.items():
            rates.append(items / apart(what, str(items), str(concurrency), "single").answer["seconds"])
    ours, theirs = statistics.median(found["ours"]), statistics.median(found["theirs"])
    spans = [f"{min(rates):,.0f} to {max(rates):,.0f}" for rates in (found["ours"], found["theirs"])]
    return [str(concurrency), f"{ours:,.0f} ({spans[0]})", f"{theirs:,.0f} ({spans[1]})", f"{ours / theirs:.1f}"]


def main() -> None:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2_000, help="items of the map without batches (%(default)s)")
    parser.add_argument("--many", type=int, default=10_000_000, help="items of the map with batches (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each map without batches (%(default)s)")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        what, items, concurrency, batched = given.one
        one(what, int(items), int(concurrency), batched)
        return
    rates = [rates_of(given.items, concurrency, given.runs) for concurrency in CONCURRENCIES]
    many = []
    for items in sorted({max(given.many // 10, 1), given.many}):
        found = apart("ours", str(items), str(CONCURRENCIES[-1]), "batched").answer
        memory = [f"{found['engine']:,.0f} MiB", f"{found['aws']:,.0f} MiB"]
        many.append([f"{items:,}", f"{found['seconds']:.1f} s", f"{items / found['seconds']:,.0f}", *memory])
    start = apart("start", "0", "0", "single").answer["seconds"]
    header = ["concurrency", "this engine, items/s", "ministack's own, items/s", "times"]
    parts = [
        machine(),
        f"{given.items:,} items of a JSON file, a function for each, medians of {given.runs} runs and their range, "
        "each in processes of its own after one invocation of the function:\n\n" + table(header, rates),
        f"Items in batches of {BATCH}, {CONCURRENCIES[-1]} at once, results exported:\n\n"
        + table(["items", "time", "items/s", "peak memory, engine", "peak memory, embedded AWS"], many),
        f"Start of the local AWS, median of 5: {start:.2f} s",
    ]
    sys.stdout.write("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
