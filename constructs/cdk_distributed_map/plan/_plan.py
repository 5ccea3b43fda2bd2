"""A plan in one call."""

from __future__ import annotations

from typing import Any

from cdk_distributed_map.plan._forecast import Forecast, forecast
from cdk_distributed_map.plan._inputs import Described, Fact, inputs_of
from cdk_distributed_map.plan._platform import Platform
from cdk_distributed_map.plan._times import Times
from cdk_distributed_map.prices import Prices

_USUAL_REGION = "us-east-1"


def plan(
    described: Described,
    *,
    items: int,
    item_seconds: float,
    item_p99: float | None = None,
    region: str | None = None,
    seed: int = 0,
    **facts: Any,
) -> Forecast:
    """Return what a run of a described state machine is expected to take and cost.

    .. versionadded:: 0.1.0

    Args:
        described: The state machine.
        items: Number of items.
        item_seconds: Seconds that an item takes, in the median.
        item_p99: Seconds that 99 of 100 items take at most. Default: all take the same.
        region: Region whose quotas and prices count. Default: that of the state machine, or us-east-1.
        seed: Seed of the simulation.
        facts: What else is known, by the names of :class:`Work` and :class:`Setting`, such as ``item_bytes``; what is
            None counts as not known.

    Raises:
        ValueError: AWS would refuse the run, or end it; or a number is out of bounds.
    """
    where = region or described.region or _USUAL_REGION
    known = {name: Fact(value, "given") for name, value in facts.items() if value is not None}
    known |= {"items": Fact(items, "given"), "times": Fact(Times.of(item_seconds, item_p99), "given")}
    found = inputs_of(described, known, platform=Platform.of(where), prices=Prices.of(where))
    return forecast(found.work, found.setting, platform=found.platform, prices=found.prices, seed=seed)
