"""A run in simulated time: hours of it in seconds, with the limits of Step Functions and Lambda.

It needs no embedded AWS: a machine is given, functions are simulated, and what a plan says can be held to it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cdk_distributed_map.local.engine import Engine
from cdk_distributed_map.local.execution.clock import SimulatedClock
from cdk_distributed_map.local.execution.machine import Machine
from cdk_distributed_map.local.execution.machines import Machines
from cdk_distributed_map.local.execution.services import Invocation
from cdk_distributed_map.local.functions.simulated import SimulatedFunctions
from distmap import limits

_ACCOUNT: Final = "000000000000"
_MACHINE: Final = f"arn:aws:states:us-east-1:{_ACCOUNT}:stateMachine:Simulated"
_ROLE: Final = f"arn:aws:iam::{_ACCOUNT}:role/simulated"
_NOWHERE: Final = "http://127.0.0.1:1"
"""Whatever asks a service there is refused."""
_LONGEST: Final = 24 * 3_600.0


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """How a simulated run went.

    .. versionadded:: 0.1.0

    Attributes:
        status: Status of the execution.
        seconds: What it took, on the simulated clock.
        error: Name of the error, where it failed.
        cause: Its cause.
        throttled: Invocations that Lambda refused.
        environments: Environments of all functions that were there at most.
    """

    status: str
    seconds: float
    error: str | None
    cause: str | None
    throttled: int
    environments: int


class _OneMachine(Machines):
    def __init__(self, definition: Mapping[str, Any]) -> None:
        text = json.dumps(definition)
        self._machine = Machine(arn=_MACHINE, name="Simulated", role=_ROLE, express=False, definition=text)

    async def machine(self, arn: str) -> Machine:
        """Return the one there is."""
        del arn
        return self._machine


def simulate(
    definition: Mapping[str, Any],
    input: Any = None,
    *,
    seconds: Callable[[Invocation], float],
    reserved: Mapping[str, int] | None = None,
    account_concurrency: int = limits.ACCOUNT_CONCURRENCY,
    scaling_step: int = limits.SCALING_STEP,
    cold_seconds: float = 0.0,
    seed: int = 0,
) -> Simulated:
    """Run a state machine in simulated time.

    Maps start their children at AWS's rates; the fixed seconds that Step Functions takes to start and end a Map Run
    aren't simulated. Its maps must take their items from their input and write no results, as there is no S3.

    .. versionadded:: 0.1.0

    Args:
        definition: The definition.
        input: Its input. Default: ``{}``.
        seconds: Returns how long an invocation of a function takes; functions answer null.
        reserved: Reserved concurrency, by name of the function. Default: none.
        account_concurrency: Concurrent executions of the account.
        scaling_step: Environments that a function may add in ten seconds.
        cold_seconds: What a new environment takes before its first invocation.
        seed: Seed of the jitter of retries.

    Raises:
        ApiError: AWS would refuse the input.
        TimeoutError: It took more than a day of real time.
    """
    random.seed(seed)
    clock = SimulatedClock()
    functions = SimulatedFunctions(
        clock,
        seconds=seconds,
        reserved=reserved,
        account_concurrency=account_concurrency,
        scaling_step=scaling_step,
        cold_seconds=cold_seconds,
    )
    with Engine(
        endpoint_url=_NOWHERE,
        clock=clock,
        invoker=functions,
        machines=lambda _: _OneMachine(definition),
        dispatch_rates=True,
    ) as engine:
        text = json.dumps({} if input is None else input)
        arn = engine.call("StartExecution", {"stateMachineArn": _MACHINE, "input": text})["executionArn"]
        if not engine.wait(arn, seconds=_LONGEST):
            raise TimeoutError("the simulated run takes more than a day: simulate fewer items")
        found = engine.call("DescribeExecution", {"executionArn": arn})
    return Simulated(
        status=found["status"],
        seconds=float(found["stopDate"] - found["startDate"]),
        error=found.get("error"),
        cause=found.get("cause"),
        throttled=functions.throttled,
        environments=functions.peak,
    )
