"""Runs of the engine in simulated time: what a plan is held to."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from cdk_distributed_map.local import Invocation
from cdk_distributed_map.local.simulation import simulate
from cdk_distributed_map.plan import Setting, Work


def definition_of(work: Work, setting: Setting) -> dict[str, Any]:
    """Return a state machine that is one Distributed Map, or one in the children of another."""
    retry = {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 1,
        "BackoffRate": 2,
        "MaxDelaySeconds": 60,
        "MaxAttempts": 99,
        "JitterStrategy": "FULL",
    }
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "work", "Payload": "{% $states.input %}"},
        "Retry": [retry],
        "Output": "{% null %}",
        "End": True,
    }
    inner = mapped({"Work": task}, setting, express=setting.express, items="{% $states.input.items %}")
    if work.map_runs == 1:
        return inner
    nested = inner["States"]["Map"]
    outer = Setting(batch=1, concurrency=work.map_runs_at_once)
    return mapped({"Nested": nested}, outer, express=False, items="{% $states.input %}", label="Outer")


def mapped(
    states: dict[str, Any], setting: Setting, *, express: bool, items: str, label: str = "Inner"
) -> dict[str, Any]:
    state = {
        "Type": "Map",
        "Label": label,
        "Items": items,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS" if express else "STANDARD"},
            "StartAt": next(iter(states)),
            "States": states,
        },
        "MaxConcurrency": setting.concurrency,
        "Output": "{% null %}",
        "End": True,
    }
    if setting.batch > 1:
        state["ItemBatcher"] = {"MaxItemsPerBatch": setting.batch}
    return {"QueryLanguage": "JSONata", "StartAt": "Map", "States": {"Map": state}}


def seconds_of(work: Work, setting: Setting, *, seed: int) -> float:
    """Return what a run of the engine takes, on its own clock."""
    each, more = divmod(work.items, work.map_runs)
    runs = [{"items": [0] * (each + (number < more))} for number in range(work.map_runs)]
    rng = Random(seed)  # noqa: S311 - it keeps no secret

    def seconds(invocation: Invocation) -> float:
        event = json.loads(invocation.payload)
        items = len(event["Items"]) if isinstance(event, dict) and "Items" in event else 1
        taken = sum(work.times.draw(rng) for _ in range(items))
        return taken * (2 if work.retried and rng.random() < work.retried else 1)

    found = simulate(
        definition_of(work, setting),
        runs if work.map_runs > 1 else runs[0],
        seconds=seconds,
        reserved=None if work.reserved is None else {"work": work.reserved},
        seed=seed,
    )
    assert found.status == "SUCCEEDED", (found.error, found.cause)
    return found.seconds
