"""Functions that take their time on the engine's clock and run no code: a run of hours in seconds."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cdk_distributed_map import arns
from cdk_distributed_map.local.execution.clock import Clock
from cdk_distributed_map.local.execution.services import Answer, Invocation
from cdk_distributed_map.local.functions.results import too_many_requests
from distmap import limits


@dataclass
class _Environments:
    """Those of one function."""

    there: int = 0
    idle: int = 0
    most_new: float = limits.SCALING_STEP
    """How many may be added now: what isn't used isn't saved up."""
    most_requests: float = float("inf")
    since: float = 0.0


class SimulatedFunctions:
    """Stands for Lambda in an engine whose clock is simulated.

    It has Lambda's limits: concurrency, of a function that reserved some and of the account; a thousand environments in
    ten seconds; ten requests a second for each unit of concurrency.
    https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html

    .. versionadded:: 0.1.0

    Args:
        clock: The engine's clock.
        seconds: Returns how long an invocation takes.
        answer: Returns what a function answers, as JSON. Default: null.
        reserved: Reserved concurrency, by name of the function. Default: none.
        account_concurrency: Concurrent executions of the account.
        scaling_step: Environments that a function may add in ten seconds.
        cold_seconds: What a new environment takes before its first invocation.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seconds: Callable[[Invocation], float],
        answer: Callable[[Invocation], str] = lambda _: "null",
        reserved: Mapping[str, int] | None = None,
        account_concurrency: int = limits.ACCOUNT_CONCURRENCY,
        scaling_step: int = limits.SCALING_STEP,
        cold_seconds: float = 0.0,
    ) -> None:
        self._clock, self._seconds, self._answer = clock, seconds, answer
        self._reserved = {} if reserved is None else dict(reserved)
        self._unreserved = account_concurrency - sum(self._reserved.values())
        self._step, self._cold = scaling_step, cold_seconds
        self._functions: defaultdict[str, _Environments] = defaultdict(
            lambda: _Environments(most_new=scaling_step, since=clock.now())
        )
        self.throttled = 0
        """Invocations that were refused."""
        self.peak = 0
        """Environments that were there at most, of all functions."""

    async def invoke(self, invocation: Invocation) -> Answer:
        """Take the time of an invocation, and answer.

        Raises:
            ServiceError: It is throttled.
        """
        arn = arns.split(invocation.function)
        name = invocation.function if arn is None else arn.resource.split(":")[1]
        of = self._functions[name]
        cold = self._take(of, name)
        try:
            await self._clock.sleep(cold + self._seconds(invocation))
        finally:
            of.idle += 1
        return Answer(payload=self._answer(invocation), request_id=str(uuid.uuid4()))

    def _take(self, of: _Environments, name: str) -> float:
        """Take an environment of a function, and return the seconds that it needs to start."""
        now = self._clock.now()
        most = self._reserved.get(name)
        allowed = self._unreserved if most is None else most
        requests = allowed * limits.REQUESTS_OF_AN_ENVIRONMENT
        passed, of.since = now - of.since, now
        of.most_new = min(self._step, of.most_new + passed * self._step / limits.SCALING_STEP_SECONDS)
        of.most_requests = min(requests, of.most_requests + passed * requests)
        if of.most_requests < 1:
            self.throttled += 1
            raise too_many_requests("CallerRateLimitExceeded")
        cold = 0.0
        if of.idle:
            of.idle -= 1
        elif self._there(name) >= allowed or of.most_new < 1:
            self.throttled += 1
            reserved = "ReservedFunctionConcurrentInvocationLimitExceeded"
            raise too_many_requests("ConcurrentInvocationLimitExceeded" if most is None else reserved)
        else:
            of.there, of.most_new, cold = of.there + 1, of.most_new - 1, self._cold
            self.peak = max(self.peak, sum(each.there for each in self._functions.values()))
        of.most_requests -= 1
        return cold

    def _there(self, name: str) -> int:
        """Return the environments that count against the limit of a function."""
        if name in self._reserved:
            return self._functions[name].there
        return sum(each.there for other, each in self._functions.items() if other not in self._reserved)
