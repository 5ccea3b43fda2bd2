"""What the tests of the client share: a fake of the Step Functions endpoint, real definitions, and files of runs.

The fake speaks the service's own protocol over HTTP. It answers in pages, counts every call against the documented
token buckets, and can be slow, throttled, out of reach or behind. Its clock is the test's, so hours pass at once.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest

from cdk_distributed_map.runs import Client, Pipeline
from distmap.wire import Run as WireRun

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from cdk_distributed_map.local.server import LocalAws

ACCOUNT = "arn:aws:states:us-east-1:123456789012"
EPOCH = 1_795_000_000.0
# Calls at once and refill a second, https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
QUOTAS = {
    "DescribeMapRun": (200, 1),
    "ListMapRuns": (100, 1),
    "UpdateMapRun": (100, 1),
    "ListExecutions": (100, 2),
    "DescribeExecution": (250, 10),
    "DescribeStateMachine": (200, 20),
    "ListStateMachines": (100, 5),
    "StartExecution": (800, 150),
    "StopExecution": (500, 25),
    "RedriveExecution": (800, 150),
    "GetExecutionHistory": (400, 20),
}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bucket:
    """A token bucket as AWS documents it."""

    def __init__(self, size: float, refill: float) -> None:
        self.size, self.refill = size, refill
        self.tokens, self.at = float(size), 0.0
        self.lowest = float(size)

    def take(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.refill)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        self.lowest = min(self.lowest, self.tokens)
        return True


@dataclass
class FakeMap:
    """A Map Run that works through its items at a steady rate."""

    arn: str
    label: str
    total: int
    seconds: float
    failed: int = 0
    started: float = 0.0
    stopped: float | None = None
    batch: int = 1
    concurrency: int = 100
    tolerance: float = 0.0
    tolerated_count: int = 0
    redrives: int = 0

    def counts(self, now: float, *, per: int = 1) -> dict[str, int]:
        until = now if self.stopped is None else min(now, self.stopped)
        share = 1.0 if self.seconds == 0 else min(1.0, max(0.0, until - self.started) / self.seconds)
        total, failed = -(-self.total // per), -(-self.failed // per)
        done = int(total * share)
        bad = min(done, int(failed * share))
        running = min(total - done, 5) if self.stopped is None else 0
        return {
            "pending": total - done - running,
            "running": running,
            "succeeded": done - bad,
            "failed": bad,
            "timedOut": 0,
            "aborted": 0,
            "total": total,
            # Those that are pending are written too.
            "resultsWritten": total if share == 1 or self.stopped is not None else 0,
            "failuresNotRedrivable": 0,
            "pendingRedrive": 0,
        }

    def status(self, now: float) -> str:
        if self.stopped is not None:
            return "ABORTED"
        if now - self.started < self.seconds:
            return "RUNNING"
        allowed = max(self.tolerated_count, self.total * self.tolerance / 100)
        return "SUCCEEDED" if self.failed <= allowed else "FAILED"


@dataclass
class FakeExecution:
    """An execution, which ends with its map."""

    arn: str
    name: str
    machine: str
    input: str
    started: float
    map: FakeMap | None = None
    others: list[FakeMap] = field(default_factory=list)
    """Outermost maps beside the pipeline's, in a user's own state machine."""
    children: dict[str, list[FakeMap]] = field(default_factory=dict)
    output: Any = None
    ended: tuple[str, float] | None = None
    error: str | None = None
    redrivable: str = "REDRIVABLE"
    history: list[dict[str, Any]] = field(default_factory=list)

    def status(self, now: float) -> str:
        if self.ended is not None:
            return self.ended[0]
        return "RUNNING" if self.map is None else self.map.status(now)

    def stopped(self, now: float) -> float | None:
        if self.ended is not None:
            return self.ended[1]
        if self.map is None or self.status(now) == "RUNNING":
            return None
        return self.map.started + self.map.seconds


class FakeStates:
    """Step Functions, as much of it as a client sees; and CloudFormation's list of a stack's resources."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.epoch = EPOCH
        self.machines: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, FakeExecution] = {}
        self.stacks: dict[str, dict[str, str]] = {}
        self.buckets = {action: Bucket(*quota) for action, quota in QUOTAS.items()}
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.faults: deque[tuple[str, int, str]] = deque()
        """Action (or ``*``), HTTP status, error code: what the next calls meet. Status 0 drops the connection."""
        self.fault_message = "planted"
        self.denied: set[tuple[str, str]] = set()
        """Actions that are not allowed, each with a part of the ARN they are not allowed on."""
        self.log_lines: list[str] = []
        """What the log group of every state machine holds."""
        self.page_size = 2
        self.delay = 0.0
        self.on_start: Callable[[FakeExecution], None] | None = None
        self.on_redrive: Callable[[FakeExecution], None] | None = None
        self.lock = threading.RLock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # headers and body in one packet, or every answer waits for a delayed acknowledgement

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target = self.headers.get("X-Amz-Target", "")
                with fake.lock:
                    status, answer, kind = fake.answer(target, body)
                if fake.delay:
                    time.sleep(fake.delay)
                if status == 0:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_GET(self) -> None:
                # GetFunctionConfiguration is all that is asked for by GET.
                known = self.path.startswith("/2015-03-31/functions/") and self.path.endswith("/configuration")
                answer = json.dumps({"MemorySize": 512, "Architectures": ["arm64"]} if known else {}).encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # the base class's signature
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- the scene

    def add_machine(self, name: str, definition: str, *, stack: str | None = None, logical: str | None = None) -> str:
        arn = f"{ACCOUNT}:stateMachine:{name}"
        self.machines[arn] = {"name": name, "definition": definition}
        if stack is not None:
            self.stacks.setdefault(stack, {})[logical or name] = arn
        return arn

    def add_run(
        self,
        machine: str,
        name: str,
        *,
        label: str | None = None,
        items: int = 100,
        seconds: float = 60,
        failed: int = 0,
        input: Any = None,
        **options: Any,
    ) -> FakeExecution:
        arn = machine.replace(":stateMachine:", ":execution:") + f":{name}"
        run = FakeExecution(arn, name, machine, json.dumps({} if input is None else input), self.clock())
        if label is not None:
            run.map = FakeMap(
                machine.replace(":stateMachine:", ":mapRun:") + f"/{label}:{uuid.uuid4()}",
                label,
                items,
                seconds,
                failed,
                self.clock(),
                **options,
            )
        self.executions[arn] = run
        return run

    def maps(self) -> dict[str, FakeMap]:
        found = [run.map for run in self.executions.values() if run.map is not None]
        inner = [each for run in self.executions.values() for maps in run.children.values() for each in maps]
        others = [each for run in self.executions.values() for each in run.others]
        return {each.arn: each for each in [*found, *others, *inner]}

    # -- the protocol

    def answer(self, target: str, body: bytes) -> tuple[int, bytes, str]:
        if not target:
            return self._query(parse_qs(body.decode()))
        action = target.rpartition(".")[2]
        self.calls[action] += 1
        for fault in list(self.faults):
            if fault[0] in {action, "*"}:
                self.faults.remove(fault)
                return fault[1], json.dumps({"__type": fault[2], "message": self.fault_message}).encode(), _JSON
        if any(each == action and of in body.decode() for each, of in self.denied):
            return 400, b'{"__type":"AccessDeniedException","message":"not authorized"}', _JSON
        bucket = self.buckets.get(action)
        if bucket is not None and not bucket.take(self.clock()):
            self.throttled[action] += 1
            return 400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}', _JSON
        try:
            result = getattr(self, "_" + re.sub("(?<!^)(?=[A-Z])", "_", action).lower())(json.loads(body))
        except _RefusedError as refusal:
            return 400, json.dumps({"__type": refusal.args[0], "message": refusal.args[1]}).encode(), _JSON
        return 200, json.dumps(result).encode(), _JSON

    def _query(self, asked: dict[str, list[str]]) -> tuple[int, bytes, str]:
        assert asked["Action"] == ["ListStackResources"]
        stack = asked["StackName"][0]
        if stack not in self.stacks:
            error = f"<Code>ValidationError</Code><Message>Stack with id {stack} does not exist</Message>"
            return 400, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode(), "text/xml"
        rows = "".join(
            f"<member><LogicalResourceId>{logical}</LogicalResourceId><PhysicalResourceId>{arn}</PhysicalResourceId>"
            "<ResourceType>AWS::StepFunctions::StateMachine</ResourceType></member>"
            for logical, arn in self.stacks[stack].items()
        )
        text = (
            f"<ListStackResourcesResponse><ListStackResourcesResult><StackResourceSummaries>{rows}"
            "</StackResourceSummaries></ListStackResourcesResult></ListStackResourcesResponse>"
        )
        return 200, text.encode(), "text/xml"

    def _page(self, rows: list[Any], asked: dict[str, Any], name: str) -> dict[str, Any]:
        start = int(asked.get("nextToken", 0))
        size = min(self.page_size, asked.get("maxResults") or self.page_size)
        page: dict[str, Any] = {name: rows[start : start + size]}
        if start + size < len(rows):
            page["nextToken"] = str(start + size)
        return page

    def _list_state_machines(self, asked: dict[str, Any]) -> dict[str, Any]:
        rows = [
            {"stateMachineArn": arn, "name": machine["name"], "type": "STANDARD", "creationDate": EPOCH}
            for arn, machine in self.machines.items()
        ]
        return self._page(rows, asked, "stateMachines")

    def _describe_state_machine(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["stateMachineArn"]
        machine = self._known(self.machines, arn, "StateMachineDoesNotExist")
        logs = {"cloudWatchLogsLogGroup": {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:machine:*"}}
        return {
            "stateMachineArn": arn,
            "name": machine["name"],
            "definition": machine["definition"],
            "roleArn": "arn:aws:iam::123456789012:role/machine",
            "type": machine.get("type", "STANDARD"),
            "creationDate": EPOCH,
            "loggingConfiguration": {"destinations": [logs]},
        }

    def _start_execution(self, asked: dict[str, Any]) -> dict[str, Any]:
        machine = asked["stateMachineArn"]
        self._known(self.machines, machine, "StateMachineDoesNotExist")
        arn = machine.replace(":stateMachine:", ":execution:") + f":{asked['name']}"
        existing = self.executions.get(arn)
        if existing is not None:
            if existing.status(self.clock()) == "RUNNING" and existing.input == asked["input"]:
                return {"executionArn": arn, "startDate": EPOCH + existing.started}
            raise _RefusedError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        run = FakeExecution(arn, asked["name"], machine, asked["input"], self.clock())
        self.executions[arn] = run
        if self.on_start is not None:
            self.on_start(run)
        return {"executionArn": arn, "startDate": EPOCH + run.started}

    def _describe_execution(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._known(self.executions, asked["executionArn"], "ExecutionDoesNotExist")
        now = self.clock()
        status = run.status(now)
        answer = {
            "executionArn": run.arn,
            "stateMachineArn": run.machine,
            "name": run.name,
            "status": status,
            "startDate": EPOCH + run.started,
            "input": run.input,
            "redriveCount": 0,
            "redriveStatus": run.redrivable if status not in {"RUNNING", "SUCCEEDED"} else "NOT_REDRIVABLE",
        }
        stopped = run.stopped(now)
        if stopped is not None:
            answer["stopDate"] = EPOCH + stopped
        if status == "SUCCEEDED":
            answer["output"] = json.dumps(run.output)
        if status == "FAILED":
            answer["error"] = run.error or "States.ExceedToleratedFailureThreshold"
            answer["cause"] = "The specified tolerated failure threshold was exceeded"
        return answer

    def _list_executions(self, asked: dict[str, Any]) -> dict[str, Any]:
        now = self.clock()
        if "mapRunArn" in asked:
            parent = next(
                run for run in self.executions.values() if run.map is not None and run.map.arn == asked["mapRunArn"]
            )
            rows = [
                {
                    "executionArn": child,
                    "stateMachineArn": parent.machine,
                    "name": child.rpartition(":")[2],
                    "status": "RUNNING" if parent.status(now) == "RUNNING" else "SUCCEEDED",
                    "startDate": EPOCH + parent.started,
                    "mapRunArn": asked["mapRunArn"],
                }
                for child in parent.children
            ]
            return self._page(rows, asked, "executions")
        self._known(self.machines, asked["stateMachineArn"], "StateMachineDoesNotExist")
        rows = []
        for run in reversed(self.executions.values()):
            status = run.status(now)
            if run.machine != asked["stateMachineArn"] or asked.get("statusFilter", status) != status:
                continue
            stopped = run.stopped(now)
            rows.append(
                {
                    "executionArn": run.arn,
                    "stateMachineArn": run.machine,
                    "name": run.name,
                    "status": status,
                    "startDate": EPOCH + run.started,
                    **({} if stopped is None else {"stopDate": EPOCH + stopped}),
                }
            )
        return self._page(rows, asked, "executions")

    def _list_map_runs(self, asked: dict[str, Any]) -> dict[str, Any]:
        arn = asked["executionArn"]
        inner = [maps for run in self.executions.values() for child, maps in run.children.items() if child == arn]
        if inner:
            maps = inner[0]
        else:
            run = self._known(self.executions, arn, "ExecutionDoesNotExist")
            maps = [*([] if run.map is None else [run.map]), *run.others]
        maps = [each for each in maps if each.started <= self.clock()]
        rows = [
            {
                "executionArn": arn,
                "mapRunArn": each.arn,
                "stateMachineArn": arn.replace(":execution:", ":stateMachine:").rpartition(":")[0],
                "startDate": EPOCH + each.started,
            }
            for each in maps
        ]
        return self._page(rows, asked, "mapRuns")

    def _describe_map_run(self, asked: dict[str, Any]) -> dict[str, Any]:
        each = self._known(self.maps(), asked["mapRunArn"], "ResourceNotFound")
        now = self.clock()
        return {
            "mapRunArn": each.arn,
            "executionArn": f"{ACCOUNT}:execution:machine:run",
            "status": each.status(now),
            "startDate": EPOCH + each.started,
            "maxConcurrency": each.concurrency,
            "toleratedFailurePercentage": each.tolerance,
            "toleratedFailureCount": each.tolerated_count,
            "itemCounts": each.counts(now),
            "executionCounts": each.counts(now, per=each.batch),
            "redriveCount": each.redrives,
        }

    def _update_map_run(self, asked: dict[str, Any]) -> dict[str, Any]:
        each = self._known(self.maps(), asked["mapRunArn"], "ResourceNotFound")
        each.concurrency = asked.get("maxConcurrency", each.concurrency)
        each.tolerance = asked.get("toleratedFailurePercentage", each.tolerance)
        each.tolerated_count = asked.get("toleratedFailureCount", each.tolerated_count)
        return {}

    def _stop_execution(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._known(self.executions, asked["executionArn"], "ExecutionDoesNotExist")
        run.ended = ("ABORTED", self.clock())
        if run.map is not None:
            run.map.stopped = self.clock()
        return {"stopDate": EPOCH + self.clock()}

    def _redrive_execution(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._known(self.executions, asked["executionArn"], "ExecutionDoesNotExist")
        if run.status(self.clock()) in {"RUNNING", "SUCCEEDED"}:
            raise _RefusedError("ExecutionNotRedrivable", "Execution is not redrivable")
        run.ended = None
        if self.on_redrive is not None:
            self.on_redrive(run)
        return {"redriveDate": EPOCH + self.clock()}

    def _get_execution_history(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self._known(self.executions, asked["executionArn"], "ExecutionDoesNotExist")
        events = run.history[::-1] if asked.get("reverseOrder") else run.history
        return self._page(events, asked, "events")

    def _filter_log_events(self, asked: dict[str, Any]) -> dict[str, Any]:
        events = [
            {"timestamp": int(EPOCH * 1000), "message": line, "logStreamName": "stream"} for line in self.log_lines
        ]
        return {"events": events if asked["logGroupName"] == "machine" else []}

    def _known(self, where: dict[str, Any], arn: str, error: str) -> Any:
        if arn not in where:
            raise _RefusedError(error, f"{arn} does not exist")
        return where[arn]


_JSON = "application/x-amz-json-1.0"


class _RefusedError(Exception):
    pass


# -- files of runs, byte for byte as Step Functions writes them


class RunFiles:
    """Writes the files of one map run, as its ResultWriter would.

    A redrive's manifest names all files of successes that there are, and children that failed or are pending as this
    attempt left them: those that it didn't change are exported again.
    """

    def __init__(
        self,
        s3: S3Client,
        run: WireRun,
        *,
        machine: str = "Squares",
        label: str = "Squares",
        transformation: str = "NONE",
        output_type: str = "JSONL",
        map_run: str | None = None,
        part_records: int = 1000,
        express: bool = False,
        suffix: str | None = None,
    ) -> None:
        self.s3, self.run = s3, run
        self.transformation, self.output_type = transformation, output_type
        self.uuid = str(uuid.uuid4()) if map_run is None else map_run
        self.machine, self.label = f"{ACCOUNT}:stateMachine:{machine}/{label}", label
        self.map_run_arn = f"{ACCOUNT}:mapRun:{machine}/{label}:{self.uuid}"
        self.part_records, self.express = part_records, express
        self.suffix = output_type.lower() if suffix is None else suffix
        self.records: dict[str, list[str]] = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        self._tried: set[str] = set()
        """Inputs of the children in these records."""
        self._left: dict[str, list[str]] = {"FAILED": [], "PENDING": []}
        """Records of what the attempt before left."""
        self._succeeded: list[dict[str, Any]] = []

    @property
    def folder(self) -> str:
        return f"{self.run['prefix']}/results/{self.uuid}"

    def items(self, values: list[Any]) -> None:
        """Write the captured items."""
        body = "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)
        self.s3.put_object(Bucket=self.run["bucket"], Key=f"{self.run['prefix']}/items.jsonl", Body=body.encode())

    def input(self, items: list[tuple[int, Any]]) -> str:
        batch = {
            "BatchInput": {"distmap": {"run": self.run}},
            "Items": [{"index": index, "value": value} for index, value in items],
        }
        return json.dumps(batch, separators=(",", ":"))

    def child(
        self,
        items: list[tuple[int, Any]],
        status: str = "SUCCEEDED",
        *,
        output: Any = None,
        error: str | None = None,
        cause: str | None = None,
        seconds: float = 1.0,
        started: int = 0,
    ) -> None:
        """Add a child. A batch's output is that of the runtime, which the test gives or which squares nothing."""
        self.child_of(
            self.input(items),
            status,
            output=answer_of(items) if output is None else output,
            error=error,
            cause=cause,
            seconds=seconds,
            started=started,
        )

    def child_of(
        self,
        text: str,
        status: str = "SUCCEEDED",
        *,
        output: Any = None,
        error: str | None = None,
        cause: str | None = None,
        seconds: float = 1.0,
        started: int = 0,
    ) -> None:
        """Add a child by its input."""
        kind = status if status in {"SUCCEEDED", "PENDING"} else "FAILED"
        self._tried.add(text)
        if kind == "SUCCEEDED" and self.transformation != "NONE":
            self.records[kind].append(_dumps(output))
            return
        record: dict[str, Any] = {"Input": text, "InputDetails": {"Included": True}, "Status": status}
        if kind != "PENDING":
            record |= self._ran(started, seconds)
        if kind == "SUCCEEDED":
            record |= {"Output": _dumps(output)}
        elif kind == "FAILED" and status == "ABORTED" and error is None:
            record |= {
                "Cause": f"The map run execution [{self.map_run_arn}] which was managing this resource was aborted"
            }
        elif kind == "FAILED":
            record |= {"Cause": cause or "", "Error": error or "States.TaskFailed"}
        if not self.express and kind == "SUCCEEDED":
            reason = "Execution is SUCCEEDED and cannot be redriven"
            record |= {"RedriveStatus": "NOT_REDRIVABLE", "RedriveStatusReason": reason}
        elif not self.express and kind == "FAILED":
            record |= {"RedriveStatus": "REDRIVABLE_BY_MAP_RUN"}
        self.records[kind].append(_dumps(dict(sorted(record.items()))))

    def _ran(self, started: int, seconds: float) -> dict[str, Any]:
        """The fields of a child that ran, however it ended."""
        name = str(uuid.uuid4())
        of_map = self.map_run_arn.rpartition(":")[0]
        arn = f"{of_map.replace(':mapRun:', ':execution:')}:{name}"
        if self.express:
            arn = f"{of_map.replace(':mapRun:', ':express:')}:{name}:{uuid.uuid4()}"
        start, stop = (
            time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(EPOCH + at)) for at in (started, started + seconds)
        )
        return {
            "ExecutionArn": arn,
            "Name": name,
            "OutputDetails": {"Included": True},
            "RedriveCount": 0,
            "StartDate": start,
            "StateMachineArn": self.machine,
            "StopDate": stop,
        }

    def write(self, *, redrive: int = 0, manifest: bool = True, folder: str | None = None) -> str:
        """Write what was added, and return the manifest's key."""
        base = (self.folder if folder is None else folder) + (f"/Redrive-{redrive}" if redrive else "")
        if redrive:
            for status, left in self._left.items():
                self.records[status] += [each for each in left if json.loads(each)["Input"] not in self._tried]
        self._left = {status: list(self.records[status]) for status in ("FAILED", "PENDING")}
        files: dict[str, list[dict[str, Any]]] = {}
        for status, records in self.records.items():
            files[status] = []
            for number in range(0, len(records), self.part_records):
                part = records[number : number + self.part_records]
                body = (
                    "[" + ",".join(part) + "]" if self.output_type == "JSON" else "".join(f"{each}\n" for each in part)
                )
                key = f"{base}/{status}_{number // self.part_records}.{self.suffix}"
                self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=body.encode())
                files[status].append({"Key": key, "Size": len(body.encode())})
        self._succeeded += files["SUCCEEDED"]
        files["SUCCEEDED"] = list(self._succeeded)
        self.records = {"SUCCEEDED": [], "FAILED": [], "PENDING": []}
        self._tried = set()
        key = f"{base}/manifest.json"
        if manifest:
            text = {"DestinationBucket": self.run["bucket"], "MapRunArn": self.map_run_arn, "ResultFiles": files}
            self.s3.put_object(Bucket=self.run["bucket"], Key=key, Body=json.dumps(text).encode())
        return key


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def answer_of(
    items: list[tuple[int, Any]],
    *,
    failed: dict[int, tuple[str, str]] | None = None,
    unprocessed: list[int] | None = None,
) -> dict[str, Any]:
    """What the runtime answers for a batch."""
    bad, left = failed or {}, unprocessed or []
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": {"of": value}}
            for index, value in items
            if index not in bad and index not in left
        ],
        "batchItemFailures": [
            {"itemIdentifier": str(index), "error": error, "cause": cause} for index, (error, cause) in bad.items()
        ],
        "batchItemsUnprocessed": [str(index) for index in left],
    }


# -- fixtures


@pytest.fixture(scope="session")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Definitions of real pipelines, by name; the payload bucket reads ``payload`` in them."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import (
        Batching,
        Capture,
        DistributedMapPipeline,
        ItemShape,
        ItemSource,
        Results,
        Transformation,
        Worker,
    )
    from cdk_distributed_map.definition.check import parse

    code = tmp_path_factory.mktemp("code")
    (code / "handler.py").write_text(
        "from distmap import process_items\n\nhandler = process_items(lambda item: item)\n"
    )
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path_factory.mktemp("cdk.out")))
    stack = cdk.Stack(app, "Stack")
    data = s3.Bucket.from_bucket_name(stack, "Data", "data")
    payload = s3.Bucket.from_bucket_name(stack, "Payload", "payload")
    worker = Worker.python(str(code), handler="handler.handler")
    common: dict[str, Any] = {"payload_bucket": payload, "max_concurrency": 5}
    batched = Batching(max_items=10)
    made = {
        "Squares": DistributedMapPipeline(
            stack,
            "Squares",
            items=ItemSource.captured(Capture.ranges()),
            worker=worker,
            batching=batched,
            **common,
        ),
        "Listed": DistributedMapPipeline(
            stack,
            "Listed",
            items=ItemSource.s3_objects(data, prefix="in/"),
            worker=worker,
            batching=batched,
            tolerated_failure_percentage=5,
            payload_prefix="team a/",
            item_selector={"key.$": "$$.Map.Item.Value.Key"},
            results=Results(transformation=Transformation.COMPACT),
            **common,
        ),
        "Bare": DistributedMapPipeline(
            stack,
            "Bare",
            items=ItemSource.captured(Capture.ranges()),
            worker=Worker.states(lambda scope: sfn.Pass(scope, "Pass"), item_shape=ItemShape.BARE),
            **common,
        ),
        "Outer": DistributedMapPipeline(
            stack,
            "Outer",
            items=ItemSource.state_array("$.items"),
            worker=Worker.nested(items=ItemSource.state_array("$.value.parts"), worker=worker, max_concurrency=2),
            **common,
        ),
    }
    found = {}
    for name, pipeline in made.items():
        machine = pipeline.state_machine.node.default_child
        assert machine is not None
        text = cdk.Stack.of(machine).resolve(machine.definition_string)  # type: ignore[attr-defined] # a CfnStateMachine
        found[name] = json.dumps(parse(text))
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(clock: Clock) -> Iterator[FakeStates]:
    fake = FakeStates(clock)
    yield fake
    fake.close()


