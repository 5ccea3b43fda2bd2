"""A fake of the Step Functions endpoint.

It speaks the service's own protocol over HTTP. It answers in pages, counts every call against the documented token
buckets, and can be slow, throttled, out of reach or behind. Its clock is the test's, so hours pass at once.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from tests.runs.fake_executions import ACCOUNT, EPOCH, Bucket, FakeExecution, FakeMap

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


FUNCTION = {"MemorySize": 512, "Timeout": 60, "Runtime": "python3.13", "Architectures": ["arm64"]}


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
        self.function_lines: list[tuple[float, str]] = []
        """What the log groups of functions hold, each with its time."""
        self.child_histories: dict[str, list[dict[str, Any]]] = {}
        """Histories of children, by ARN."""
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
                answer = json.dumps(FUNCTION if known else {}).encode()
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
        if asked["executionArn"] in self.child_histories:
            return self._page(self.child_histories[asked["executionArn"]], asked, "events")
        run = self._known(self.executions, asked["executionArn"], "ExecutionDoesNotExist")
        events = run.history[::-1] if asked.get("reverseOrder") else run.history
        return self._page(events, asked, "events")

    def _filter_log_events(self, asked: dict[str, Any]) -> dict[str, Any]:
        lines = self.function_lines
        if asked["logGroupName"] == "machine":
            lines = [(0.0, line) for line in self.log_lines]
        first, last = asked.get("startTime", 0), asked.get("endTime", 10**15)
        events = [
            {"timestamp": int((EPOCH + at) * 1000), "message": line, "logStreamName": "stream"} for at, line in lines
        ]
        return self._page([each for each in events if first <= each["timestamp"] <= last], asked, "events")

    def _known(self, where: dict[str, Any], arn: str, error: str) -> Any:
        if arn not in where:
            raise _RefusedError(error, f"{arn} does not exist")
        return where[arn]


_JSON = "application/x-amz-json-1.0"


class _RefusedError(Exception):
    pass
