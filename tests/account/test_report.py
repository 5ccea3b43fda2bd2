"""The report of a run whose worker was throttled, by what the engine wrote: records, logs and histories."""

from __future__ import annotations

import pytest

from cdk_distributed_map.runs.report import page
from tests.account.lab import Lab


@pytest.mark.parametrize("pipeline", ["Single", "Express"])
def test_report_tells_throttles_cold_starts_and_times(lab: Lab, pipeline: str) -> None:
    given = {"batch": 2} if pipeline == "Express" else {}
    lab.workers_only()
    # The fewer attempts of an Express child could all be refused, and its items would run again in a round.
    lab.local.faults.set("throttle", 0.5 if pipeline == "Single" else 0.1)
    run = lab.run(pipeline, 12, {3: ["permanent"]}, count=1, percentage=100, **given)
    lab.calm()
    report = page.gather(lab.client.run(run.execution.arn))
    told = report.to_json()
    (only,) = told["runs"]
    assert (only["status"], only["children"], only["items"]) == ("SUCCEEDED", 12 if pipeline == "Single" else 6, 12)
    assert only["invocations"]["number"] >= only["children"]
    assert only["invocations"]["mostMemoryMB"] > 10
    assert not report.costs[0].at_most
    assert told["itemSeconds"]["p50"] <= told["itemSeconds"]["slowest"]
    assert len(told["slowestItems"]) == min(10, only["children"])
    if pipeline == "Single":
        assert only["retries"]["byError"].keys() == {"Lambda.TooManyRequestsException"}
        assert only["retries"]["throttled"] > 3
    else:
        assert only["retries"] is None
        assert "Express children have no histories" in page.render(report)
    text = page.render(report)
    assert "Throttles and retries" in text
    assert "1 of 12 items did not succeed" in text
