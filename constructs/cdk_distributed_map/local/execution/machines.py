"""State machines, as the embedded AWS keeps them."""

from __future__ import annotations

import abc
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map import arns
from cdk_distributed_map.local.errors import ApiError
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.services import Services


class Machines(abc.ABC):
    """Where state machines are looked up."""

    @abc.abstractmethod
    async def machine(self, arn: str) -> Machine:
        """Return a state machine by its ARN, or that of a version or alias.

        Raises:
            ApiError: ``StateMachineDoesNotExist`` or ``InvalidArn``.
        """


class DeployedMachines(Machines):
    """State machines that are deployed to the embedded AWS.

    Args:
        services: Where its clients are.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def machine(self, arn: str) -> Machine:
        """Return a state machine by its ARN."""
        parsed = arns.split_states(arn)
        if parsed is None or parsed.kind != "stateMachine":
            raise ApiError("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
        # Versions are numbers, and names of aliases aren't.
        if not parsed.name or parsed.name.isdigit():
            return described(await self._asked("describe_state_machine", arn, stateMachineArn=arn), arn)
        alias = await self._asked("describe_state_machine_alias", arn, stateMachineAliasArn=arn)
        version = _routed(alias["routingConfiguration"])
        description = await self._asked("describe_state_machine", arn, stateMachineArn=version)
        return replace(described(description, version), alias=arn)

    async def _asked(self, operation: str, arn: str, **parameters: str) -> dict[str, Any]:
        call = getattr(self._services.clients.client("stepfunctions"), operation)
        try:
            return dict(await self._services.blocking(lambda: call(**parameters)))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in {"StateMachineDoesNotExist", "ResourceNotFound"}:
                raise ApiError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'") from error
            raise ApiError(code, error.response["Error"].get("Message", code)) from error
        except BotoCoreError as error:
            raise ApiError("InternalFailure", f"the embedded AWS doesn't answer: {error}") from error


def _routed(routes: Sequence[Mapping[str, Any]]) -> str:
    """Return a version of an alias: each gets its share of the executions."""
    weights = [route["weight"] for route in routes]
    (chosen,) = random.choices(routes, weights)  # noqa: S311 - not for secrets
    return str(chosen["stateMachineVersionArn"])


def described(description: dict[str, Any], arn: str) -> Machine:
    """Return a state machine from DescribeStateMachine's answer."""
    parsed = arns.parse(arn)
    plain, name = parsed.unqualified(), parsed.resource.split(":")[1]
    updated = description.get("updateDate", description.get("creationDate"))
    return Machine(
        arn=plain,
        name=description.get("name", name) if arn == plain else name,
        role=description["roleArn"],
        express=description.get("type") == "EXPRESS",
        definition=description["definition"],
        revision=description.get("revisionId", ""),
        version=arn if arn != plain else None,
        key=description.get("encryptionConfiguration", {}).get("kmsKeyId"),
        logging=description.get("loggingConfiguration"),
        tracing=description.get("tracingConfiguration"),
        updated=None if updated is None else updated.timestamp(),
    )
