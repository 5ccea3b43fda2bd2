"""A run that captures nothing is a run like any other, only short: on the local AWS, with the example app."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]


def test_no_item_at_all_is_a_valid_run(example_assembly: Path) -> None:
    with LocalAws() as aws:
        aws.deploy(example_assembly, "Ranges", "SumOfSquares")
        ranges = aws.run("Ranges", {"number": 0, "chunk": 5}).check()
        assert ranges.output["items"]["count"] == 0
        assert ranges.output["results"] is None
        assert ranges.output["combined"] == {"ranges": 0, "failed": 0, "sum": 0}
        client = Client(endpoint_url=aws.endpoint_url, region="us-east-1")
        listing = client.pipeline("SumOfSquares/SumOfSquares").start({})
        assert listing.wait().succeeded
        output = listing.describe().output
        assert (output["items"]["count"], output["mapRunArn"]) == (0, None)
        run = client.run("Ranges")
        ledger = run.ledger()
        assert (ledger.captured, ledger.succeeded, ledger.missing) == (0, 0, 0)
        assert list(run.results()) == []
