"""What the Step Functions API answers, in AWS's shapes."""

from __future__ import annotations

from typing import Any

from cdk_distributed_map.local.asl.json_text import dumps
from cdk_distributed_map.local.execution import records as records_module
from cdk_distributed_map.local.execution.frame import Execution

_REDRIVABLE = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})


def without_none(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without the members that aren't there."""
    return {key: value for key, value in answer.items() if value is not None}


def execution(run: Execution, *, data: bool = True) -> dict[str, Any]:
    """Return DescribeExecution's answer.

    Args:
        run: The execution.
        data: Whether with its input, output, error and cause.
    """
    succeeded = run.status == "SUCCEEDED"
    shown = {
        **summary(run),
        **redrive(run),
        "inputDetails": {"included": data},
        "outputDetails": {"included": data} if succeeded else None,
    }
    if data:
        output = dumps(run.output) if succeeded else None
        shown |= {"input": dumps(run.input), "output": output, "error": run.error, "cause": run.cause}
    return without_none(shown)


def summary(run: Execution) -> dict[str, Any]:
    """Return an entry of ListExecutions."""
    return without_none(
        {
            "executionArn": run.arn,
            "stateMachineArn": run.machine.arn,
            "name": run.name,
            "status": run.status,
            "startDate": run.started,
            "stopDate": run.stopped,
            "mapRunArn": run.map_run,
            "redriveCount": None if run.machine.express else run.redrive_count,
            "redriveDate": run.redriven,
            "stateMachineVersionArn": run.machine.version,
            "stateMachineAliasArn": run.machine.alias,
        }
    )


def redrive(run: Execution) -> dict[str, Any]:
    """Return whether an execution can be redriven, and why not."""
    if run.machine.express and run.map_run is None:
        return {}
    if run.status in _REDRIVABLE:
        return {"redriveStatus": "REDRIVABLE" if run.map_run is None else "REDRIVABLE_BY_MAP_RUN"}
    return {
        "redriveStatus": "NOT_REDRIVABLE",
        "redriveStatusReason": f"Execution is {run.status} and cannot be redriven",
    }


def synchronous(run: Execution, *, data: bool = True) -> dict[str, Any]:
    """Return StartSyncExecution's answer."""
    seconds = (run.stopped or run.started) - run.started
    return {
        **{key: value for key, value in execution(run, data=data).items() if not key.startswith(("redrive", "mapRun"))},
        "billingDetails": {
            "billedMemoryUsedInMB": 64,
            "billedDurationInMilliseconds": max(100, -(-seconds // 0.1) * 100),
        },
    }


def map_run_entry(run: Any) -> dict[str, Any]:
    """Return an entry of ListMapRuns."""
    return without_none(
        {
            "executionArn": run.parent.arn,
            "mapRunArn": run.arn,
            "stateMachineArn": run.machine.arn,
            "startDate": run.started,
            "stopDate": run.stopped,
        }
    )


def map_run(run: Any) -> dict[str, Any]:
    """Return DescribeMapRun's answer."""
    redrives = zip(run.not_redrivable, run.pending_redrive, strict=True)
    counts = [
        {
            **run.records.described_counts(which, run.written[which]),
            "failuresNotRedrivable": stuck,
            "pendingRedrive": pending,
        }
        for which, (stuck, pending) in enumerate(redrives)
    ]
    return without_none(
        {
            "mapRunArn": run.arn,
            "executionArn": run.parent.arn,
            "status": run.status,
            "startDate": run.started,
            "stopDate": run.stopped,
            "maxConcurrency": run.concurrency,
            "toleratedFailurePercentage": run.tolerance.percentage,
            "toleratedFailureCount": run.tolerance.count,
            "executionCounts": counts[0],
            "itemCounts": counts[1],
            "redriveCount": run.redrive_count,
            "redriveDate": run.redriven,
        }
    )


def child_entry(run: Any, at: int) -> dict[str, Any]:
    """Return an entry of ListExecutions for a map run."""
    records = run.records
    status = records_module.STATUSES[records.status[at]]
    redriving = run.is_pending_redrive(at)
    _, redriven = records.redrives.get(at, (0, None))
    return without_none(
        {
            "executionArn": run.child_arn(at),
            "stateMachineArn": run.machine.arn,
            "name": run.listed_name(at),
            "status": "PENDING_REDRIVE" if redriving else status,
            "startDate": records.started[at],
            "stopDate": records.stopped[at] or None,
            "mapRunArn": run.arn,
            "itemCount": records.items[at],
            "redriveCount": None if run.machine.express else records.redrive_count(at),
            "redriveDate": redriven,
        }
    )
