"""Finding a pipeline by the names that people know it by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from cdk_distributed_map import names
from cdk_distributed_map.arns import StatesArn, is_arn
from cdk_distributed_map.names import logical_id
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.aws.sessions import Aws, error_code, errors
from cdk_distributed_map.runs.errors import AmbiguousNameError, InputError, NotFoundError
from cdk_distributed_map.runs.find.names import did_you_mean

_MOST_DESCRIBED: Final = 100
"""State machines whose definitions are looked into for a pipeline that no name tells."""


def find_machine(aws: Aws, name: str) -> str:
    """Return the ARN of the state machine of a pipeline.

    Args:
        aws: Where to look.
        name: ``Construct``, ``Stack/Construct``, a stack with a single pipeline, the name of the state machine, or
            its ARN.

    Raises:
        NotFoundError: There is none of this name, or several.
        AwsError: AWS refused a call.
    """
    if is_arn(name):
        arn = arns.parse(name)
        check_region(aws, arn)
        return arn.machine_arn()
    if not name.strip():
        raise InputError("the pipeline's name is empty: is a variable unset?")
    if "/" in name:
        return _in_stack(aws, name)
    machines = {machine: arn for machine, arn in machines_of_account(aws)}  # noqa: C416 - pairs, of which the last wins
    if name in machines:
        return machines[name]
    candidates = names.of_construct(name, machines)
    return _only(candidates, name, known=machines) if candidates else _only_of_stack(aws, name, machines)


def check_region(aws: Aws, arn: StatesArn) -> None:
    """Raise where an ARN is of another Region than the client, which AWS would answer with a misleading error.

    Raises:
        InputError: It is.
    """
    region = aws.sfn().meta.region_name
    if arn.region != region:
        raise InputError(f"{arn.text()} is of {arn.region}, and not of {region}: give --region {arn.region}")


def machines_of_account(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield name and ARN of every Standard state machine of the account and Region."""
    with errors("listing the state machines"):
        for page in aws.sfn().get_paginator("list_state_machines").paginate():
            for machine in page["stateMachines"]:
                if machine["type"] == "STANDARD":
                    yield machine["name"], machine["stateMachineArn"]


def _in_stack(aws: Aws, name: str) -> str:
    stack, _, path = name.partition("/")
    machines = _of_stack(aws, stack)
    if not machines:
        raise NotFoundError(
            f"the stack {stack!r} has no state machine, or there is no such stack: 'Stack/Construct' takes the name of "
            "the stack as CloudFormation knows it; see `aws cloudformation list-stacks`"
        )
    logical = names.logical_id(path)
    if logical in machines:
        return machines[logical]
    machine_names = ", ".join(sorted(machines))
    guess = did_you_mean(path, filter(None, map(names.human, machines)))
    raise NotFoundError(
        f"the stack {stack!r} has no pipeline {path!r}, whose state machine would have the logical id {logical}{guess}"
        f"; its state machines are {machine_names}: give the path of the construct below the stack"
    )


def _of_stack(aws: Aws, stack: str) -> dict[str, str]:
    """Return the state machines of a stack by logical id; none where there is no such stack."""
    with errors(f"listing the resources of the stack {stack!r}"):
        client = aws.cloudformation()
        try:
            resources: dict[str, str] = {}
            for page in client.get_paginator("list_stack_resources").paginate(StackName=stack):
                for resource in page["StackResourceSummaries"]:
                    if resource["ResourceType"] == "AWS::StepFunctions::StateMachine":
                        resources[resource["LogicalResourceId"]] = resource.get("PhysicalResourceId", "")
        except client.exceptions.ClientError as error:
            if error_code(error) in {"ValidationError", "AccessDenied", "AccessDeniedException"}:
                return {}
            raise
        return resources


def _only_of_stack(aws: Aws, name: str, all_machines: Mapping[str, str]) -> str:
    """Return the state machine of the one pipeline of a stack of this name, or of the construct of this name."""
    machines = _of_stack(aws, name)
    # Other state machines may be beside it.
    candidates = names.of_stack(machines)
    if len(candidates) > 1:
        raise AmbiguousNameError(
            f"the stack {name!r} has {len(candidates)} state machines, {', '.join(sorted(machines))}: say which, as in "
            f"'{name}/Construct'"
        )
    if not candidates:
        labels: set[str] = set()
        with errors(f"looking for the pipeline {name!r}"):
            for arn, definition in definitions(aws, list(all_machines.values())[:_MOST_DESCRIBED]):
                labels.update(names.pipeline_labels(definition))
                if names.is_of(name, definition):
                    candidates.append(arn)
        return _only(candidates, name, known=all_machines, labels=labels)
    return _only(candidates, name, known=all_machines)


def definitions(aws: Aws, machines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield ARN and definition of those of some state machines that the caller may see, and that are still there."""
    client = aws.sfn()
    for arn in machines:
        with errors(f"describing the state machine {arn}"):
            try:
                yield arn, client.describe_state_machine(stateMachineArn=arn)["definition"]
            except client.exceptions.ClientError as error:
                # Others' state machines are not for everybody to see, and may be gone by now.
                if error_code(error) not in {"AccessDeniedException", "StateMachineDoesNotExist"}:
                    raise


def pipelines_of_account(aws: Aws) -> Iterator[tuple[str, str]]:
    """Yield label and ARN of the state machine of every pipeline of the account and Region, in the order of labels."""
    machines = [arn for _, arn in machines_of_account(aws)]
    pipelines = [(label, arn) for arn, text in definitions(aws, machines) for label in names.pipeline_labels(text)]
    yield from sorted(pipelines)


def _only(candidates: list[str], name: str, *, known: Iterable[str], labels: Iterable[str] = ()) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        guess = did_you_mean(name, [*known, *filter(None, map(names.human, known)), *labels])
        all_names = sorted(known)
        more = f" and {len(all_names) - 10} more" if len(all_names) > 10 else ""
        shown = ", ".join(all_names[:10]) + more
        raise NotFoundError(
            f"no pipeline {name!r} in this account and Region{guess}; the state machines here are: {shown or 'none'}. "
            "Name it by 'Stack/Construct', by its state machine or by ARN, and look at --profile and --region"
        )
    machines = ", ".join(sorted(arns.parse(arn).machine for arn in candidates))
    raise AmbiguousNameError(
        f"{len(candidates)} pipelines are called {name!r}: {machines}; name one of these, its ARN, or 'Stack/{name}'"
    )


__all__ = ["check_region", "find_machine", "logical_id", "machines_of_account", "pipelines_of_account"]
