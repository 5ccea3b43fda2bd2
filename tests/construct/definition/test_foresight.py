"""Plans at synthesis."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import assertions

from cdk_distributed_map import Batching
from cdk_distributed_map.testing import assert_plan
from tests.construct.lab import Lab


@pytest.fixture
def pipeline(lab: Lab) -> Any:
    worker = lab.python_worker(memory_size=512)
    return lab.pipeline(worker=worker, batching=Batching(max_items=100), max_concurrency=20)


def test_a_plan_is_of_what_is_declared(pipeline: Any) -> None:
    found = pipeline.plan(items=100_000, item_seconds=0.05)

    assert found.children == 1_000
    assert found.setting.concurrency == found.work.reserved == 20
    assert found.setting.memory_mb == 512
    assert found.work.accounts
    assert 250 < found.p50 < 300


def test_synthesis_prints_it(lab: Lab, pipeline: Any) -> None:
    pipeline.plan(items=1_000, item_seconds=0.05, item_p99=0.1, region="sa-east-1")
    words = assertions.Match.string_like_regexp("1,000 items in 10 children take about .* and cost about .*")

    assert len(assertions.Annotations.from_stack(lab.stack).find_info("*", words)) == 1


def test_a_plan_within_its_limits_passes(pipeline: Any) -> None:
    assert_plan(pipeline.plan(items=1_000, item_seconds=0.05), max_cost=1, max_seconds=60)


def test_fails_when_a_run_has_become_dearer_or_slower(pipeline: Any) -> None:
    found = pipeline.plan(items=100_000, item_seconds=0.05)

    with pytest.raises(AssertionError, match=r"costs \$0.*, over \$0.0100 and takes .*, over 1m00s: 100,000 items"):
        assert_plan(found, max_cost=0.01, max_seconds=60)


def test_fails_when_aws_would_end_such_a_run(pipeline: Any) -> None:
    with pytest.raises(ValueError, match="takes over 500 s, and the function ends after 60 s"):
        pipeline.plan(items=1_000, item_seconds=5)
