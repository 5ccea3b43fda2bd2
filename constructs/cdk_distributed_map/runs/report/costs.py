"""What the runs of a chain cost, from what they did; and what isn't in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cdk_distributed_map import prices
from cdk_distributed_map.prices import Prices

if TYPE_CHECKING:
    from cdk_distributed_map.runs.report.figures import Figures
    from cdk_distributed_map.runs.report.functions import Function

_STATES_OF_A_CHILD: Final = 2
"""Its start, and the state that calls the worker."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run costs, in USD."""

    step_functions: float
    functions: float | None
    """None where it isn't known: children whose times weren't exported, or that call other things than one function."""
    at_most: bool = False
    """Whether ``functions`` is as if the function ran for all of each child's time, as its log doesn't tell more."""

    @property
    def total(self) -> float:
        """What is known, together."""
        return self.step_functions + (self.functions or 0.0)


def prices_of(region: str) -> Prices:
    """Return the prices of a Region; those of us-east-1 where it bills in another currency."""
    try:
        return Prices.of(region)
    except ValueError:
        return Prices()


def cost_of(figures: Figures, functions: Sequence[Function], price: Prices, *, express: bool) -> Cost:
    """Return what a run costs."""
    children, calls = figures.children, figures.invocations
    invoked = calls.number if calls.why is None and calls.complete else 0
    if express:
        gigabyte_seconds = figures.tenths * prices.EXPRESS_ROUNDING_SECONDS * prices.EXPRESS_CHUNK_MB / 1024
        duration = sum(part * each for part, each in prices.parts(gigabyte_seconds, price.express_gb_second))
        step_functions = children * (price.transition + price.express_request) + duration
    else:
        step_functions = (children * _STATES_OF_A_CHILD + max(0, invoked - children)) * price.transition
    if len(functions) != 1 or (not invoked and figures.untimed):
        return Cost(step_functions=step_functions, functions=None)
    function = functions[0]
    seconds = calls.billed_ms / 1000 if invoked else figures.seconds
    tiers = price.gb_second(function.architecture)
    time = sum(part * each for part, each in prices.parts(seconds * function.memory_mb / 1024, tiers))
    billed = time + (invoked or children) * price.lambda_request
    return Cost(step_functions=step_functions, functions=billed, at_most=not invoked and bool(figures.children))


def left_out(costs: Sequence[Cost], *, express: bool) -> list[str]:
    """Return what isn't in the costs."""
    not_counted = [
        "S3 requests and storage",
        "CloudWatch logs and metrics",
        "the capture, account and combine functions",
    ]
    not_counted.append("what the worker itself uses: other services, data transfer")
    if not express:
        not_counted.append("states of a child beyond its first")
        if any(each.at_most for each in costs):
            not_counted.append("transitions of retries")
    if any(each.functions is None for each in costs):
        not_counted.append("the worker, whose time isn't known")
    return [*not_counted, "nested maps, free tiers, discounts and taxes"]
