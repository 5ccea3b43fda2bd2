"""Distributed Map: batches, children, concurrency, tolerance, times."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local.execution.clock import GRACE_SECONDS

if TYPE_CHECKING:
    from tests.local.bench import Bench

ROWS = [{"n": "1"}, {"n": "2"}, {"n": "3"}]
JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)

# -- batches


def test_batches_have_exactly_two_keys(bench: Bench) -> None:
    batcher = {"MaxItemsPerBatch": 2, "BatchInput": {"run": "{% $states.context.Execution.Name %}"}}
    found = bench.run(bench.mapped(ItemBatcher=batcher), {"items": [1, 2, 3]})
    run = {"run": found["name"]}
    assert found["output"] == json.dumps(
        [{"BatchInput": run, "Items": [1, 2]}, {"BatchInput": run, "Items": [3]}], separators=(",", ":")
    )


def test_batch_without_batch_input_has_items_only(bench: Bench) -> None:
    assert bench.output(bench.mapped(ItemBatcher={"MaxItemsPerBatch": 5}), {"items": [1]}) == [{"Items": [1]}]


def test_bytes_close_a_batch(bench: Bench) -> None:
    made = bench.mapped(ItemBatcher={"MaxInputBytesPerBatch": 40})
    output = bench.output(made, {"items": ["x" * 8] * 7})
    assert [len(batch["Items"]) for batch in output] == [2, 2, 2, 1]
    assert max(len(json.dumps(batch, separators=(",", ":"))) for batch in output) <= 40


def test_batches_stop_at_256_kib(bench: Bench) -> None:
    bucket = bench.bucket({"file": b"".join(b'"%s"\n' % (b"x" * 100_000) for _ in range(5))})
    inner = {"Each": {"Type": "Pass", "Output": "{% $count($states.input.Items) %}", "End": True}}
    made = bench.mapped(
        inner, ItemReader=bench.reader(bucket, "file", InputType="JSONL"), ItemBatcher={"MaxItemsPerBatch": 9}
    )
    assert bench.output(made) == [2, 2, 1]


def test_fails_when_an_item_fits_no_batch(bench: Bench) -> None:
    made = bench.mapped(ItemBatcher={"MaxInputBytesPerBatch": 30})
    found = bench.run(made, {"items": ["x" * 30]})
    assert found["error"] == "States.DataLimitExceeded"


# -- what children are called


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"], ids=["standard", "express"])
def test_children_have_labelled_arns(bench: Bench, kind: str) -> None:
    found = bench.run(bench.mapped(kind=kind), {"items": [{"a": 1}, {"a": 2}]})
    run = bench.map_run(found["executionArn"])
    name = found["stateMachineArn"].rsplit(":", 1)[-1]
    assert f":mapRun:{name}/Each:" in run["mapRunArn"]
    children = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert len(children) == 2
    for child in children:
        described = bench.sfn.describe_execution(executionArn=child["executionArn"])
        kind_in_arn = "express" if kind == "EXPRESS" else "execution"
        assert f":{kind_in_arn}:{name}/Each:" in child["executionArn"]
        assert described["stateMachineArn"] == f"{found['stateMachineArn']}/Each"
        assert described["mapRunArn"] == run["mapRunArn"]
        assert described["output"] == described["input"]
    if kind == "STANDARD":
        types = [event["type"] for event in bench.events(children[0]["executionArn"])]
        assert types == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    else:
        with pytest.raises(bench.sfn.exceptions.InvalidArn):
            bench.events(children[0]["executionArn"])


def test_maps_nest(bench: Bench) -> None:
    inner = bench.mapped(Items="{% $states.input %}")["States"]["Map"]
    outer = bench.mapped({"Inner": {**inner, "Label": "Inner"}})
    found = bench.run(outer, {"items": [[1, 2], [3]]})
    assert json.loads(found["output"]) == [[1, 2], [3]]
    run = bench.map_run(found["executionArn"])
    child = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"][0]
    assert "/Inner:" in bench.map_run(child["executionArn"])["mapRunArn"]


# -- concurrency


@pytest.mark.parametrize("most", [1, 3], ids=["one", "three"])
def test_concurrency_never_exceeds_its_bound(bench: Bench, most: int) -> None:
    running, peak, lock = [0], [0], threading.Lock()

    def work(event: Any) -> Any:
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1
        return event

    bench.functions.handlers["counted"] = work
    made = bench.mapped(bench.task("counted"), MaxConcurrency="{% $states.input.most %}")
    assert bench.output(made, {"items": list(range(12)), "most": most}) == list(range(12))
    assert peak[0] == most


def test_concurrency_can_be_raised_while_running(bench: Bench) -> None:
    enough = threading.Barrier(3, timeout=20)

    def meet(_event: Any) -> int:
        return enough.wait()

    bench.functions.handlers["meets"] = meet
    execution = bench.start(bench.mapped(bench.task("meets"), MaxConcurrency=1), {"items": [1, 2, 3]})
    while not bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]:
        time.sleep(0.01)
    run = bench.map_run(execution)
    bench.sfn.update_map_run(mapRunArn=run["mapRunArn"], maxConcurrency=3)
    assert sorted(json.loads(bench.ended(execution)["output"])) == [0, 1, 2]
    assert bench.map_run(execution)["maxConcurrency"] == 3


# -- tolerance


def test_first_failure_breaches_without_tolerance(bench: Bench) -> None:
    bench.functions.handlers["fails"] = bench.failing_on(2)
    bucket = bench.bucket()
    made = bench.mapped(bench.task("fails"), MaxConcurrency=1, ResultWriter=bench.writer(bucket))
    found = bench.run(made, {"items": [1, 2, 3, 4]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    assert found["cause"] == "The specified tolerated failure threshold was exceeded"
    run = bench.map_run(found["executionArn"])
    assert run["status"] == "FAILED"
    counts = run["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["pending"], counts["total"]) == (1, 1, 2, 4)
    names = sorted(key.rsplit("/", 1)[-1] for key in bench.keys(bucket))
    assert names == ["FAILED_0.json", "PENDING_0.json", "SUCCEEDED_0.json", "manifest.json"]
    pending = next(key for key in bench.keys(bucket) if "PENDING" in key)
    assert json.loads(bench.body(bucket, pending)) == [
        {"Input": str(item), "InputDetails": {"Included": True}, "Status": "PENDING"} for item in (3, 4)
    ]


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 1}, "FAILED"),
        ({"ToleratedFailurePercentage": 20}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 19.9}, "FAILED"),
        ({"ToleratedFailureCount": 1, "ToleratedFailurePercentage": 50}, "FAILED"),
    ],
    ids=["count", "count-breached", "share", "share-breached", "either"],
)
def test_a_map_fails_beyond_its_tolerance(bench: Bench, tolerance: dict[str, Any], status: str) -> None:
    bench.functions.handlers["fails"] = bench.failing_on(1, 2)
    found = bench.run(bench.mapped(bench.task("fails"), **tolerance), {"items": list(range(10))})
    assert found["status"] == status


def test_failed_batch_counts_all_its_items(bench: Bench) -> None:
    def work(event: Any) -> Any:
        return bench.failing_on(1)(event["Items"][0])

    bench.functions.handlers["fails-batch"] = work
    made = bench.mapped(bench.task("fails-batch"), ItemBatcher={"MaxItemsPerBatch": 4}, ToleratedFailureCount=3)
    found = bench.run(made, {"items": [1, 2, 3, 4, 5]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    assert bench.map_run(found["executionArn"])["itemCounts"]["failed"] == 4


def test_breach_aborts_running_standard_children(bench: Bench) -> None:
    go = threading.Event()

    def work(event: Any) -> Any:
        if event == 0:
            raise ValueError("bad")
        go.wait(20)
        return event

    bench.functions.handlers["hangs"] = work
    found = bench.run(bench.mapped(bench.task("hangs"), MaxConcurrency=3), {"items": [1, 2, 0, 3]})
    go.set()
    counts = bench.map_run(found["executionArn"])["executionCounts"]
    assert (counts["failed"], counts["aborted"], counts["pending"]) == (1, 2, 1)


# -- stopping, times


def test_stop_aborts_the_map_run(bench: Bench) -> None:
    go = threading.Event()

    def work(event: Any) -> Any:
        go.wait(20)
        return event

    bench.functions.handlers["stopped"] = work
    execution = bench.start(bench.mapped(bench.task("stopped")), {"items": [1, 2]})
    while not (runs := bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]):
        time.sleep(0.01)
    bench.sfn.stop_execution(executionArn=execution, error="Enough", cause="of it")
    found = bench.ended(execution)
    go.set()
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Enough", "of it")
    assert bench.sfn.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["status"] == "ABORTED"
    types = [event["type"] for event in bench.events(execution)]
    assert types[-3:] == ["MapRunAborted", "MapStateAborted", "ExecutionAborted"]


def test_express_children_have_five_minutes(bench: Bench) -> None:
    inner = {"Long": {"Type": "Wait", "Seconds": 301, "End": True}}
    found = bench.run(bench.mapped(inner, kind="EXPRESS", ToleratedFailurePercentage=100), {"items": [1]})
    assert bench.map_run(found["executionArn"])["executionCounts"]["timedOut"] == 1


def test_hours_of_waiting_pass_at_once(bench: Bench) -> None:
    inner = {"Long": {"Type": "Wait", "Seconds": 36_000, "End": True}}
    began = time.monotonic()
    found = bench.run(bench.mapped(inner, MaxConcurrency=1), {"items": list(range(24))})
    assert found["stopDate"].timestamp() - found["startDate"].timestamp() >= 24 * 36_000
    assert time.monotonic() - began < 3_600


# -- JSONPath


def test_fields_of_a_map_may_be_json_paths(bench: Bench) -> None:
    bucket = bench.bucket({"file": JSONL})
    state = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSONL", "MaxItemsPath": "$.most"},
            "Parameters": {"Bucket": bucket, "Key.$": "$.key"},
        },
        "ItemSelector": {"row.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "run.$": "$.run"},
        "ItemBatcher": {"MaxItemsPerBatchPath": "$.batch", "BatchInput": {"run.$": "$.run"}},
        "MaxConcurrencyPath": "$.batch",
        "ToleratedFailurePercentagePath": "$.most",
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": {"Bucket": bucket, "Prefix.$": "$.run"},
        },
        "ResultSelector": {"key.$": "$.ResultWriterDetails.Key"},
        "ResultPath": "$.results",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "Each",
            "States": {"Each": {"Type": "Pass", "End": True}},
        },
        "End": True,
    }
    given = {"most": 3, "key": "file", "batch": 2, "run": "r1"}
    output = bench.output({"StartAt": "Map", "States": {"Map": state}}, given)
    assert {key: output[key] for key in given} == given
    assert output["results"]["key"].startswith("r1/")
    (file,) = json.loads(bench.body(bucket, output["results"]["key"]))["ResultFiles"]["SUCCEEDED"]
    inputs = [json.loads(record["Input"]) for record in json.loads(bench.body(bucket, file["Key"]))]
    assert [len(each["Items"]) for each in inputs] == [2, 1]
    assert inputs[0]["BatchInput"] == {"run": "r1"}
    assert inputs[1]["Items"] == [{"row": ROWS[2], "at": 2, "run": "r1"}]


def test_tolerance_can_be_raised_while_running(bench: Bench) -> None:
    raised = threading.Event()

    def work(event: Any) -> Any:
        raised.wait(20)
        if event:
            raise ValueError("bad")
        return event

    bench.functions.handlers["tolerated"] = work
    execution = bench.start(bench.mapped(bench.task("tolerated")), {"items": [0, 1, 1]})
    while not (runs := bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]):
        time.sleep(0.01)
    bench.sfn.update_map_run(mapRunArn=runs[0]["mapRunArn"], toleratedFailureCount=2)
    raised.set()
    assert bench.ended(execution)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(("kind", "rate"), [("STANDARD", 100), ("EXPRESS", 1_000)], ids=["standard", "express"])
def test_children_start_no_faster_than_on_aws_where_asked(bench: Bench, kind: str, rate: int) -> None:
    bench.engine.services.dispatch_rates = True
    try:
        found = bench.run(bench.mapped(kind=kind), {"items": list(range(301))})
    finally:
        bench.engine.services.dispatch_rates = False
    # The clock wakes whoever is due within a blink, and dates are cut to milliseconds.
    assert found["stopDate"].timestamp() - found["startDate"].timestamp() >= 300 / rate - 2 * GRACE_SECONDS


def test_batched_input_of_a_child_is_kept_to_the_byte(bench: Bench) -> None:
    found = bench.run(bench.mapped(ItemBatcher={"MaxItemsPerBatch": 2}), {"items": ["é", {"a": 1.5}]})
    run = bench.map_run(found["executionArn"])
    (child,) = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert child["itemCount"] == 2
    described = bench.sfn.describe_execution(executionArn=child["executionArn"])
    assert described["input"] == '{"Items":["é",{"a":1.5}]}'


@pytest.mark.parametrize(("kind", "times"), [("EXPRESS", 2), ("STANDARD", 1)])
def test_express_children_run_twice_on_request(bench: Bench, kind: str, times: int) -> None:
    seen: list[int] = []

    def work(event: Any) -> Any:
        seen.append(event)
        return event

    bench.functions.handlers["counted"] = work
    bench.engine.services.faults.express_duplicate = 1.0
    try:
        found = bench.run(bench.mapped(bench.task("counted"), kind=kind), {"items": [1, 2, 3]})
    finally:
        bench.engine.services.faults.express_duplicate = 0.0
    assert json.loads(found["output"]) == [1, 2, 3]
    assert sorted(seen) == sorted([1, 2, 3] * times)
    assert bench.map_run(found["executionArn"])["itemCounts"]["succeeded"] == 3


@pytest.mark.parametrize("duplicate", [0.0, 1.0], ids=["once", "twice"])
def test_express_child_that_runs_twice_ends_as_one(bench: Bench, duplicate: float) -> None:
    made = bench.mapped({"Rest": {"Type": "Wait", "Seconds": 4000, "End": True}}, kind="EXPRESS")
    bench.engine.services.faults.express_duplicate = duplicate
    try:
        found = bench.run(made, {"items": [1]})
    finally:
        bench.engine.services.faults.express_duplicate = 0.0
    assert bench.map_run(found["executionArn"])["itemCounts"]["timedOut"] == 1
    assert 300 <= found["stopDate"].timestamp() - found["startDate"].timestamp() < 4000
