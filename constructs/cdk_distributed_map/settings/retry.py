"""Retry of the Lambda tasks: throttling must be outlasted, within what the child's type leaves.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map.settings import checks, kinds
from distmap import limits

LAMBDA_ERRORS = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
)
"""What every Lambda task retries. The L2 leaves out the last, which is what reserved concurrency answers with."""

SDK_LAMBDA_ERRORS = ("Lambda.LambdaException",)
"""What the SDK integration makes of an answer of Lambda that has no name of its own, a refusal among them."""

INACTIVE_ERRORS = (
    "Lambda.CodeArtifactUserPendingException",
    "Lambda.CodeArtifactUserDeletedException",
    "Lambda.ResourceNotReadyException",
    "Lambda.ENINotReadyException",
    "Lambda.EC2ThrottledException",
    "Lambda.EC2UnexpectedException",
    "Lambda.SnapStartNotReadyException",
    "Lambda.SnapStartRegenerationFailureException",
    "Lambda.ResourceConflictException",
)
"""What Lambda answers while it makes a function ready that nobody has called for weeks: its code, its network
interfaces or its snapshot are prepared anew, which took between 40 and 106 seconds where it was seen. What waiting is
no remedy for isn't among them, such as ``CodeArtifactUserFailedException`` and ``EC2AccessDeniedException``.
https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""

ECS_ERRORS = ("ECS.AmazonECSException", "ECS.ServerException", "AmazonECS.Unknown")
"""What ECS answers where it is throttled or has no capacity.
https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html"""

ECS_UNCLEAR_ERRORS = ("ECS.InvalidParameterException",)
"""What ECS answers to a wrong parameter, and also where EC2 throttles it ("Error retrieving subnet information: Rate
exceeded"). Only the message tells one from the other, and no Retry looks at that, so that few attempts are made for
it."""

BATCH_ERRORS = ("Batch.AWSBatchException", "Batch.ServerException", "Batch.TooManyRequestsException")
"""What AWS Batch answers where it is throttled: it takes 50 jobs a second.
https://docs.aws.amazon.com/batch/latest/userguide/service_limits.html"""

STATES_ERRORS = ("Sfn.SdkClientException", "Sfn.SfnException")
"""What Step Functions answers where its own API is throttled."""

S3_ERRORS = ("S3.SdkClientException", "S3.S3Exception")
"""What S3 answers where it is throttled. The second is also what it says to who may not, so that few attempts are made
for it."""

_INACTIVE_INTERVAL_SECONDS = 5
_INACTIVE_ATTEMPTS = 10
"""Under full jitter, the mean of their delays together is twice the longest time that was seen."""
_LEAST_THROTTLING_ATTEMPTS = 5
"""What throttling keeps in an Express child before inactive functions get any attempts."""

_ATTEMPTS = 3
_INTERVAL_SECONDS = 1
_BACKOFF_RATE = 2
_MAX_DELAY_SECONDS = 60


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a task of the worker is tried again for errors of the user's own.

    Lambda's own errors and throttling are always retried, with full jitter and a capped delay; this adds to it.
    An error of the function itself fails the child at once unless it is named here.

    .. versionadded:: 0.1.0

    Args:
        errors: Names of errors, such as ``["ConnectionError"]`` for a Python exception of that type.
        max_attempts: Attempts after the first. Default: 3.
        interval: Delay before the first retry, in whole seconds. Default: 1 second.
        backoff_rate: Factor from one delay to the next, at least 1. Default: 2.
        max_delay: Longest delay, in whole seconds. Default: 60 seconds.

    Raises:
        ValueError: No error named, ``States.ALL`` among others, or a number out of bounds.
    """

    errors: Sequence[str]
    max_attempts: int | None = None
    interval: Duration | None = None
    backoff_rate: float | None = None
    max_delay: Duration | None = None

    def __post_init__(self) -> None:
        if len(self.errors) == 0:
            raise ValueError("errors must name at least one error, as in ['ConnectionError']")
        for error in self.errors:
            checks.text("errors", error)
        if "States.ALL" in self.errors and len(self.errors) > 1:
            raise ValueError(f"errors must hold 'States.ALL' alone, got {list(self.errors)!r}")
        checks.whole_number("max_attempts", self.max_attempts, least=0, most=99_999_999)
        checks.whole_number("interval", self.interval_seconds, least=1, most=99_999_999, unit="seconds")
        checks.whole_number("max_delay", self.max_delay_seconds, least=1, most=31_622_399, unit="seconds")
        known = checks.is_known(self.max_delay_seconds) and checks.is_known(self.interval_seconds)
        if known and self.max_delay_seconds <= self.interval_seconds:
            raise ValueError(
                f"max_delay must be longer than interval, got {self.max_delay_seconds:g} s after "
                f"{self.interval_seconds:g} s"
            )
        if not isinstance(self.factor, int | float) or not self.factor >= 1:
            raise ValueError(f"backoff_rate must be at least 1, got {self.backoff_rate!r}")

    @property
    def attempts(self) -> int:
        """Attempts after the first."""
        return _ATTEMPTS if self.max_attempts is None else self.max_attempts

    @property
    def factor(self) -> float:
        """Factor from one delay to the next."""
        return _BACKOFF_RATE if self.backoff_rate is None else self.backoff_rate

    @property
    def interval_seconds(self) -> float:
        """Delay before the first retry."""
        return _INTERVAL_SECONDS if self.interval is None else self.interval.to_seconds()

    @property
    def max_delay_seconds(self) -> float:
        """Longest delay."""
        return _MAX_DELAY_SECONDS if self.max_delay is None else self.max_delay.to_seconds()

    def longest_seconds(self, timeout: float) -> float:
        """Longest time the retries can take where each attempt runs into the task's timeout.

        What is known only at deployment counts as if it were the default.
        """
        attempts, interval, most = (
            value if checks.is_known(value) else default
            for value, default in (
                (self.attempts, _ATTEMPTS),
                (self.interval_seconds, _INTERVAL_SECONDS),
                (self.max_delay_seconds, _MAX_DELAY_SECONDS),
            )
        )
        return sum(_delays(int(attempts), interval, self.factor, most)) + attempts * timeout

    def add_to(self, task: sfn.TaskStateBase) -> None:
        """Add this policy to a task."""
        task.add_retry(
            errors=list(self.errors),
            max_attempts=self.attempts,
            interval=Duration.seconds(self.interval_seconds),
            backoff_rate=self.factor,
            max_delay=Duration.seconds(self.max_delay_seconds),
            jitter_strategy=sfn.JitterType.FULL,
        )


OF_CRASHES = RetryPolicy(errors=("Runtime.ExitError", "Lambda.Unknown"))
"""What a run's own tasks (capture, account, combine) retry too: the end of a process, which no code has decided. Items
that are lost with a worker's process run again in a round, but there is no round without a capture or an account."""


