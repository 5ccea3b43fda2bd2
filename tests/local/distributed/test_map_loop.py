"""Distributed Maps in a loop: each round is a Map Run of its own, and a redrive goes on with the one that failed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

TOLERANCE = "States.ExceedToleratedFailureThreshold"


def rounds(bench: Bench, bucket: str, function: str, *, most: int = 3, **fields: Any) -> dict[str, Any]:
    """Return a definition that runs the same map for each of ``$states.input.rounds``, with a wait between."""
    mapped = bench.mapped(bench.task(function), ResultWriter=bench.writer(bucket), Items="{% $given[$n] %}", **fields)
    state = {name: value for name, value in mapped["States"]["Map"].items() if name != "End"}
    counted = {"n": "{% $n + 1 %}"}
    more = [{"Condition": f"{{% $n < {most} %}}", "Next": "Pause"}]
    return {
        "QueryLanguage": "JSONata",
        "StartAt": "Begin",
        "States": {
            "Begin": {"Type": "Pass", "Assign": {"n": 0, "given": "{% $states.input.rounds %}"}, "Next": "Map"},
            "Map": {**state, "Assign": counted, "Next": "More"},
            "More": {"Type": "Choice", "Choices": more, "Default": "Done"},
            "Pause": {"Type": "Wait", "Seconds": 600, "Next": "Map"},
            "Done": {"Type": "Succeed", "Output": "{% $states.input %}"},
        },
    }


def runs(bench: Bench, execution: str) -> list[dict[str, Any]]:
    """Return the Map Runs of an execution, the first one first."""
    entries = bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]
    found = [bench.sfn.describe_map_run(mapRunArn=each["mapRunArn"]) for each in entries[::-1]]
    return [{name: value for name, value in each.items() if name != "ResponseMetadata"} for each in found]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["mapRunArn"].rsplit(":", 1)[-1] for each in found]


def succeeded(bench: Bench, bucket: str, folder: str) -> list[Any]:
    """Return the outputs that a manifest names as succeeded."""
    manifest = json.loads(bench.body(bucket, f"out/{folder}/manifest.json"))
    files = manifest["ResultFiles"]["SUCCEEDED"]
    return sorted(
        json.loads(record["Output"]) for file in files for record in json.loads(bench.body(bucket, file["Key"]))
    )


def test_each_round_is_a_map_run_of_its_own(bench: Bench) -> None:
    bucket = bench.bucket()
    bench.functions.handlers["rounds-echo"] = lambda event: event
    found = bench.run(rounds(bench, bucket, "rounds-echo"), {"rounds": [[1, 2], [3, 4], [5, 6]]})
    assert found["status"] == "SUCCEEDED", found.get("cause")
    arn = found["executionArn"]
    each = runs(bench, arn)
    assert len(set(ids(each))) == 3
    assert {run["mapRunArn"].rsplit(":", 1)[0].rsplit("/", 1)[-1] for run in each} == {"Each"}
    assert [run["startDate"] for run in each] == sorted(run["startDate"] for run in each)
    assert (each[2]["startDate"] - each[0]["startDate"]).total_seconds() >= 1200
    assert [succeeded(bench, bucket, folder) for folder in ids(each)] == [[1, 2], [3, 4], [5, 6]]
    assert json.loads(found["output"])["MapRunArn"] == each[2]["mapRunArn"]
    events = bench.events(arn)
    started = [event["mapRunStartedEventDetails"]["mapRunArn"] for event in events if event["type"] == "MapRunStarted"]
    assert started == [run["mapRunArn"] for run in each]
    assert [event["type"] for event in events].count("MapRunSucceeded") == 3
    for run in each:
        children = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]
        assert [child["status"] for child in children] == ["SUCCEEDED"] * 2


@pytest.mark.parametrize("failing", [1, 2], ids=["second", "third"])
def test_a_redrive_goes_on_with_the_round_that_failed_alone(bench: Bench, failing: int) -> None:
    bucket = bench.bucket()
    bad, seen = {10 * failing + 1}, []

    def work(event: Any) -> Any:
        seen.append(event)
        if event in bad:
            raise ValueError("bad")
        return event

    bench.functions.handlers[f"rounds-{failing}"] = work
    given = [[0, 1], [10, 11], [20, 21]]
    definition = rounds(bench, bucket, f"rounds-{failing}", MaxConcurrency=1)
    found = bench.run(definition, {"rounds": given})
    arn = found["executionArn"]
    assert (found["status"], found["error"]) == ("FAILED", TOLERANCE)
    before = runs(bench, arn)
    assert [run["status"] for run in before] == ["SUCCEEDED"] * failing + ["FAILED"]
    kept = {key: bench.body(bucket, key) for key in bench.keys(bucket, "out/")}

    bad.clear()
    seen.clear()
    bench.sfn.redrive_execution(executionArn=arn)
    assert bench.ended(arn)["status"] == "SUCCEEDED"
    assert seen == [10 * failing + 1, *(item for items in given[failing + 1 :] for item in items)]
    after = runs(bench, arn)
    assert ids(after)[: len(before)] == ids(before)
    assert [run["redriveCount"] for run in after] == [1 if at == failing else 0 for at in range(3)]
    assert after[:failing] == before[:failing]
    assert {key: bench.body(bucket, key) for key in kept} == kept
    folders = [f"{folder}/Redrive-1" if at == failing else folder for at, folder in enumerate(ids(after))]
    assert [succeeded(bench, bucket, folder) for folder in folders] == given
    events = bench.events(arn)
    (redriven,) = (event for event in events if event["type"] == "MapRunRedriven")
    details = redriven["mapRunRedrivenEventDetails"]
    assert details == {"mapRunArn": before[failing]["mapRunArn"], "redriveCount": 1}
    of_round = [event["id"] for event in events if event["type"] == "MapStateStarted"][failing]
    assert redriven["previousEventId"] == of_round
    types = [event["type"] for event in events]
    assert types.count("MapStateEntered") == types.count("MapRunStarted") == types.count("MapStateExited") == 3


def test_a_round_that_fails_after_a_redrive_is_redriven_by_the_next(bench: Bench) -> None:
    bucket, bad = bench.bucket(), {11, 21}

    def work(event: Any) -> Any:
        if event in bad:
            raise ValueError("bad")
        return event

    bench.functions.handlers["rounds-again"] = work
    arn = bench.run(rounds(bench, bucket, "rounds-again"), {"rounds": [[0, 1], [10, 11], [20, 21]]})["executionArn"]
    for mended in (11, 21):
        bad.discard(mended)
        bench.sfn.redrive_execution(executionArn=arn)
        bench.ended(arn)
    each = runs(bench, arn)
    assert [run["status"] for run in each] == ["SUCCEEDED"] * 3
    assert [run["redriveCount"] > 0 for run in each] == [False, True, True]
    assert bench.sfn.describe_execution(executionArn=arn)["status"] == "SUCCEEDED"


def test_an_execution_that_is_stopped_between_two_rounds_goes_on_with_the_next(bench: Bench) -> None:
    bucket, tokens = bench.bucket(), []
    bench.functions.handlers["rounds-held"] = lambda event: tokens.append(event["token"])
    bench.functions.handlers["rounds-on"] = lambda event: event
    asked = {"FunctionName": "rounds-held", "Payload": {"token.$": "$$.Task.Token"}}
    resource = "arn:aws:states:::lambda:invoke.waitForTaskToken"
    # As long as a task waits for its token, waits take their time.
    held = bench.start(
        {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": resource, "Parameters": asked, "End": True}}}
    )
    while not tokens:
        time.sleep(0.005)
    arn = bench.start(rounds(bench, bucket, "rounds-on", most=2), {"rounds": [[1, 2], [3, 4]]})
    while bench.events(arn)[-1]["type"] != "WaitStateEntered":
        time.sleep(0.005)
    bench.sfn.stop_execution(executionArn=arn)
    (first,) = runs(bench, arn)
    bench.sfn.send_task_success(taskToken=tokens[0], output="{}")
    bench.ended(held)

    bench.sfn.redrive_execution(executionArn=arn)
    assert bench.ended(arn)["status"] == "SUCCEEDED"
    each = runs(bench, arn)
    assert each[0] == first
    assert [(run["status"], run["redriveCount"]) for run in each] == [("SUCCEEDED", 0)] * 2
    assert [succeeded(bench, bucket, folder) for folder in ids(each)] == [[1, 2], [3, 4]]
    assert "MapRunRedriven" not in [event["type"] for event in bench.events(arn)]


def test_a_redrive_does_not_go_back_to_a_round_whose_failure_was_caught(bench: Bench) -> None:
    bucket = bench.bucket()
    bench.functions.handlers["rounds-fail"] = bench.failing_on(1)
    caught = {"ErrorEquals": [TOLERANCE], "Assign": {"n": "{% $n + 1 %}"}, "Next": "More"}
    definition = rounds(bench, bucket, "rounds-fail", Catch=[caught])
    # The second round fails before it is a Map Run.
    found = bench.run(definition, {"rounds": [[1, 2], "no items", [3]]})
    arn = found["executionArn"]
    assert found["status"] == "FAILED"
    (first,) = runs(bench, arn)
    bench.sfn.redrive_execution(executionArn=arn)
    assert bench.ended(arn)["error"] == found["error"]
    assert runs(bench, arn) == [first]


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_the_rounds_of_a_child_are_kept_apart_too(bench: Bench, kind: str) -> None:
    bucket, bad = bench.bucket(), {11}

    def work(event: Any) -> Any:
        if event in bad:
            raise ValueError("bad")
        return event

    bench.functions.handlers["rounds-inside"] = work
    inner = rounds(bench, bucket, "rounds-inside", kind=kind, Label="Inner", most=2)
    states = {"StartAt": inner["StartAt"], "States": inner["States"]}
    outer = bench.mapped()["States"]["Map"]
    outer["ItemProcessor"] = {**outer["ItemProcessor"], **states}
    definition = {"QueryLanguage": "JSONata", "StartAt": "Outer", "States": {"Outer": outer}}
    found = bench.run(definition, {"items": [{"rounds": [[1, 2], [10, 11]]}]})
    assert found["status"] == "FAILED"
    (entry,) = bench.sfn.list_map_runs(executionArn=found["executionArn"])["mapRuns"]
    (child,) = bench.sfn.list_executions(mapRunArn=entry["mapRunArn"])["executions"]
    before = runs(bench, child["executionArn"])
    assert [run["status"] for run in before] == ["SUCCEEDED", "FAILED"]
    bad.clear()
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    assert bench.ended(found["executionArn"])["status"] == "SUCCEEDED"
    after = runs(bench, child["executionArn"])
    assert ids(after) == ids(before)
    assert [run["redriveCount"] for run in after] == [0, 1]
