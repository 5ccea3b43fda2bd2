"""What the parts of a run cost, from their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cdk_distributed_map import prices


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run costs, in USD, without free tiers.

    .. versionadded:: 0.1.0
    """

    step_functions: float = 0.0
    functions: float = 0.0

    @property
    def total(self) -> float:
        """Everything together."""
        return self.step_functions + self.functions

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            step_functions=self.step_functions + other.step_functions, functions=self.functions + other.functions
        )


def standard_children(children: int, *, states: int = 1, retries: int = 0) -> Cost:
    """Return what Standard children cost: their start, their states, and retries of these.

    .. versionadded:: 0.1.0

    Args:
        children: Number of children.
        states: States that each of them runs. Default: 1, the worker.
        retries: Retries of all of them together. Default: 0.

    Raises:
        ValueError: A number is negative.

    Example::

        >>> round(standard_children(5_000).step_functions, 2)
        0.25
    """
    _check(children=children, states=states, retries=retries)
    return Cost(step_functions=(children * (1 + states) + retries) * prices.STANDARD_TRANSITION)


def express_children(children: int, *, seconds: float, memory_mb: int = prices.EXPRESS_CHUNK_MB) -> Cost:
    """Return what Express children cost: their start, their requests and their duration.

    .. versionadded:: 0.1.0

    Args:
        children: Number of children.
        seconds: Mean duration of a child; billed in started tenths of a second.
        memory_mb: Memory of a child's execution, billed in started chunks of 64 MB. Default: one chunk, which is
            what small inputs need.

    Raises:
        ValueError: A number is negative.
    """
    _check(children=children, seconds=seconds, memory_mb=memory_mb)
    # Rounded first, or 0.3 s would begin a fourth tenth in binary.
    billed = math.ceil(round(seconds / prices.EXPRESS_ROUNDING_SECONDS, 6)) * prices.EXPRESS_ROUNDING_SECONDS
    gigabytes = math.ceil(memory_mb / prices.EXPRESS_CHUNK_MB) * prices.EXPRESS_CHUNK_MB / 1024
    each = prices.STANDARD_TRANSITION + prices.EXPRESS_REQUEST + billed * gigabytes * prices.EXPRESS_GB_SECOND
    return Cost(step_functions=children * each)


def invocations(billed_ms: Iterable[int], *, memory_mb: int, architecture: str = "arm64") -> Cost:
    """Return what invocations of a Lambda function cost.

    .. versionadded:: 0.1.0

    Args:
        billed_ms: Billed duration of each invocation, in milliseconds.
        memory_mb: Memory of the function.
        architecture: ``arm64`` or ``x86_64``. Default: ``arm64``.

    Raises:
        ValueError: Another architecture, or a negative number.
    """
    if architecture not in prices.LAMBDA_GB_SECOND:
        raise ValueError(f"architecture must be one of {sorted(prices.LAMBDA_GB_SECOND)}, got {architecture!r}")
    _check(memory_mb=memory_mb)
    requests = total = 0
    for each in billed_ms:
        _check(billed_ms=each)
        requests, total = requests + 1, total + each
    gb_seconds = total / 1000 * memory_mb / 1024
    return Cost(functions=requests * prices.LAMBDA_REQUEST + gb_seconds * prices.LAMBDA_GB_SECOND[architecture])


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value:,}")