def _delays(attempts: int, interval: float, rate: float, most: float) -> list[float]:
    delays, delay = [], interval
    for _ in range(min(attempts, 100_000)):
        delays.append(min(delay, most))
        delay = min(delay * rate, most)
    return delays


def throttling_attempts(budget: float | None) -> int:
    """Number of retries of throttling.

    Args:
        budget: Seconds that all delays together may take (an Express child), or ``None``: enough that their
            mean under full jitter, half of each delay, outlasts a ramp of ten minutes.

    Returns:
        Number of attempts after the first; 0 where not even one fits.
    """
    total, attempts, delay = 0.0, 0, float(_INTERVAL_SECONDS)
    while True:
        if budget is None and total / 2 >= limits.RAMP_SECONDS:
            return attempts
        if budget is not None and total + delay > budget:
            return attempts
        total, attempts = total + delay, attempts + 1
        delay = min(delay * _BACKOFF_RATE, _MAX_DELAY_SECONDS)


def inactive_attempts(budget: float | None) -> int:
    """Number of retries of a function that isn't ready yet.

    Args:
        budget: Seconds that all delays of a task together may take, or ``None`` for any number.
    """
    if budget is None:
        return _INACTIVE_ATTEMPTS
    kept_seconds = sum(_delays(_LEAST_THROTTLING_ATTEMPTS, _INTERVAL_SECONDS, _BACKOFF_RATE, _MAX_DELAY_SECONDS))
    fitting = [
        attempts for attempts in range(_INACTIVE_ATTEMPTS + 1) if _inactive_seconds(attempts) + kept_seconds <= budget
    ]
    return max(fitting, default=0)


def _inactive_seconds(attempts: int) -> float:
    return sum(_delays(attempts, _INACTIVE_INTERVAL_SECONDS, _BACKOFF_RATE, _MAX_DELAY_SECONDS))


def add_service_retry(task: sfn.TaskStateBase, *, errors: Sequence[str], attempts: int | None = None) -> None:
    """Retry a service's throttling on a task that isn't in an Express child, as that of Lambda is."""
    task.add_retry(
        errors=list(errors),
        interval=_seconds(_INTERVAL_SECONDS),
        max_attempts=throttling_attempts(None) if attempts is None else attempts,
        backoff_rate=_BACKOFF_RATE,
        max_delay=_seconds(_MAX_DELAY_SECONDS),
        jitter_strategy=sfn.JitterType.FULL,
    )


_seconds = functools.cache(Duration.seconds)
"""A duration of a number that each task has, made once: Node makes them."""


def add_lambda_retry(task: sfn.TaskStateBase, *, budget: float | None) -> None:
    """Retry Lambda's own errors, throttling and functions that aren't ready yet on a task, all with full jitter."""
    waking = inactive_attempts(budget)
    attempts = throttling_attempts(None if budget is None else budget - _inactive_seconds(waking))
    if attempts == 0:
        return
    task.add_retry(
        errors=list(LAMBDA_ERRORS),
        interval=_seconds(_INTERVAL_SECONDS),
        max_attempts=attempts,
        backoff_rate=_BACKOFF_RATE,
        max_delay=_seconds(_MAX_DELAY_SECONDS),
        jitter_strategy=sfn.JitterType.FULL,
    )
    if waking > 0:
        task.add_retry(
            errors=list(INACTIVE_ERRORS),
            interval=_seconds(_INACTIVE_INTERVAL_SECONDS),
            max_attempts=waking,
            backoff_rate=_BACKOFF_RATE,
            max_delay=_seconds(_MAX_DELAY_SECONDS),
            jitter_strategy=sfn.JitterType.FULL,
        )
