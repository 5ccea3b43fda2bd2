"""A deployed pipeline as a plan needs it: its definition, and the functions that it calls."""

from __future__ import annotations

import json

from cdk_distributed_map.plan import Described, FunctionFacts, functions
from cdk_distributed_map.runs.aws.sessions import Aws, errors
from cdk_distributed_map.runs.errors import AwsError, NotFoundError


def described(aws: Aws, arn: str, *, name: str) -> Described:
    """Return what AWS says of a state machine.

    Args:
        aws: Where it is.
        arn: Its ARN.
        name: What the plan calls it.

    Raises:
        NotFoundError: There is no such state machine.
        AwsError: AWS refused the call.
    """
    with errors(f"describing the state machine {name!r}"):
        client = aws.sfn()
        try:
            machine = client.describe_state_machine(stateMachineArn=arn)
        except client.exceptions.StateMachineDoesNotExist as error:
            raise NotFoundError(f"there is no state machine {arn}: look at --region and --profile") from error
        region = client.meta.region_name
    definition = json.loads(machine["definition"])
    return Described(
        name=name,
        definition=definition,
        origin="deployed",
        functions={each: _function(aws, each) for each in functions(definition)},
        region=region,
        logs_all=machine.get("loggingConfiguration", {}).get("level") == "ALL",
        traced=machine.get("tracingConfiguration", {}).get("enabled") is True,
    )


def _function(aws: Aws, name: str) -> FunctionFacts:
    """Return what Lambda says of a function; nothing where it refuses: a plan then assumes."""
    try:
        with errors(f"describing the function {name}"):
            client = aws.functions()
            found = client.get_function_configuration(FunctionName=name)
            reserved = _reserved(aws, name)
    except AwsError:
        return FunctionFacts()
    return FunctionFacts(
        memory_mb=found.get("MemorySize"),
        timeout=found.get("Timeout"),
        reserved=reserved,
        architecture=next(iter(found.get("Architectures", [])), "x86_64"),
        traced=found.get("TracingConfig", {}).get("Mode") == "Active",
    )


def _reserved(aws: Aws, name: str) -> int | None:
    try:
        with errors(f"asking for the concurrency of the function {name}"):
            answer = aws.functions().get_function_concurrency(FunctionName=name)
    except AwsError:
        return None
    return answer.get("ReservedConcurrentExecutions")
