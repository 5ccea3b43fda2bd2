"""What bound a run, and what it cost, from its figures alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cdk_distributed_map.prices import Prices
from cdk_distributed_map.runs.aws.descriptions import Counts, MapRun, RunDescription
from cdk_distributed_map.runs.report import bounds
from cdk_distributed_map.runs.report.costs import cost_of, left_out
from cdk_distributed_map.runs.report.figures import Figures
from cdk_distributed_map.runs.report.functions import Function
from cdk_distributed_map.runs.report.lambda_report import LambdaReport

FUNCTION = Function(
    name="worker",
    memory_mb=1024,
    timeout=60,
    architecture="arm64",
    runtime="python3.13",
    log_group="/aws/lambda/worker",
)

SEVENTY = [(10 + number // 10 * 50, 60 + number // 10 * 50) for number in range(70)]
"""Ten at a time, for seven times as long as each takes."""


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def figures(*maps: tuple[float, float], end: float, concurrency: int = 10) -> Figures:
    """A run from 0 to its end, whose Map Runs ran between these times."""
    described = RunDescription(name="run", arn="arn", status="SUCCEEDED", started=moment(0), stopped=moment(end))
    runs = [
        MapRun(
            arn=f"map-{number}",
            status="SUCCEEDED",
            items=Counts(),
            children=Counts(),
            max_concurrency=concurrency,
            tolerated_failure_percentage=0,
            tolerated_failure_count=0,
            started=moment(start),
            stopped=moment(stop),
        )
        for number, (start, stop) in enumerate(maps)
    ]
    return Figures(name="run", arn="arn", described=described, maps=runs)


def work(found: Figures, *children: tuple[float, float]) -> Figures:
    for start, stop in children:
        found.children += 1
        found.seconds += stop - start
        found.tenths += round((stop - start) * 10)
        found.timeline.spread(start, stop)
    return found


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (work(figures((500, 600), end=620), *[(510, 590)] * 10), "before the map"),
        (work(figures((10, 400), end=420), *SEVENTY), "at MaxConcurrency"),
        (work(figures((10, 400), end=420), *[(10, 390)] * 3), "below MaxConcurrency"),
        (work(figures((10, 400), end=420), *[(10, 60)] * 9, (10, 390)), "last children"),
        (work(figures((10, 60), (400, 420), end=430), *[(10, 60)] * 5, (400, 420)), "between rounds"),
        (work(figures((10, 60), end=500), *[(10, 60)] * 5), "after the map"),
        (figures((10, 300), end=320), "the map"),
    ],
    ids=["capture", "full", "few", "tail", "rounds", "combine", "untimed"],
)  # fmt: skip
def test_what_took_most_of_the_time_is_what_bound_the_run(found: Figures, name: str) -> None:
    shares = bounds.shares(found)
    assert bounds.binding(shares).name == name
    assert found.wall is not None
    assert sum(each.seconds for each in shares) == pytest.approx(found.wall, abs=3)


def test_throttling_is_told_where_a_run_stays_below_its_concurrency() -> None:
    found = work(figures((10, 400), end=420, concurrency=100), *[(10, 390)] * 3)
    found.retries.throttled = 7
    share = bounds.binding(bounds.shares(found))
    assert "throttled" in share.text
    assert "concurrency" in share.remedy


def test_what_nothing_is_known_of_has_no_shares() -> None:
    assert bounds.shares(Figures(name="run", arn="arn", described=None)) == []


def invocation(number: int) -> LambdaReport:
    return LambdaReport(request=str(number), duration_ms=900, billed_ms=1000, memory_mb=1024, max_memory_mb=100)


def test_costs_are_those_of_the_invocations_where_the_log_tells_them() -> None:
    found = work(figures((10, 60), end=70), *[(10, 30)] * 4)
    for number in range(6):  # two more than children: retries
        found.invocations.add(invocation(number), timeout=60)
    price = Prices()
    cost = cost_of(found, [FUNCTION], price, express=False)
    assert not cost.at_most
    assert cost.step_functions == pytest.approx((4 * 2 + 2) * 25e-6)
    assert cost.functions == pytest.approx(6 * 13.3334e-6 + 6 * 0.2e-6)
    assert "transitions of retries" not in left_out([cost], express=False)
    found.invocations.why = "no log"
    cost = cost_of(found, [FUNCTION], price, express=False)
    assert cost.at_most
    assert cost.functions == pytest.approx(80 * 13.3334e-6 + 4 * 0.2e-6)
    assert "transitions of retries" in left_out([cost], express=False)


def test_express_children_cost_their_time() -> None:
    found = work(figures((10, 60), end=70), *[(10, 30)] * 4)
    cost = cost_of(found, [], Prices(), express=True)
    assert cost.step_functions == pytest.approx(4 * 26e-6 + 80 * 64 / 1024 * 16.67e-6)
    assert cost.functions is None
    assert "the worker, whose time isn't known" in left_out([cost], express=True)
