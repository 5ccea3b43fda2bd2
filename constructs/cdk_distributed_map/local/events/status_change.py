"""The event that Step Functions sends when the status of an execution changes.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
"""

from __future__ import annotations

import json
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import dumps
from cdk_distributed_map.local.execution import descriptions
from cdk_distributed_map.local.execution.frame import Execution
from cdk_distributed_map.local.execution.ids import new_uuid

MOST_DATA_BYTES: Final = 248 * 1024
"""Of input and output as they stand in the event, escaped."""
_INCLUDED: Final = {"included": True}
_EXCLUDED: Final = {"included": False}


def record(execution: Execution, *, region: str, account: str) -> dict[str, Any]:
    """Return the event of an execution's present status, as the embedded AWS keeps events."""
    ended = execution.status != "RUNNING"
    changed = execution.stopped if ended else execution.redriven
    return {
        "EventId": new_uuid(),
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(detail(execution)),
        "EventBusName": "default",
        "Time": int(changed or execution.started),
        "Resources": [execution.arn],
        "Account": account,
        "Region": region,
    }


def detail(execution: Execution) -> dict[str, Any]:
    """Return what the event says of an execution: all members are there, null where they aren't known."""
    succeeded = execution.status == "SUCCEEDED"
    input_text = dumps(execution.input)
    answered = dumps(execution.output) if succeeded else None
    output_fits = answered is None or _escaped(answered) <= MOST_DATA_BYTES
    input_fits = _escaped(input_text) + (0 if answered is None else _escaped(answered)) <= MOST_DATA_BYTES
    redrive = descriptions.redrive(execution)
    return {
        "executionArn": execution.arn,
        "stateMachineArn": execution.machine.arn,
        "name": execution.name,
        "status": execution.status,
        "startDate": _milliseconds(execution.started),
        "stopDate": _milliseconds(execution.stopped),
        "input": input_text if input_fits else None,
        "output": answered if output_fits else None,
        "stateMachineVersionArn": execution.machine.version,
        "stateMachineAliasArn": execution.machine.alias,
        "redriveCount": execution.redrive_count,
        "redriveDate": _milliseconds(execution.redriven),
        "redriveStatus": redrive["redriveStatus"],
        "redriveStatusReason": redrive.get("redriveStatusReason"),
        "inputDetails": _INCLUDED if input_fits else _EXCLUDED,
        "outputDetails": None if answered is None else _INCLUDED if output_fits else _EXCLUDED,
        "error": execution.error,
        "cause": execution.cause,
    }


def _escaped(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
