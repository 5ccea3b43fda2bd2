"""One local AWS with the pipelines that all tests of accounts run, in each process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Accounting, Batching, Rerun
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs.client import Client
from tests.account.lab import Lab, synthesize


def make(folder: Path) -> None:
    """Synthesize the pipelines."""
    tolerates: dict[str, Any] = {
        "tolerated_failure_count": "$.count",
        "tolerated_failure_percentage": "$.percentage",
    }
    batches = Batching(max_items="$.batch")
    express = sfn.StateMachineType.EXPRESS
    soon = cdk.Duration.seconds(30)
    synthesize(
        folder,
        {
            # What they are is said where the tests of any run draw from them.
            "Batched": {**tolerates, "batching": batches, "rerun": Rerun(rounds=2, wait=soon), "combines": True},
            "Single": {**tolerates, "batching": Batching.none(), "accounting": Accounting(rounds=0)},
            "Express": {
                **tolerates,
                "batching": batches,
                "child_type": express,
                "accounting": Accounting(rounds=1),
                "rerun": Rerun(rounds=3, errors=["Temporary"]),
            },
            "ExpressSingle": {
                **tolerates,
                "batching": Batching.none(),
                "child_type": express,
                "accounting": Accounting(rounds=3),
            },
            # An item that is slow outlasts its function.
            "Hasty": {"batching": batches, "seconds": 2, "accounting": Accounting(rounds=3)},
            # Each item is ten of an inner map, in two batches, one of which may fail: one after the other, so that
            # what was before the one that fails is done.
            "Nested": {
                "nested": {
                    "items": 10,
                    "batching": Batching(max_items=5),
                    "max_concurrency": 1,
                    "tolerated_failure_count": 1,
                },
                "max_concurrency": 5,
                "accounting": Accounting(rounds=4),
            },
            # Runs end in it before their time: by a limit of time that a wait, or calls that are refused, outlast.
            "Ending": {
                "batching": batches,
                "max_concurrency": 1,
                "timeout": cdk.Duration.minutes(5),
                "rerun": Rerun(rounds=2, wait=cdk.Duration.hours(1), max_wait=cdk.Duration.hours(1)),
                "accounting": Accounting(early_stop_percentage=20),
            },
        },
    )


@pytest.fixture(scope="session")
def deployed(make_once: Callable[[str, Callable[[Path], None]], Path]) -> Iterator[Lab]:
    """The pipelines, deployed."""
    folder = make_once("accounts", make)
    with LocalAws() as local:
        local.deploy(folder / "cdk.out")
        local.invocations = []
        client = Client(endpoint_url=local.endpoint_url)
        yield Lab(local=local, client=client, folder=folder / "record")
        client.aws.close()


@pytest.fixture
def lab(deployed: Lab) -> Iterator[Lab]:
    """The pipelines, without a fault."""
    yield deployed
    deployed.calm()
