"""A morning after: a run that failed in part, its retry two hours later, and the run of the day before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cdk_distributed_map.runs import Pipeline
from tests.runs.fake_executions import EPOCH, Clock
from tests.runs.fake_states import FakeStates

DAY = 86_400
EVIL = "<script>alert(1)</script>\u202eturned"
PLACE = "handler.py:14 in enrich"


def measures(seconds: list[float], slowest: int, *, memory: int = 210) -> dict[str, Any]:
    """What a batch measured whose items took so long."""
    found = sorted(seconds)
    number = len(found)
    return {
        "items": number,
        "seconds": round(sum(found), 3),
        "median": found[(number - 1) // 2],
        "p99": found[-(-number * 99 // 100) - 1],
        "most": found[-1],
        "slowest": str(slowest),
        "memoryMB": memory,
    }


def answer(items: list[tuple[int, Any]], bad: dict[int, str], **more: Any) -> dict[str, Any]:
    """What the runtime answers for a batch some of whose items failed."""
    return {
        "batchItemResults": [
            {"itemIdentifier": str(index), "result": index**2} for index, _ in items if index not in bad
        ],
        "batchItemFailures": [
            {
                "itemIdentifier": str(index),
                "error": "ValueError",
                "cause": cause,
                "place": PLACE,
                "traceback": f"Traceback (most recent call last):\n  {EVIL}\nValueError: {cause}",
            }
            for index, cause in bad.items()
        ],
        "batchItemsUnprocessed": [],
        **more,
    }


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + seconds, UTC)


def report_line(request: str, *, took: float, used: int, cold: float | None = None, status: str = "") -> str:
    """What Lambda writes at the end of an invocation."""
    init = f"Init Duration: {cold:.2f} ms\t" if cold is not None else ""
    return (
        f"REPORT RequestId: {request}\tDuration: {took:.2f} ms\tBilled Duration: {took + (cold or 0):.0f} ms\t"
        f"Memory Size: 512 MB\tMax Memory Used: {used} MB\t{init}{status}"
    )


def batch_line(run: str, request: str) -> str:
    """What the runtime writes for a batch."""
    return json.dumps({"level": "INFO", "message": "items processed", "requestId": request, "run": run})


def history(start: float) -> list[dict[str, Any]]:
    """What a child's history tells that was throttled twice, and once met an error of its own."""
    throttled, crashed = "Lambda.TooManyRequestsException", "Lambda.Unknown"
    types: list[tuple[float, str, str | None]] = [
        (0, "ExecutionStarted", None),
        (1, "TaskScheduled", None),
        (2, "TaskFailed", throttled),
        (10, "TaskScheduled", None),
        (11, "TaskFailed", throttled),
        (31, "TaskScheduled", None),
        (32, "TaskFailed", crashed),
        (40, "TaskScheduled", None),
        (58, "TaskSucceeded", None),
    ]
    return [
        {
            "id": number,
            "timestamp": EPOCH + start + offset,
            "type": kind,
            **({} if error is None else {"taskFailedEventDetails": {"resource": "invoke", "error": error}}),
        }
        for number, (offset, kind, error) in enumerate(types, start=1)
    ]


class Scene:
    """The runs, written as AWS writes them."""

    def __init__(self, states: FakeStates, clock: Clock, pipeline: Pipeline, files: Callable[..., Any]) -> None:
        self.states, self.clock, self.pipeline, self.files = states, clock, pipeline, files
        states.page_size = 1_000

    def play(self) -> None:
        self._run("monday", 0, seconds=300, bad={}, slow=1.0)
        self._run("tuesday", DAY, seconds=240, bad={3: "bad number 3", 14: f"bad number {EVIL}"}, slow=2.0)
        self._retry("tuesday-retry-1", DAY + 7_200)
        self.clock.now = DAY + 20_000

    def _run(self, name: str, start: int, *, seconds: int, bad: dict[int, str], slow: float) -> None:
        self.clock.now = start
        run = self.states.add_run(
            self.pipeline.arn, name, label="Squares", items=40, seconds=seconds, failed=len(bad), tolerance=50, batch=10
        )
        run.map.concurrency = 4  # type: ignore[union-attr] # it has one
        run.input = json.dumps({"number": 40, "chunk": 1})
        run.output = {"combined": {"total": 20_540, "note": EVIL}}
        writer = self.files(self.pipeline, name)
        writer.items([{"v": index, "name": f"{EVIL} {index}"} for index in range(40)])
        for number in range(4):
            items = [(index, {"v": index, "name": f"{EVIL} {index}"}) for index in range(number * 10, number * 10 + 10)]
            own = {index: cause for index, cause in bad.items() if index in dict(items)}
            times = [slow * (index % 10 + 1) / 2 for index, _ in items]
            child = answer(items, own, batchMeasures=measures(times, number * 10 + 9, memory=200 + number))
            writer.child(items, output=child, started=start + 20 + number * 10, seconds=60 + number * 20)
            request = f"{name}-{number}"
            took = 20_000 + number * 10_000
            self.states.function_lines += [
                (start + 40 + number, batch_line(name, request)),
                (start + 41 + number, report_line(request, took=took, used=300 + number * 60, cold=412.5)),
            ]
            if name == "tuesday" and number == 3:
                record = json.loads(writer.records["SUCCEEDED"][-1])
                self.states.child_histories[record["ExecutionArn"]] = history(start + 50)
        stopped = report_line(f"{name}-stopped", took=60_000, used=200, status="Status: timeout")
        self.states.function_lines.append((start + 100, stopped))
        another = report_line(f"{name}-of-another-run", took=60_000, used=200, status="Status: timeout")
        self.states.function_lines.append((start - 30, another))
        writer.write()

    def _retry(self, name: str, start: int) -> None:
        self.clock.now = start
        first = self.pipeline.run("tuesday")
        bucket, key = self.pipeline.definition.item_file.bucket, f"{first.prefix}retries/{name}/items.jsonl"
        items = [(index, {"v": index}) for index in (3, 14)]
        lines = "".join(json.dumps({"index": index, "value": value}) + "\n" for index, value in items)
        run = self.states.add_run(self.pipeline.arn, name, label="Squares", items=2, seconds=30)
        run.input = json.dumps({"items": {"bucket": bucket, "key": key, "count": 2, "enveloped": True}})
        writer = self.files(self.pipeline, name)
        writer.s3.put_object(Bucket=bucket, Key=key, Body=lines.encode())
        child = answer(items, {14: "bad number 14"}, batchMeasures=measures([0.5, 4.0], 14))
        writer.child(items, output=child, started=start + 5, seconds=20)
        writer.write()
        self.states.function_lines += [
            (start + 24, batch_line(name, "again")),
            (start + 25, report_line("again", took=19_000, used=180)),
        ]
