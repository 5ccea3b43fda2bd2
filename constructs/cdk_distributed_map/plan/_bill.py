"""What a run costs, by service, with quantities and unit prices: from its numbers alone, never from chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdk_distributed_map import prices
from cdk_distributed_map.plan._platform import Platform
from cdk_distributed_map.plan._work import Setting, Work
from cdk_distributed_map.prices import Prices, Tiers
from distmap import limits

_LISTED_AT_ONCE = 1_000
_REQUESTS_OF_A_MANIFEST = 2
_ROUND_STATES = 4

_Shapes = Sequence[tuple[float, float]]
"""How many children there are that take so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Charge:
    """One line of a bill.

    .. versionadded:: 0.1.0
    """

    service: str
    what: str
    quantity: float
    unit: str
    unit_price: float

    @property
    def dollars(self) -> float:
        """What it costs, in USD."""
        return self.quantity * self.unit_price


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a run costs.

    .. versionadded:: 0.1.0
    """

    charges: tuple[Charge, ...]
    """Those of the dearest service first, and of a service the dearest first."""
    as_of: str
    """When the prices were read."""

    @property
    def total(self) -> float:
        """Everything together, in USD."""
        return math.fsum(charge.dollars for charge in self.charges)

    def by_service(self) -> dict[str, float]:
        """Return what each service costs, in USD, the dearest first."""
        dollars: dict[str, float] = {}
        for charge in self.charges:
            dollars[charge.service] = dollars.get(charge.service, 0.0) + charge.dollars
        return dict(sorted(dollars.items(), key=lambda pair: -pair[1]))


def make_bill(work: Work, setting: Setting, *, platform: Platform, price: Prices) -> Bill:
    """Return what a run costs.

    Retries of throttled invocations aren't in it: Lambda doesn't bill them, and how many there are is chance.

    .. versionadded:: 0.1.0
    """
    again = 1 + _repeats(work)
    children, items = work.children(setting) * again, work.items * again
    # By the sizes of batches: what is rounded up for each child isn't the same for their mean.
    shapes = [(number * again, _invocation_seconds(work, setting, size)) for number, size in work.shapes(setting)]
    charges = [
        *_step_functions(work, setting, shapes, platform=platform, price=price),
        *(_function(work, setting, shapes, platform=platform, price=price) if work.calls_function else ()),
        *_steps(work, items, platform=platform, price=price),
        *_requests(work, items, children, price),
        *_logs(work, items, children, price),
    ]
    bill = Bill(charges=tuple(charge for charge in charges if charge.quantity), as_of=price.as_of)
    totals = bill.by_service()
    order = sorted(bill.charges, key=lambda charge: (-totals[charge.service], charge.service, -charge.dollars))
    return Bill(charges=tuple(order), as_of=price.as_of)


def _repeats(work: Work) -> float:
    """Return how often an item runs again in rounds, in the mean."""
    return math.fsum(work.run_again**number for number in range(1, work.rounds + 1))


def _invocation_seconds(work: Work, setting: Setting, size: float) -> float:
    return size * work.item_times(setting).mean / min(work.items_at_once, size)


def _step_functions(
    work: Work, setting: Setting, shapes: _Shapes, *, platform: Platform, price: Prices
) -> Iterator[Charge]:
    service, unit, each = "Step Functions", "transition", price.transition
    children = sum(number for number, _ in shapes)
    own = work.parent_states + work.outer_states + (work.rounds * _ROUND_STATES if work.run_again else 0)
    yield Charge(service=service, what="states of the run", quantity=own, unit=unit, unit_price=each)
    started = children if setting.express else children * (1 + work.states + work.retried)
    what = "starts of children" if setting.express else "starts and states of children"
    yield Charge(service=service, what=what, quantity=started, unit=unit, unit_price=each)
    if not setting.express:
        return
    requests, tenth = "Express requests", prices.EXPRESS_ROUNDING_SECONDS
    yield Charge(service=service, what=requests, quantity=children, unit="request", unit_price=price.express_request)
    # Rounded first, or 0.3 s would begin a fourth tenth in binary.
    overhead, twice = platform.child_seconds.middle, 1 + work.retried
    tenths = sum(number * math.ceil(round((one * twice + overhead) / tenth, 6)) for number, one in shapes)
    gb_seconds = tenths * tenth * prices.EXPRESS_CHUNK_MB / 1024
    yield from _tiered(service, "Express duration", gb_seconds, "GB-second", price.express_gb_second)


def _function(work: Work, setting: Setting, shapes: _Shapes, *, platform: Platform, price: Prices) -> Iterator[Charge]:
    service, twice = "Lambda", 1 + work.retried
    children = sum(number for number, _ in shapes)
    calls = children * twice
    yield Charge(service=service, what="invocations", quantity=calls, unit="request", unit_price=price.lambda_request)
    allowed = min(platform.account_concurrency, work.reserved or platform.account_concurrency)
    environments = min(children, setting.concurrency * work.map_runs_at_once, allowed)
    seconds = math.fsum(number * one * twice for number, one in shapes) + environments * platform.cold_seconds.middle
    tiers = price.gb_second(setting.architecture)
    yield from _tiered(service, "time, with cold starts", seconds * setting.memory_mb / 1024, "GB-second", tiers)


def _steps(work: Work, items: float, *, platform: Platform, price: Prices) -> Iterator[Charge]:
    """Yield what the functions cost that are called once, and go through all items."""
    rates = {"capture": platform.captured, "account": platform.accounted, "combine": platform.combined}
    for step in work.steps:
        seconds = (items if step.role == "account" else work.items) / rates[step.role].middle
        # What doesn't end in time goes on in a further call.
        calls = max(1, math.ceil(seconds / limits.MAX_FUNCTION_SECONDS))
        gb_seconds = (seconds + calls * platform.cold_seconds.middle) * step.memory_mb / 1024
        unit_price = price.lambda_request
        yield Charge(service="Lambda", what=f"{step.role} calls", quantity=calls, unit="request", unit_price=unit_price)
        yield from _tiered("Lambda", f"{step.role} time", gb_seconds, "GB-second", price.gb_second(step.architecture))


def _requests(work: Work, items: float, children: float, price: Prices) -> Iterator[Charge]:
    by_source: dict[str, tuple[float, float]] = {
        "listing": (0, math.ceil(work.items / _LISTED_AT_ONCE)),
        "captured": (1, 1 + math.ceil(work.items * work.item_bytes / limits.MIN_PART_BYTES / 2)),
        "file": (1, 0),
        "state": (0, 0),
    }
    gets, puts = by_source[work.source]
    files = math.ceil(children * work.result_bytes / limits.MAX_RESULT_FILE_BYTES)
    written = work.map_runs * _REQUESTS_OF_A_MANIFEST
    written += max(files, math.ceil(children * work.result_bytes / limits.MIN_PART_BYTES))
    gets += items * work.item_gets + (files if work.accounts else 0)
    puts += items * work.item_puts + written
    yield Charge(service="S3", what="GET requests", quantity=gets, unit="request", unit_price=price.s3_get)
    yield Charge(service="S3", what="PUT and LIST requests", quantity=puts, unit="request", unit_price=price.s3_put)
    if work.kms:
        yield Charge(service="KMS", what="requests", quantity=gets + puts, unit="request", unit_price=price.kms_request)


def _logs(work: Work, items: float, children: float, price: Prices) -> Iterator[Charge]:
    calls = children * (1 + work.retried) if work.calls_function else 0
    gigabytes = (calls * work.log_bytes + (items * work.item_log_bytes if calls else 0)) / 1e9
    yield from _tiered("CloudWatch Logs", "logs of the function", gigabytes, "GB", price.logs_gb)
    written = children * work.sfn_log_bytes / 1e9
    unit_price = price.sfn_logs_gb
    yield Charge(
        service="CloudWatch Logs", what="logs of Step Functions", quantity=written, unit="GB", unit_price=unit_price
    )
    traces = calls if work.traced else 0
    yield Charge(service="X-Ray", what="traces", quantity=traces, unit="trace", unit_price=price.xray_trace)


def _tiered(service: str, what: str, quantity: float, unit: str, tiers: Tiers) -> Iterator[Charge]:
    for part, unit_price in prices.parts(quantity, tiers):
        yield Charge(service=service, what=what, quantity=part, unit=unit, unit_price=unit_price)
