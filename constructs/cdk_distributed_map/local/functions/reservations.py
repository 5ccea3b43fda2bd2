"""What functions reserved of the account's concurrency, read from templates: the embedded AWS doesn't keep it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from cdk_distributed_map import arns

FRESH_SECONDS: Final = 0.5
_GONE: Final = frozenset({"DELETE_COMPLETE"})
_PROPERTY: Final = "ReservedConcurrentExecutions"


class ReservationError(ValueError):
    """A template reserves concurrency in a way that isn't understood."""


class Reservations:
    """Reserved concurrency of the functions of all deployed stacks.

    Args:
        client: Returns a boto3 client of CloudFormation.
    """

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._stacks: dict[str, tuple[str, dict[str, int]]] = {}
        self.known: Mapping[str, int] = {}

    def invalidate(self) -> None:
        """Look again at the next question."""
        self._read_at = float("-inf")

    def of(self, arn: str) -> int | None:
        """Return what a function reserved, None for nothing.

        Raises:
            ReservationError: Its template says it in a way that isn't understood.
        """
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._read()
                self._read_at = time.monotonic()
            return self.known.get(arn)

    def _read(self) -> None:
        client = self._client()
        found: dict[str, tuple[str, dict[str, int]]] = {}
        for page in client.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                if stack["StackStatus"] in _GONE:
                    continue
                stamp = f"{stack.get('LastUpdatedTime', stack['CreationTime'])} {stack['StackStatus']}"
                before = self._stacks.get(stack["StackId"])
                if before is None or before[0] != stamp or not stack["StackStatus"].endswith("_COMPLETE"):
                    before = (stamp, self._of_stack(stack))
                found[stack["StackId"]] = before
        self._stacks = found
        self.known = {arn: number for _, numbers in found.values() for arn, number in numbers.items()}

    def _of_stack(self, stack: Mapping[str, Any]) -> dict[str, int]:
        client = self._client()
        template = client.get_template(StackName=stack["StackId"])["TemplateBody"]
        if isinstance(template, str):
            if not template.lstrip().startswith("{"):
                return _not_json(template, stack)
            template = json.loads(template)
        wanted = {
            logical: resource["Properties"][_PROPERTY]
            for logical, resource in template.get("Resources", {}).items()
            if resource.get("Type") == "AWS::Lambda::Function" and _PROPERTY in resource.get("Properties", {})
        }
        if not wanted:
            return {}
        place = arns.parse(stack["StackId"])
        numbers = {}
        for resource in client.describe_stack_resources(StackName=stack["StackId"])["StackResources"]:
            logical, physical = resource["LogicalResourceId"], resource.get("PhysicalResourceId")
            if logical in wanted and physical:
                name = physical.rsplit(":", 1)[-1]
                arn = place._replace(service="lambda", resource=f"function:{name}").text()
                numbers[arn] = _number(wanted[logical], stack, template, logical)
        return numbers


def _number(value: Any, stack: Mapping[str, Any], template: Mapping[str, Any], logical: str) -> int:
    if isinstance(value, dict) and set(value) == {"Ref"}:
        parameters = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
        default = template.get("Parameters", {}).get(value["Ref"], {}).get("Default")
        value = parameters.get(value["Ref"], default)
    if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()):
        return int(value)
    message = f"{_PROPERTY} of {logical} must be a number or a parameter to run locally, got {json.dumps(value)}"
    raise ReservationError(message)


def _not_json(template: str, stack: Mapping[str, Any]) -> dict[str, int]:
    # CDK writes JSON; its bootstrap stack is YAML and has no functions.
    if _PROPERTY in template:
        message = f"the template of {stack['StackName']} sets {_PROPERTY} in YAML: deploy it as JSON to run it locally"
        raise ReservationError(message)
    return {}
