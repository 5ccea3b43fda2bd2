"""State machines, as the embedded AWS keeps them."""

from __future__ import annotations

import abc
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cdk_distributed_map.local._errors import ApiError
from cdk_distributed_map.local._frame import Machine
from cdk_distributed_map.local._services import Services


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
        client = self._services.clients.client("stepfunctions")
        try:
            found = await self._services.blocking(lambda: client.describe_state_machine(stateMachineArn=arn))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ApiError(code, error.response["Error"].get("Message", code)) from error
        except BotoCoreError as error:
            raise ApiError("InternalFailure", f"the embedded AWS doesn't answer: {error}") from error
        return described(found, arn)


def described(found: dict[str, Any], arn: str) -> Machine:
    """Return a state machine from DescribeStateMachine's answer."""
    parts = arn.split(":")
    plain = ":".join(parts[:7])
    return Machine(
        arn=plain,
        name=found.get("name", parts[6]) if len(parts) == 7 else parts[6],
        role=found["roleArn"],
        express=found.get("type") == "EXPRESS",
        definition=found["definition"],
        revision=found.get("revisionId", ""),
        version=arn if arn != plain else None,
        key=found.get("encryptionConfiguration", {}).get("kmsKeyId"),
    )
