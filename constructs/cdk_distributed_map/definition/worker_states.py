"""The states in a map's children: what is run for an item or a batch."""

from __future__ import annotations

from collections.abc import Callable

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map.definition.job_states import job_states
from cdk_distributed_map.definition.lambda_task import LambdaTask
from cdk_distributed_map.resources.map_resources import MapResources, RunLocation, WorkerResources
from cdk_distributed_map.settings.retry import RetryPolicy
from cdk_distributed_map.settings.workers import (
    FunctionWorker,
    ImageWorker,
    JobWorker,
    PythonWorker,
    StatesWorker,
)


def worker_states(
    resources: WorkerResources,
    scope: Construct,
    *,
    name: str,
    express: bool,
    nested: Callable[[Construct, MapResources, RunLocation], sfn.IChainable],
) -> sfn.IChainable:
    """Return new states for a worker.

    Args:
        resources: What was made for it.
        scope: What they are made under.
        name: What their names begin with.
        express: Whether the children are Express executions.
        nested: Makes the states of an inner map.

    Raises:
        ValueError: The user's own states are in another state machine.
    """
    if resources.inner is not None and resources.inner_location is not None:
        return nested(scope, resources.inner, resources.inner_location)
    match resources.worker:
        case PythonWorker(retry=retry) | ImageWorker(retry=retry):
            return _task(resources, scope, name=name, express=express, retry=retry, timeout=None)
        case FunctionWorker(retry=retry, timeout=timeout):
            return _task(resources, scope, name=name, express=express, retry=retry, timeout=timeout)
        case JobWorker():
            return job_states(resources, scope, name=name, express=express)
        case StatesWorker(chain=chain):
            return _users_states(resources, chain, scope)
        case worker:
            raise TypeError(f"a worker must come from Worker's factories, got {worker!r}")


def _task(
    resources: WorkerResources,
    scope: Construct,
    *,
    name: str,
    express: bool,
    retry: RetryPolicy | None,
    timeout: Duration | None,
) -> LambdaTask:
    assert resources.function is not None  # noqa: S101 - such a worker has one
    return LambdaTask(
        scope,
        "Process",
        state_name=f"{name} process",
        function=resources.function,
        retry=retry,
        timeout=timeout,
        express=express,
    )


def _users_states(
    resources: WorkerResources, states: sfn.IChainable | Callable[[Construct], sfn.IChainable], scope: Construct
) -> sfn.IChainable:
    if callable(states):
        chain = states(scope)
        if not hasattr(chain, "start_state"):
            raise TypeError(f"the function of Worker.states must return a chain of states, got {chain!r}")
        return chain
    if resources.states_used:
        raise ValueError(
            "the worker's states are in the pipeline's own state machine already: give Worker.states a function "
            "that makes the chain, as in Worker.states(lambda scope: ...), so that the fragment gets its own"
        )
    resources.states_used = True
    return states
