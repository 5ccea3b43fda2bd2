"""What a plan says of a run, beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdk_distributed_map.plan import Platform, forecast, inputs_of
from cdk_distributed_map.runs.aws import arns
from cdk_distributed_map.runs.errors import RunsError
from cdk_distributed_map.runs.foresight import deployed
from cdk_distributed_map.runs.foresight.measured import Term, compare, measure

if TYPE_CHECKING:
    from cdk_distributed_map.prices import Prices
    from cdk_distributed_map.runs.find.handles import RunHandle
    from cdk_distributed_map.runs.report.costs import Cost


def terms_of(run: RunHandle, cost: Cost, price: Prices) -> tuple[Term, ...]:
    """Return the terms of a plan with the run's own items and times; none where no plan can be made of it.

    Args:
        run: The run, without its retries.
        cost: What it cost.
        price: The prices that this was computed with.
    """
    try:
        measured = measure(run)
        described = deployed.described(run.aws, run.pipeline.arn, name=run.pipeline.called)
        platform = Platform.of(arns.parse(run.arn).region)
        inputs = inputs_of(described, measured.facts(), platform=platform, prices=price)
        found = forecast(inputs.work, inputs.setting, platform=platform, prices=price, refuses=False)
    except (RunsError, ValueError):
        return ()  # it is running, has no results, or goes beyond what a plan knows
    dollars = Term(name="cost in all", unit="USD", predicted=found.bill.total, measured=cost.total)
    return (*compare(found, measured), dollars)
