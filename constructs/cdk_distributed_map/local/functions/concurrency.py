"""Lambda's concurrency limits: of a function that reserved some, and of what the account has left for the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cdk_distributed_map.local.functions.results import too_many_requests


class Concurrency:
    """Counts what runs.

    Args:
        account: Concurrent executions of the account.
    """

    def __init__(self, account: int) -> None:
        self._account = account
        self._of_function: Counter[str] = Counter()
        self._unreserved = 0

    def running(self, arn: str) -> int:
        """Return how many executions a function has."""
        return self._of_function[arn]

    def acquire(self, arn: str, reserved: int | None, reservations: Mapping[str, int]) -> None:
        """Count an execution in.

        Args:
            arn: The function.
            reserved: What it reserved, None for nothing.
            reservations: What each function of the account reserved.

        Raises:
            ServiceError: The limit is reached: ``TooManyRequestsException``.
        """
        if reserved is not None:
            if self._of_function[arn] >= reserved:
                raise too_many_requests("ReservedFunctionConcurrentInvocationLimitExceeded")
        else:
            if self._unreserved >= self._account - sum(reservations.values()):
                raise too_many_requests("ConcurrentInvocationLimitExceeded")
            self._unreserved += 1
        self._of_function[arn] += 1

    def release(self, arn: str, reserved: int | None) -> None:
        """Count an execution out."""
        if reserved is None:
            self._unreserved -= 1
        self._of_function[arn] -= 1
        if not self._of_function[arn]:
            del self._of_function[arn]
