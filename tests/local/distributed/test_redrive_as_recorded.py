"""Distributed Map: attempts that fail and redrives, step by step as AWS was recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local import Engine
from cdk_distributed_map.local.execution.services import NOT_ASSUMED, ConditionKeys

if TYPE_CHECKING:
    from tests.local.bench import Bench

START, REDRIVE = "states:StartExecution", "states:RedriveExecution"
COUNTS = ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten")
STUCK = ("failuresNotRedrivable", "pendingRedrive")


class _Role:
    """What the role may, which can be changed."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.assumed = True

    def check(self, role: str, action: str, resource: str, context: ConditionKeys) -> str | None:
        del role, context
        if not self.assumed:
            return NOT_ASSUMED
        return f"not authorized to perform: {action} on resource: {resource}" if action in self.denied else None


class _Scene:
    """A map over six items, two at once: the second fails while the third runs and before the last two have begun."""

    def __init__(self, bench: Bench, engine: Engine, role: _Role) -> None:
        self.bench, self.engine, self.role = bench, engine, role
        self.bucket = bench.bucket()
        self.broken = True
        self.ran: list[int] = []
        self._third = threading.Event()
        self.free = threading.Event()

    def work(self, event: int) -> int:
        self.ran.append(event)
        if not self.broken:
            return event
        if event == 1:
            self._third.wait(20)
            raise ValueError("missing")
        if event == 2:
            self._third.set()
            self.free.wait(20)
        return event

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.engine.call(action, parameters)
        return found

    def start(self, **fields: Any) -> str:
        self.bench.functions.handlers["recorded"] = self.work
        writer = self.bench.writer(self.bucket)
        made = self.bench.mapped(self.bench.task("recorded"), MaxConcurrency=2, ResultWriter=writer, **fields)
        machine = self.bench.machine(made)
        items = json.dumps({"items": [0, 1, 2, 3, 4]})
        execution: str = self.call("StartExecution", stateMachineArn=machine, input=items)["executionArn"]
        return execution

    def ended(self, execution: str) -> dict[str, Any]:
        while (found := self.call("DescribeExecution", executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.005)
        return found

    def redriven(self, execution: str) -> dict[str, Any]:
        self.call("RedriveExecution", executionArn=execution)
        return self.ended(execution)

    def map_run(self, execution: str) -> dict[str, Any]:
        (entry,) = self.call("ListMapRuns", executionArn=execution)["mapRuns"]
        return self.call("DescribeMapRun", mapRunArn=entry["mapRunArn"])

    def counts(self, execution: str) -> list[int]:
        found = self.map_run(execution)
        assert found["itemCounts"] == found["executionCounts"]
        return [found["itemCounts"][name] for name in (*COUNTS, *STUCK)]

    def statuses(self, execution: str) -> list[str]:
        run = self.map_run(execution)["mapRunArn"]
        return [each["status"] for each in self.call("ListExecutions", mapRunArn=run)["executions"]][::-1]

    def events(self, execution: str, after: int = 0) -> list[tuple[str, int]]:
        found = self.call("GetExecutionHistory", executionArn=execution)["events"]
        return [(event["type"], event["previousEventId"]) for event in found if event["id"] > after]

    def manifest(self, execution: str, folder: str = "") -> dict[str, list[dict[str, Any]]]:
        run = self.map_run(execution)["mapRunArn"].rsplit(":", 1)[-1]
        found: dict[str, Any] = json.loads(self.bench.body(self.bucket, f"out/{run}/{folder}manifest.json"))
        files: dict[str, list[dict[str, Any]]] = found["ResultFiles"]
        return files

    def bodies(self, files: list[dict[str, Any]]) -> list[bytes]:
        found = [self.bench.body(self.bucket, file["Key"]) for file in files]
        assert [len(body) for body in found] == [file["Size"] for file in files]
        return found


@pytest.fixture(scope="module")
def role() -> _Role:
    return _Role()


@pytest.fixture(scope="module")
def engine(bench: Bench, aws_url: str, role: _Role) -> Iterator[Engine]:
    with Engine(endpoint_url=aws_url, invoker=bench.functions, authorizer=role) as engine:
        yield engine


@pytest.fixture
def scene(bench: Bench, engine: Engine, role: _Role) -> Iterator[_Scene]:
    role.denied.clear()
    role.assumed = True
    scene = _Scene(bench, engine, role)
    yield scene
    scene.free.set()


@pytest.fixture
def failed(scene: _Scene) -> str:
    """An execution whose first attempt has failed."""
    execution = scene.start()
    assert scene.ended(execution)["error"] == "States.ExceedToleratedFailureThreshold"
    assert sorted(scene.ran) == [0, 1, 2]
    scene.free.set()
    scene.broken = False
    scene.ran.clear()
    return execution


def test_the_first_attempt_is_told_and_exported_as_recorded(scene: _Scene, failed: str) -> None:
    assert scene.counts(failed) == [2, 0, 1, 1, 0, 1, 5, 5, 0, 0]
    assert scene.map_run(failed)["redriveCount"] == 0
    assert scene.statuses(failed) == ["SUCCEEDED", "FAILED", "ABORTED"]
    files = scene.manifest(failed)
    (broken, aborted) = json.loads(scene.bodies(files["FAILED"])[0])
    assert (broken["Error"], broken["Status"]) == ("ValueError", "FAILED")
    run = scene.map_run(failed)["mapRunArn"]
    assert aborted["Cause"] == f"The map run execution [{run}] which was managing this resource was aborted"
    assert (aborted["Status"], "Error" in aborted, aborted["RedriveStatus"]) == (
        "ABORTED",
        False,
        "REDRIVABLE_BY_MAP_RUN",
    )
    pending = json.loads(scene.bodies(files["PENDING"])[0])
    assert [(sorted(record), record["Input"]) for record in pending] == [
        (["Input", "InputDetails", "Status"], "3"),
        (["Input", "InputDetails", "Status"], "4"),
    ]


def test_start_that_is_denied_fails_after_the_fact(scene: _Scene) -> None:
    scene.role.denied = {START}
    execution = scene.start()
    found = scene.ended(execution)
    assert found["error"] == "States.Runtime"
    assert found["cause"].startswith("Error contacting AWS Service. | Message from Service: not authorized to perform")
    assert scene.events(execution) == [
        ("ExecutionStarted", 0),
        ("MapStateEntered", 0),
        ("MapStateStarted", 2),
        ("MapRunStarted", 3),
        ("MapRunFailed", 4),
        ("MapStateFailed", 5),
        ("ExecutionFailed", 6),
    ]
    assert scene.counts(execution) == [5, 0, 0, 0, 0, 0, 5, 5, 0, 0]
    assert scene.statuses(execution) == []
    assert {kind: len(files) for kind, files in scene.manifest(execution).items()} == {
        "FAILED": 0,
        "PENDING": 1,
        "SUCCEEDED": 0,
    }
    scene.role.denied.clear()
    scene.broken = False
    assert scene.redriven(execution)["status"] == "SUCCEEDED"
    assert scene.map_run(execution)["redriveCount"] == 1


def test_start_that_is_denied_exports_all_that_is_read(scene: _Scene) -> None:
    lines = b"".join(b"%d\n" % at for at in range(3000))
    scene.bench.s3.put_object(Bucket=scene.bucket, Key="file", Body=lines)
    scene.role.denied = {START}
    execution = scene.start(ItemReader=scene.bench.reader(scene.bucket, "file", InputType="JSONL"))
    assert scene.ended(execution)["error"] == "States.Runtime"
    (body,) = scene.bodies(scene.manifest(execution)["PENDING"])
    assert len(json.loads(body)) == 3000


def test_role_that_can_not_be_assumed_makes_no_map_run(scene: _Scene) -> None:
    scene.role.assumed = False
    execution = scene.start()
    found = scene.ended(execution)
    assert found["error"] == "States.Runtime"
    assert "(entered at the event id #2). Failed to write a test manifest" in found["cause"]
    assert scene.call("ListMapRuns", executionArn=execution)["mapRuns"] == []
    assert scene.events(execution)[-2:] == [("MapStateStarted", 2), ("ExecutionFailed", 3)]
    assert scene.bench.keys(scene.bucket) == []


def test_redrives_go_on_with_the_same_map_run(scene: _Scene, failed: str) -> None:
    base = {key: scene.bench.body(scene.bucket, key) for key in scene.bench.keys(scene.bucket)}
    before = scene.map_run(failed)
    last = len(scene.events(failed))

    # The role can't be assumed: nothing is known of it but an event.
    scene.role.assumed = False
    assert scene.redriven(failed)["error"] == "States.Runtime"
    assert scene.events(failed, last) == [
        ("ExecutionRedriven", last),
        ("MapRunRedriven", 3),
        ("ExecutionFailed", last + 2),
    ]
    assert scene.map_run(failed) == before
    assert set(scene.bench.keys(scene.bucket)) == set(base)
    scene.role.assumed = True

    # It may not redrive: all is exported again, but for what had succeeded.
    last += 3
    scene.role.denied = {REDRIVE}
    found = scene.redriven(failed)
    assert found["error"] == "States.Runtime"
    assert "states:RedriveExecution on resource: arn:aws:states:us-east-1:000000000000:execution:" in found["cause"]
    assert scene.events(failed, last) == [
        ("ExecutionRedriven", last),
        ("MapRunRedriven", 3),
        ("MapRunFailed", last + 2),
        ("MapStateFailed", last + 3),
        ("ExecutionFailed", last + 4),
    ]
    assert scene.counts(failed) == [2, 0, 1, 1, 0, 1, 5, 5, 0, 0]
    assert scene.map_run(failed)["redriveCount"] == 2
    assert scene.statuses(failed) == ["SUCCEEDED", "FAILED", "ABORTED"]
    first, second = scene.manifest(failed), scene.manifest(failed, "Redrive-2/")
    for kind in ("FAILED", "PENDING"):
        assert ["/Redrive-2/" in file["Key"] for file in second[kind]] == [True]
        assert scene.bodies(second[kind]) == scene.bodies(first[kind])
    assert second["SUCCEEDED"][0] == first["SUCCEEDED"][0]
    assert scene.bodies(second["SUCCEEDED"][1:]) == [b"[]"]
    assert scene.ran == []

    # It may: only what had not succeeded runs.
    last += 5
    scene.role.denied.clear()
    found = scene.redriven(failed)
    assert json.loads(found["output"])["ResultWriterDetails"]["Key"].endswith("/Redrive-3/manifest.json")
    assert scene.events(failed, last) == [
        ("ExecutionRedriven", last),
        ("MapRunRedriven", 3),
        ("MapRunSucceeded", last + 2),
        ("MapStateSucceeded", last + 3),
        ("MapStateExited", last + 4),
        ("ExecutionSucceeded", last + 5),
    ]
    assert sorted(scene.ran) == [1, 2, 3, 4]
    assert scene.map_run(failed)["mapRunArn"] == before["mapRunArn"]
    assert scene.map_run(failed)["redriveCount"] == 3
    assert scene.counts(failed) == [0, 0, 5, 0, 0, 0, 5, 5, 0, 0]
    third = scene.manifest(failed, "Redrive-3/")
    assert (third["FAILED"], third["PENDING"], third["SUCCEEDED"][:2]) == ([], [], second["SUCCEEDED"])
    *earlier, newest = map(json.loads, scene.bodies(third["SUCCEEDED"]))
    assert [[record["Input"] for record in records] for records in earlier] == [["0"], []]
    dates = [(record["Input"], record["RedriveCount"], "RedriveDate" in record) for record in newest]
    assert dates == [("1", 1, True), ("2", 1, True), ("3", 0, False), ("4", 0, False)]
    assert {key: scene.bench.body(scene.bucket, key) for key in base} == base


def test_counts_are_the_old_ones_until_a_child_begins(scene: _Scene, failed: str) -> None:
    map_runs = scene.engine.services.map_runs
    before = map_runs.slots
    map_runs.slots = asyncio.Semaphore(0)
    # Nothing else is to do meanwhile, so the engine's time would skip to the end of all that waits.
    with scene.engine.services.clock.real():
        try:
            scene.call("RedriveExecution", executionArn=failed)
            while (found := scene.map_run(failed))["status"] != "RUNNING":
                time.sleep(0.002)
            assert found["redriveCount"] == 1
            assert scene.counts(failed) == [2, 0, 1, 1, 0, 1, 5, 5, 0, 0]
            assert scene.statuses(failed) == ["SUCCEEDED", "PENDING_REDRIVE", "PENDING_REDRIVE"]
            run = found["mapRunArn"]
            listed = scene.call("ListExecutions", mapRunArn=run, statusFilter="PENDING_REDRIVE")["executions"]
            assert [each["redriveCount"] for each in listed] == [0, 0]
            assert scene.call("ListExecutions", mapRunArn=run, statusFilter="FAILED")["executions"] == []
        finally:
            # A semaphore is of one loop.
            scene.engine._loop.call_soon_threadsafe(map_runs.slots.release)  # noqa: SLF001 - the engine's own
            scene.ended(failed)
            map_runs.slots = before


def test_results_written_are_none_while_a_redrive_runs(scene: _Scene, failed: str) -> None:
    held, begun = threading.Event(), threading.Event()

    def work(event: int) -> int:
        begun.set()
        held.wait(20)
        return event

    scene.bench.functions.handlers["recorded"] = work
    scene.call("RedriveExecution", executionArn=failed)
    assert begun.wait(20)
    while (found := scene.counts(failed))[1] != 2:
        time.sleep(0.002)
    assert found == [2, 2, 1, 0, 0, 0, 5, 0, 0, 0]
    held.set()
    assert scene.ended(failed)["status"] == "SUCCEEDED"


def test_redriven_children_do_not_enter_their_state_again(scene: _Scene, failed: str) -> None:
    scene.redriven(failed)
    run = scene.map_run(failed)["mapRunArn"]
    (child,) = [
        each["executionArn"]
        for each in scene.call("ListExecutions", mapRunArn=run, redriveFilter="REDRIVEN")["executions"]
        if scene.call("DescribeExecution", executionArn=each["executionArn"])["input"] == "1"
    ]
    assert scene.events(child) == [
        ("ExecutionStarted", 0),
        ("TaskStateEntered", 0),
        ("TaskScheduled", 2),
        ("TaskStarted", 3),
        ("TaskFailed", 4),
        ("ExecutionFailed", 5),
        ("ExecutionRedriven", 6),
        ("TaskScheduled", 2),
        ("TaskStarted", 8),
        ("TaskSucceeded", 9),
        ("TaskStateExited", 10),
        ("ExecutionSucceeded", 11),
    ]


def test_pending_items_need_no_right_to_redrive(scene: _Scene) -> None:
    scene.role.denied = {START}
    execution = scene.start()
    scene.ended(execution)
    scene.broken = False
    scene.role.denied = {REDRIVE}
    assert scene.redriven(execution)["status"] == "SUCCEEDED"


def histories(bench: Bench, states: dict[str, Any], *, first: str, stop: bool = False) -> list[tuple[str, int]]:
    """Return the events of an execution that fails, or is stopped, and is redriven once."""
    # In its own time, what waits would have waited before it can be stopped.
    with bench.engine.services.clock.real() if stop else contextlib.nullcontext():
        execution = bench.start({"QueryLanguage": "JSONata", "StartAt": first, "States": states})
        if stop:
            while bench.events(execution)[-1]["type"] != "WaitStateEntered":
                time.sleep(0.002)
            bench.sfn.stop_execution(executionArn=execution)
    bench.ended(execution)
    bench.sfn.redrive_execution(executionArn=execution)
    bench.ended(execution)
    return [(event["type"], event["previousEventId"]) for event in bench.events(execution)]


def test_fail_state_is_not_entered_again(bench: Bench) -> None:
    assert histories(bench, {"F": {"Type": "Fail", "Error": "E"}}, first="F") == [
        ("ExecutionStarted", 0),
        ("FailStateEntered", 0),
        ("ExecutionFailed", 2),
        ("ExecutionRedriven", 3),
        ("ExecutionFailed", 4),
    ]


def once_broken(bench: Bench, name: str) -> dict[str, Any]:
    """Return the states of a task that fails when it is first called with 1."""
    seen: list[Any] = []

    def work(event: Any) -> Any:
        seen.append(event)
        if event == 1 and seen.count(1) == 1:
            raise ValueError("broken")
        return event

    bench.functions.handlers[name] = work
    return bench.task(name)


def test_parallel_goes_on_in_the_branches_that_have_not_ended(bench: Bench) -> None:
    quick = {"StartAt": "Q", "States": {"Q": {"Type": "Pass", "End": True}}}
    broken = {"StartAt": "Work", "States": once_broken(bench, "in-parallel")}
    both = {"Type": "Parallel", "Branches": [quick, broken], "Arguments": 1, "End": True}
    found = histories(bench, {"Both": both}, first="Both")
    again = found[[kind for kind, _ in found].index("ExecutionRedriven") + 1 :]
    entered = [number for number, (kind, _) in enumerate(found, 1) if kind == "TaskStateEntered"]
    assert [kind for kind, _ in again] == [
        *("TaskScheduled", "TaskStarted", "TaskSucceeded", "TaskStateExited"),
        *("ParallelStateSucceeded", "ParallelStateExited", "ExecutionSucceeded"),
    ]
    assert again[0][1] == entered[0]


def test_inline_map_goes_on_in_the_iterations_that_have_not_ended(bench: Bench) -> None:
    processor = {"StartAt": "Work", "States": once_broken(bench, "in-inline-map")}
    each = {"Type": "Map", "Items": [0, 1, 2], "MaxConcurrency": 1, "ItemProcessor": processor, "End": True}
    found = histories(bench, {"Each": each}, first="Each")
    again = [kind for kind, _ in found[[kind for kind, _ in found].index("ExecutionRedriven") + 1 :]]
    task = ["TaskScheduled", "TaskStarted", "TaskSucceeded", "TaskStateExited", "MapIterationSucceeded"]
    assert again == [
        *task,
        *("MapIterationStarted", "TaskStateEntered", *task),
        *("MapStateSucceeded", "MapStateExited", "ExecutionSucceeded"),
    ]


def test_wait_begins_anew_without_being_entered(bench: Bench) -> None:
    found = histories(bench, {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}, first="W", stop=True)
    assert found[1] == ("WaitStateEntered", 0)
    assert found[2:] == [
        ("ExecutionAborted", 0),
        ("ExecutionRedriven", 3),
        ("WaitStateExited", 2),
        ("ExecutionSucceeded", 5),
    ]


def test_state_knows_when_it_was_first_entered(bench: Bench) -> None:
    states = once_broken(bench, "knows-when")
    states["Work"]["Arguments"]["Payload"] = 1
    states["Work"]["Output"] = "{% $states.context.State %}"
    execution = bench.start({"QueryLanguage": "JSONata", "StartAt": "Work", "States": states})
    bench.ended(execution)
    bench.sfn.redrive_execution(executionArn=execution)
    found = json.loads(bench.ended(execution)["output"])
    entered = next(each for each in bench.events(execution) if each["type"] == "TaskStateEntered")["timestamp"]
    assert found["EnteredTime"] == entered.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert found["RetryCount"] == 0