@pytest.fixture
def environment(states: FakeStates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment in which the client reaches the fake, and S3 where the test asks for it."""
    for name, value in {
        "AWS_ENDPOINT_URL_SFN": states.url,
        "AWS_ENDPOINT_URL_CLOUDFORMATION": states.url,
        "AWS_ENDPOINT_URL_LAMBDA": states.url,
        "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": states.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def client(environment: None) -> Iterator[Client]:
    made = Client()
    yield made
    made.aws.close()


@pytest.fixture
def s3(s3_endpoint: str, environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """A real S3 API, which the client under test uses too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    made = boto3.client("s3")
    yield made
    made.close()


@pytest.fixture
def bucket(s3: S3Client) -> str:
    name = f"payload-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def squares(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline of captured items in batches, with its bucket."""
    arn = states.add_machine("Squares", definitions["Squares"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


@pytest.fixture
def listed(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline over a listing, with an item selector, a tolerance, a payload prefix and compact results."""
    arn = states.add_machine("Listed", definitions["Listed"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


@pytest.fixture
def bare(client: Client, states: FakeStates, definitions: dict[str, str], bucket: str) -> Pipeline:
    """A pipeline whose children get single items without identity."""
    arn = states.add_machine("Bare", definitions["Bare"].replace('"payload"', f'"{bucket}"'))
    return client.pipeline(arn)


def wire_run(pipeline: Pipeline, name: str) -> WireRun:
    """What the states say of a run to its children."""
    run = pipeline.run(name)
    return {
        "id": run.arn,
        "name": name,
        "bucket": pipeline.definition.item_file.bucket,
        "prefix": run.prefix.removesuffix("/"),
        "path": "",
    }


@pytest.fixture
def files(s3: S3Client) -> Callable[..., RunFiles]:
    """Makes the writer of a run's files."""

    def make(pipeline: Pipeline, name: str, **options: Any) -> RunFiles:
        label = pipeline.definition.source.label
        return RunFiles(s3, wire_run(pipeline, name), machine=pipeline.name, label=label, **options)

    return make


@pytest.fixture
def distmap(
    engine: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command on the local AWS of the module; returns exit code and output."""
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SFN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)

    from cdk_distributed_map.cli import _show
    from cdk_distributed_map.cli._main import _run

    def run(*arguments: str) -> tuple[int, str]:
        _show.console.cache_clear()
        code = _run(list(arguments))
        return code, capsys.readouterr().out

    return run
