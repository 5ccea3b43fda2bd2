"""An engine that is closed in the middle of its work ends, whatever it was about to do."""

from __future__ import annotations

import errno
import random
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdk_distributed_map.local import Engine
from cdk_distributed_map.local.execution.records import Spool

if TYPE_CHECKING:
    from tests.local.bench import Bench

GIVE_UP_SECONDS = 30


@pytest.mark.slow
@pytest.mark.parametrize("written", [False, True], ids=["inline", "written"])
def test_an_engine_ends_at_any_point_of_its_maps(bench: Bench, aws_url: str, *, written: bool) -> None:
    # Children that do nothing: at nearly any moment some were made and have not begun.
    moments = random.Random(20261125)  # noqa: S311 - the same moments each time, no secret
    made = bench.mapped(MaxConcurrency=7, Items=f"{{% [1..{200 if written else 2000}] %}}")
    if written:
        # Most of its time goes into its files.
        made["States"]["Map"]["ResultWriter"] = bench.writer(bench.bucket())
    arn = bench.machine(made)
    for _ in range(10):
        engine = Engine(endpoint_url=aws_url)
        engine.start()
        for _ in range(3):
            engine.call("StartExecution", {"stateMachineArn": arn, "input": "{}"})
        time.sleep(moments.uniform(0.0, 0.3 if written else 0.1))
        closing = threading.Thread(target=engine.close, daemon=True)
        closing.start()
        closing.join(GIVE_UP_SECONDS)
        assert not closing.is_alive()


class FullDisk(Spool):
    """A spool that takes in the inputs of the children and one result."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 2

    def append(self, data: bytes) -> int:
        """Append while there is space."""
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(data)


def test_a_map_ends_when_the_disk_is_full(bench: Bench, aws_url: str) -> None:
    arn = bench.machine(bench.mapped(MaxConcurrency=2, Items="{% [1..20] %}"))
    with closing(FullDisk()) as disk, Engine(endpoint_url=aws_url) as engine:
        engine.services.map_runs.spool = disk
        execution = engine.call("StartExecution", {"stateMachineArn": arn, "input": "{}"})["executionArn"]
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while (found := engine.call("DescribeExecution", {"executionArn": execution}))["status"] == "RUNNING":
            assert time.monotonic() < give_up
            time.sleep(0.01)
        (run,) = engine.call("ListMapRuns", {"executionArn": execution})["mapRuns"]
        assert engine.call("DescribeMapRun", {"mapRunArn": run["mapRunArn"]})["status"] == "FAILED"
    assert (found["status"], found["error"]) == ("FAILED", "States.Runtime")
    assert "No space left on device" in found["cause"]
