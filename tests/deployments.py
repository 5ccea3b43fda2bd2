"""Assemblies on the one local AWS that all modules of a test process share: each is there for as long as its module."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from cdk_distributed_map.local.server import LocalAws

GIVE_UP_SECONDS = 60


class Deploy(Protocol):
    """Deploys an assembly until the module ends."""

    def __call__(self, assembly: str | Path, *stacks: str) -> dict[str, dict[str, str]]:
        """Return the outputs of each stack, by its name."""


class Deployments:
    """Deploys assemblies, and takes them away.

    Runs outlast their state machine: modules that name their runs need stacks with names of their own.

    Args:
        aws: Where to.
    """

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._stacks: dict[str, None] = {}

    def deploy(self, assembly: str | Path, *stacks: str) -> dict[str, dict[str, str]]:
        """Deploy an assembly."""
        outputs = self._aws.deploy(assembly, *stacks)
        self._stacks |= dict.fromkeys(outputs)
        return outputs

    def remove(self) -> None:
        """Delete all stacks, so that the next module finds its pipelines by their names alone."""
        self._aws.invocations = None
        cloudformation = self._aws.client("cloudformation")
        for stack in reversed(self._stacks):
            cloudformation.delete_stack(StackName=stack)
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while left := [stack for stack in self._stacks if self._is_there(stack)]:
            assert time.monotonic() < give_up, f"couldn't be deleted: {left}"
            time.sleep(0.02)

    def clear(self) -> None:
        """Delete the state machines that tests made beside stacks, which outlast their module."""
        states = self._aws.client("stepfunctions")
        for machine in states.list_state_machines()["stateMachines"]:
            states.delete_state_machine(stateMachineArn=machine["stateMachineArn"])

    def _is_there(self, stack: str) -> bool:
        try:
            (found,) = self._aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError:
            return False
        return bool(found["StackStatus"] != "DELETE_COMPLETE")


@pytest.fixture(scope="session")
def shared_aws() -> Iterator[LocalAws]:
    """A local AWS for all modules that need none with options or a state of its own."""
    from cdk_distributed_map.local.server import LocalAws  # where it is needed: it takes a while

    with LocalAws() as aws:
        yield aws


@pytest.fixture(scope="module")
def deploy(shared_aws: LocalAws) -> Iterator[Deploy]:
    """Deploys assemblies to it for as long as the module lasts."""
    deployments = Deployments(shared_aws)
    deployments.clear()
    yield deployments.deploy
    deployments.remove()
