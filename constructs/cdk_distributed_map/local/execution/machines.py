"""State machines, as the embedded AWS keeps them."""

from __future__ import annotations

import abc
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

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
        if ":stateMachine:" not in arn:
            raise ApiError("InvalidArn", f"Invalid Arn: 'Invalid ARN prefix: {arn}'")
        if _alias(arn) is None:
            return described(await self._asked("describe_state_machine", arn, stateMachineArn=arn), arn)
        alias = await self._asked("describe_state_machine_alias", arn, stateMachineAliasArn=arn)
        version = _routed(alias["routingConfiguration"])
        found = await self._asked("describe_state_machine", arn, stateMachineArn=version)
        return replace(described(found, version), alias=arn)

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


def _alias(arn: str) -> str | None:
    """Return the name of the alias that an ARN is of, None where it is of a version or of the state machine."""
    parts = arn.split(":")
    return parts[7] if len(parts) > 7 and not parts[7].isdigit() else None


def _routed(routes: Sequence[Mapping[str, Any]]) -> str:
    """Return a version of an alias: each gets its share of the executions."""
    weights = [route["weight"] for route in routes]
    (chosen,) = random.choices(routes, weights)  # noqa: S311 - not for secrets
    return str(chosen["stateMachineVersionArn"])


def described(found: dict[str, Any], arn: str) -> Machine:
    """Return a state machine from DescribeStateMachine's answer."""
    parts = arn.split(":")
    plain = ":".join(parts[:7])
    updated = found.get("updateDate", found.get("creationDate"))
    return Machine(
        arn=plain,
        name=found.get("name", parts[6]) if len(parts) == 7 else parts[6],
        role=found["roleArn"],
        express=found.get("type") == "EXPRESS",
        definition=found["definition"],
        revision=found.get("revisionId", ""),
        version=arn if arn != plain else None,
        key=found.get("encryptionConfiguration", {}).get("kmsKeyId"),
        logging=found.get("loggingConfiguration"),
        tracing=found.get("tracingConfiguration"),
        updated=None if updated is None else updated.timestamp(),
    )
