"""Workers that aren't plain functions, as they are declared: a durable function, an ECS task, an AWS Batch job."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map.settings import checks
from cdk_distributed_map.settings.retry import RetryPolicy
from distmap import limits


class ItemBy(enum.Enum):
    """How a container gets its item.

    .. versionadded:: 0.1.0
    """

    ENVIRONMENT = "environment"
    """As JSON text in the variable ``DISTMAP_ITEM``: up to 6,000 characters with quotes counted twice, because ECS
    takes 8,192 of overrides."""
    FILE = "file"
    """As a file of the run, of whatever size, in ``DISTMAP_ITEM_BUCKET`` and ``DISTMAP_ITEM_KEY``: a state and a PUT
    more for each item."""


@dataclass(frozen=True, kw_only=True)
class DurableFunction:
    """A version or an alias of a Lambda durable function."""

    function: lambda_.IFunction
    timeout: Duration | None
    retry: RetryPolicy | None

    def __post_init__(self) -> None:
        _check_qualified(self.function)
        seconds = _execution_seconds(self.function)
        if seconds is not None and seconds > limits.MAX_FUNCTION_SECONDS:
            raise ValueError(
                f"the durable function {self.function.node.path!r} has an execution timeout of {seconds:g} s, and a "
                f"synchronous invocation, whose result is the item's, ends after {limits.MAX_FUNCTION_SECONDS} s: give "
                "it at most that, or run what takes longer as a chain of states"
            )
        _check_timeout(self.timeout)


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a task and a job have in common."""

    item: ItemBy
    writes_result: bool
    timeout: Duration | None
    retry: RetryPolicy | None

    def __post_init__(self) -> None:
        _check_timeout(self.timeout)


@dataclass(frozen=True, kw_only=True)
class EcsTask(Container):
    """A task of ECS, on Fargate or on instances of the cluster."""

    cluster: ecs.ICluster
    task_definition: ecs.TaskDefinition
    container: ecs.ContainerDefinition
    subnets: ec2.SubnetSelection | None
    security_groups: Sequence[ec2.ISecurityGroup] | None
    assign_public_ip: bool


@dataclass(frozen=True, kw_only=True)
class BatchJob(Container):
    """A job of AWS Batch."""

    job_definition: batch.IJobDefinition
    job_queue: batch.IJobQueue
    job_role: Any


def container_of(task_definition: ecs.TaskDefinition, name: str | None) -> ecs.ContainerDefinition:
    """Return the container of a task that gets the item.

    Raises:
        ValueError: There is none of that name, or none at all.
    """
    container_found = task_definition.default_container if name is None else task_definition.find_container(name)
    if container_found is None:
        which = "container" if name is None else f"container {name!r}"
        raise ValueError(
            f"the task definition {task_definition.node.path!r} has no {which}: add it with add_container(...) before "
            "the worker is made"
        )
    return container_found


def _check_qualified(function: lambda_.IFunction) -> None:
    """Check that a function is a version or an alias.

    https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html

    Raises:
        ValueError: It isn't.
    """
    if hasattr(function, "alias_name") or hasattr(function, "version"):
        return
    arn = function.function_arn
    if not checks.is_token(arn) and arn.count(":") == 7:
        return
    raise ValueError(
        f"a durable function is invoked by a version or an alias, got {function.node.path!r} unqualified: give "
        "function.current_version, or an Alias"
    )


def _execution_seconds(function: lambda_.IFunction) -> float | None:
    """Return how long an execution may take, where that is known.

    Raises:
        ValueError: The function is made in this app and isn't durable.
    """
    definition = getattr(function, "lambda_", function).node.default_child
    if not isinstance(definition, lambda_.CfnFunction) or not hasattr(definition, "durable_config"):
        return None  # made elsewhere, or by a CDK that doesn't know of them
    config = definition.durable_config
    if config is None:
        raise ValueError(
            f"the function {function.node.path!r} isn't durable: make it with durable_config=DurableConfig(...), which "
            "can't be added to a function that is deployed, or use Worker.function(...)"
        )
    seconds = getattr(config, "execution_timeout", None)
    return seconds if isinstance(seconds, int | float) and checks.is_known(seconds) else None


def _check_timeout(timeout: Duration | None) -> None:
    if timeout is not None and not timeout.is_unresolved():
        checks.whole_number("timeout", timeout.to_seconds(), least=1, most=limits.MAX_EXECUTION_SECONDS, unit="seconds")
