"""Distributed Map: what a redrive runs again, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

HEAD = "arn:aws:states:::aws-sdk:s3:headObject"


def heads(bucket: str) -> dict[str, Any]:
    """Return the states of a child that fails until there is an object named as its input."""
    arguments = {"Bucket": bucket, "Key": "{% $string($states.input) %}"}
    return {
        "Work": {"Type": "Task", "Resource": HEAD, "Arguments": arguments, "Output": "{% $states.input %}", "End": True}
    }


def redriven(bench: Bench, execution: str) -> dict[str, Any]:
    bench.sfn.redrive_execution(executionArn=execution)
    return bench.ended(execution)


def written(bench: Bench, output: str) -> dict[str, list[Any]]:
    """Return the inputs in each group of result files that a manifest names."""
    place = json.loads(output)["ResultWriterDetails"]
    manifest = json.loads(bench.body(place["Bucket"], place["Key"]))
    return {
        group: [
            json.loads(record["Input"])
            for file in files
            for record in json.loads(bench.body(place["Bucket"], file["Key"]))
        ]
        for group, files in manifest["ResultFiles"].items()
    }


def test_redrive_of_a_child_goes_on_with_its_own_map_run(bench: Bench) -> None:
    bucket = bench.bucket({"1": b""})
    inner = bench.mapped(heads(bucket), Items="{% $states.input %}", Label="Inner", MaxConcurrency=1)["States"]["Map"]
    found = bench.run(bench.mapped({"In": inner}), {"items": [[1, 2, 3]]})
    outer = bench.map_run(found["executionArn"])
    (child,) = bench.sfn.list_executions(mapRunArn=outer["mapRunArn"])["executions"]
    before = bench.map_run(child["executionArn"])
    assert before["itemCounts"]["succeeded"] == 1
    for key in "23":
        bench.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert json.loads(redriven(bench, found["executionArn"])["output"]) == [[1, 2, 3]]
    after = bench.map_run(child["executionArn"])
    assert after["mapRunArn"] == before["mapRunArn"]
    assert (after["status"], after["redriveCount"], after["itemCounts"]["succeeded"]) == ("SUCCEEDED", 1, 3)
    types = [event["type"] for event in bench.events(child["executionArn"])]
    assert types.count("MapRunStarted") == types.count("MapRunRedriven") == 1


def test_results_that_could_not_be_written_are_written_after_a_redrive(bench: Bench) -> None:
    bucket = bench.bucket()

    def work(event: Any) -> Any:
        for key in bench.keys(bucket):
            bench.s3.delete_object(Bucket=bucket, Key=key)
        bench.s3.delete_bucket(Bucket=bucket)
        return event

    bench.functions.handlers["deletes-bucket"] = work
    found = bench.run(bench.mapped(bench.task("deletes-bucket"), ResultWriter=bench.writer(bucket)), {"items": [1]})
    assert found["error"] == "States.ResultWriterFailed"
    bench.s3.create_bucket(Bucket=bucket)
    again = redriven(bench, found["executionArn"])
    assert written(bench, again["output"]) == {"FAILED": [], "PENDING": [], "SUCCEEDED": [1]}


def test_breach_is_the_error_though_the_results_can_not_be_written(bench: Bench) -> None:
    bucket = bench.bucket()

    def work(event: Any) -> Any:
        for key in bench.keys(bucket):
            bench.s3.delete_object(Bucket=bucket, Key=key)
        bench.s3.delete_bucket(Bucket=bucket)
        raise ValueError(event)

    bench.functions.handlers["deletes-and-fails"] = work
    made = bench.mapped(bench.task("deletes-and-fails"), ResultWriter=bench.writer(bucket))
    found = bench.run(made, {"items": [1]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    assert bench.map_run(found["executionArn"])["itemCounts"]["resultsWritten"] == 0


def test_stopped_run_keeps_its_children_and_writes_all_results_after_a_redrive(bench: Bench) -> None:
    go, begun = threading.Event(), threading.Event()

    def work(event: Any) -> Any:
        if event == 2:
            begun.set()
            go.wait(20)
        return event

    bench.functions.handlers["stopped-in-the-middle"] = work
    bucket = bench.bucket()
    made = bench.mapped(
        bench.task("stopped-in-the-middle"), MaxConcurrency=1, ResultWriter=bench.writer(bucket), Label="Kept"
    )
    execution = bench.start(made, {"items": [1, 2, 3]})
    assert begun.wait(20)
    bench.sfn.stop_execution(executionArn=execution)
    go.set()
    run = bench.map_run(execution)
    counts = run["itemCounts"]
    assert (counts["succeeded"], counts["aborted"], counts["pending"]) == (1, 1, 1)
    before = {each["executionArn"] for each in bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]}
    again = redriven(bench, execution)
    assert written(bench, again["output"]) == {"FAILED": [], "PENDING": [], "SUCCEEDED": [1, 2, 3]}
    after = {each["executionArn"] for each in bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]}
    assert before < after


def test_run_that_is_stopped_while_it_writes_ends_its_files_first(bench: Bench) -> None:
    bucket = bench.bucket()
    client = bench.engine.services.clients.client("s3")
    go, writing = threading.Event(), threading.Event()

    def slowly(params: dict[str, Any], **_rest: Any) -> None:
        if params["Bucket"] == bucket and "SUCCEEDED" in params["Key"]:
            writing.set()
            go.wait(20)

    client.meta.events.register("before-parameter-build.s3.PutObject", slowly)
    try:
        execution = bench.start(bench.mapped(ResultWriter=bench.writer(bucket)), {"items": [1, 2]})
        assert writing.wait(20)
        stops = [threading.Thread(target=lambda: bench.sfn.stop_execution(executionArn=execution)) for _ in range(3)]
        for stop in stops:
            stop.start()
        time.sleep(0.1)
        assert bench.sfn.describe_execution(executionArn=execution)["status"] == "RUNNING"
        go.set()
        for stop in stops:
            stop.join()
    finally:
        client.meta.events.unregister("before-parameter-build.s3.PutObject", slowly)
    assert bench.ended(execution)["status"] == "ABORTED"
    run = bench.map_run(execution)
    assert run["itemCounts"]["resultsWritten"] == 2
    key = f"out/{run['mapRunArn'].rsplit(':', 1)[-1]}/manifest.json"
    assert len(json.loads(bench.body(bucket, key))["ResultFiles"]["SUCCEEDED"]) == 1
    again = redriven(bench, execution)
    assert written(bench, again["output"]) == {"FAILED": [], "PENDING": [], "SUCCEEDED": [1, 2]}


def test_run_that_is_stopped_while_it_reads_goes_on_reading_after_a_redrive(bench: Bench) -> None:
    many = 20_000
    bucket = bench.bucket({"file": b"".join(b"%d\n" % at for at in range(many))})
    reader = bench.reader(bucket, "file", InputType="JSONL")
    batcher = {"MaxItemsPerBatch": 7}
    config = {"Transformation": "FLATTEN", "OutputType": "JSONL"}
    # Nothing is done, and so nothing exported, before the run is stopped.
    stopped = threading.Event()
    bench.functions.handlers["once stopped"] = lambda event: (stopped.wait(20), event["Items"])[1]
    writer = bench.writer(bucket, **config)
    inner = bench.task("once stopped")
    execution = bench.start(
        bench.mapped(inner, ItemReader=reader, ItemBatcher=batcher, ResultWriter=writer, MaxConcurrency=5)
    )
    while True:
        runs = bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]
        if runs and bench.map_run(execution)["itemCounts"]["total"]:
            break
        time.sleep(0.002)
    bench.sfn.stop_execution(executionArn=execution)
    stopped.set()
    before = bench.map_run(execution)["itemCounts"]
    again = redriven(bench, execution)
    place = json.loads(again["output"])["ResultWriterDetails"]
    files = json.loads(bench.body(bucket, place["Key"]))["ResultFiles"]["SUCCEEDED"]
    lines = b"".join(bench.body(bucket, file["Key"]) for file in files).split()
    assert [int(line) for line in lines] == list(range(many))
    assert bench.map_run(execution)["itemCounts"]["total"] == many >= before["total"]


def test_children_tell_that_they_were_redriven(bench: Bench) -> None:
    bucket = bench.bucket({"1": b""})
    found = bench.run(bench.mapped(heads(bucket), MaxConcurrency=1), {"items": [1, 2, 3, 4]})
    bench.s3.put_object(Bucket=bucket, Key="2", Body=b"")
    again = redriven(bench, found["executionArn"])
    assert again["error"] == "States.ExceedToleratedFailureThreshold"
    run = bench.map_run(found["executionArn"])["mapRunArn"]

    def listed(**filters: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = bench.sfn.list_executions(mapRunArn=run, **filters)["executions"]
        return found

    (child,) = listed(redriveFilter="REDRIVEN")
    described = bench.sfn.describe_execution(executionArn=child["executionArn"])
    assert described["input"] == "2"
    assert child["redriveCount"] == described["redriveCount"] == 1
    assert child["redriveDate"] == described["redriveDate"]
    others = listed(redriveFilter="NOT_REDRIVEN")
    assert {each["redriveCount"] for each in others} == {0}
    assert not any("redriveDate" in each for each in others)
    assert len(listed()) == len(others) + 1
    assert [each["status"] for each in listed(statusFilter="FAILED")] == ["FAILED"]


def test_redriven_executions_know_when(bench: Bench) -> None:
    bucket = bench.bucket()
    told = {
        "count": "{% $states.context.Execution.RedriveCount %}",
        "at": "{% $states.context.Execution.RedriveTime %}",
    }
    states = heads(bucket)
    states["Work"]["Output"] = told
    made = bench.mapped(states)
    made["States"]["Map"]["Output"] = {"children": "{% $states.result %}", "parent": told}
    found = bench.run(made, {"items": [1]})
    bench.s3.put_object(Bucket=bucket, Key="1", Body=b"")
    output = json.loads(redriven(bench, found["executionArn"])["output"])
    for each in (output["parent"], *output["children"]):
        assert each["count"] == 1
        assert each["at"].endswith("Z")


def test_child_that_waited_in_one_redrive_goes_on_in_the_next(bench: Bench) -> None:
    seen: list[str] = []
    go = threading.Event()
    bad = {1}

    def work(event: Any) -> Any:
        seen.append(f"{event['step']}{event['item']}")
        if event["step"] == "second":
            go.wait(20)
            if event["item"] in bad:
                raise ValueError("bad")
            if len(seen) <= 6:
                time.sleep(5)  # they are aborted meanwhile
        return event

    bench.functions.handlers["two-steps"] = work

    def step(name: str, **rest: Any) -> dict[str, Any]:
        payload = {"step": name, "item": "{% $states.input %}"}
        arguments = {"FunctionName": "two-steps", "Payload": payload}
        task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments}
        return {**task, "Output": "{% $states.input %}", **rest}

    states = {"First": step("first", Next="Second"), "Second": step("second", End=True)}
    execution = bench.start(bench.mapped(states, MaxConcurrency=3), {"items": [1, 2, 3]})
    while len(seen) < 6:
        time.sleep(0.002)
    # What is changed while it runs holds for the redrives too.
    run = bench.map_run(execution)["mapRunArn"]
    bench.sfn.update_map_run(mapRunArn=run, maxConcurrency=1)
    go.set()
    bench.ended(execution)
    assert bench.map_run(execution)["executionCounts"]["aborted"] == 2
    redriven(bench, execution)
    counts = bench.map_run(execution)["itemCounts"]
    assert (counts["failed"], counts["aborted"], counts["pending"], counts["pendingRedrive"]) == (1, 2, 0, 0)
    assert bench.sfn.list_executions(mapRunArn=run, statusFilter="PENDING_REDRIVE")["executions"] == []
    assert len(bench.sfn.list_executions(mapRunArn=run)["executions"]) == 3
    assert seen[6:] == ["second1"]
    bad.clear()
    assert redriven(bench, execution)["status"] == "SUCCEEDED"
    assert seen[7:] == ["second1", "second2", "second3"]
    assert bench.map_run(execution)["redriveCount"] == 2


def test_child_with_a_full_history_can_not_be_redriven(bench: Bench) -> None:
    loop = {
        "Count": {"Type": "Pass", "Output": "{% $states.input + 1 %}", "Next": "More"},
        "More": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input < 0 %}", "Next": "Out"}],
            "Default": "Count",
        },
        "Out": {"Type": "Succeed"},
    }
    found = bench.run(bench.mapped(loop), {"items": [1]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    again = redriven(bench, found["executionArn"])
    assert again["error"] == "States.ExceedToleratedFailureThreshold"
    counts = bench.map_run(found["executionArn"])["itemCounts"]
    assert (counts["failed"], counts["failuresNotRedrivable"], counts["pendingRedrive"]) == (1, 1, 0)


def test_map_whose_failure_was_caught_runs_anew_where_it_comes_round_again(bench: Bench) -> None:
    bucket = bench.bucket()
    made = bench.mapped(heads(bucket), Items="{% [1, 2] %}")
    state = made["States"]["Map"]
    del state["End"]
    wait = {"Bucket": bucket, "Key": "go"}
    made["States"] = {
        "Map": {**state, "Next": "Out", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Check"}]},
        "Check": {"Type": "Task", "Resource": HEAD, "Arguments": wait, "Next": "Map"},
        "Out": {"Type": "Succeed"},
    }
    found = bench.run(made)
    assert found["status"] == "FAILED"
    for key in ("1", "2", "go"):
        bench.s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert json.loads(redriven(bench, found["executionArn"])["output"]) == [1, 2]
    runs = bench.sfn.list_map_runs(executionArn=found["executionArn"])["mapRuns"]
    statuses = [bench.sfn.describe_map_run(mapRunArn=run["mapRunArn"])["status"] for run in runs]
    assert statuses == ["SUCCEEDED", "FAILED"]


def test_redrive_with_the_same_token_is_the_same_redrive(bench: Bench) -> None:
    bucket = bench.bucket()
    found = bench.run(bench.mapped(heads(bucket)), {"items": [1]})
    arn = found["executionArn"]
    first = bench.sfn.redrive_execution(executionArn=arn, clientToken="t")
    bench.ended(arn)
    second = bench.sfn.redrive_execution(executionArn=arn, clientToken="t")
    assert first["redriveDate"] == second["redriveDate"]
    assert bench.ended(arn)["redriveCount"] == 1


def test_fails_when_pending_redrives_are_asked_of_a_machine(bench: Bench) -> None:
    found = bench.run(bench.mapped(), {"items": []})
    with pytest.raises(bench.sfn.exceptions.ClientError, match="PENDING_REDRIVE needs a mapRunArn"):
        bench.sfn.list_executions(stateMachineArn=found["stateMachineArn"], statusFilter="PENDING_REDRIVE")


def test_map_runs_over_the_quota_wait(bench: Bench) -> None:
    runs = bench.engine.services.map_runs
    runs.slots, before = asyncio.Semaphore(2), runs.slots
    peak, running, lock = [0], [0], threading.Lock()

    def work(event: Any) -> Any:
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return event

    bench.functions.handlers["open"] = work
    inner = bench.mapped(bench.task("open"), Items="{% $states.input %}", Label="Inner")["States"]["Map"]
    try:
        # The outer run holds one of the two places.
        assert bench.output(bench.mapped({"In": inner}), {"items": [[1], [2], [3], [4]]}) == [[1], [2], [3], [4]]
    finally:
        runs.slots = before
    assert peak[0] == 1


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"], ids=["standard", "express"])
def test_output_that_is_nested_too_deeply_fails_its_child(bench: Bench, kind: str) -> None:
    deep = "[" * 2_500 + "]" * 2_500
    bucket = bench.bucket({"file": f"{deep}\n1\n".encode()})
    reader = bench.reader(bucket, "file", InputType="JSONL")
    found = bench.run(bench.mapped(kind=kind, ItemReader=reader, ToleratedFailureCount=1))
    assert found["status"] == "SUCCEEDED"
    counts = bench.map_run(found["executionArn"])["itemCounts"]
    assert (counts["succeeded"], counts["failed"]) == (1, 1)
