"""Finding a deployed state machine by the names that people know it by, as the client does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cdk_distributed_map import names
from cdk_distributed_map.arns import is_arn


def find_state_machine(client: Callable[[str], Any], name: str) -> str:
    """Return the ARN of a state machine.

    Args:
        client: Gives the client of a service.
        name: Its ARN, its name, ``Stack/Construct`` or the construct of a pipeline, or the name of a stack that has
            one state machine or one pipeline.

    Raises:
        LookupError: There is none, or more than one.
    """
    if is_arn(name):
        return name
    sfn = client("stepfunctions")
    pages = sfn.get_paginator("list_state_machines").paginate()
    machines = {one["name"]: str(one["stateMachineArn"]) for page in pages for one in page["stateMachines"]}
    if name in machines:
        return machines[name]
    stack, slash, path = name.partition("/")
    if slash:
        of_stack = _machines_of(client, stack, machines)
        found = [arn for logical, arn in of_stack.items() if logical == names.logical_id(path)]
    else:
        found = names.of_construct(name, machines) or names.of_stack(_machines_of(client, name, machines))
    if not found and not slash:
        definitions = {arn: sfn.describe_state_machine(stateMachineArn=arn)["definition"] for arn in machines.values()}
        found = [arn for arn, definition in definitions.items() if names.is_of(name, definition)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(machines)) or "none"
    what = "more than one state machine that is called or in the stack" if found else "no state machine"
    message = f"there is {what} {name!r}; deployed are: {known}"
    raise LookupError(message)


def _machines_of(client: Callable[[str], Any], stack: str, machines: Mapping[str, str]) -> dict[str, str]:
    """Return the state machines of a stack by logical id."""
    cloudformation = client("cloudformation")
    try:
        resources = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    except cloudformation.exceptions.ClientError:
        return {}
    return {
        resource["LogicalResourceId"]: machines.get(resource["PhysicalResourceId"], resource["PhysicalResourceId"])
        for resource in resources
        if resource["ResourceType"] == "AWS::StepFunctions::StateMachine"
    }
