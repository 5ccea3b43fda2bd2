"""The report is asked for by the command, after a run of the fakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cdk_distributed_map.runs import Pipeline
from cdk_distributed_map.runs.report import page
from tests.cli.command import distmap, finished
from tests.runs.fake_executions import Clock
from tests.runs.fake_states import FakeStates
from tests.runs.report.scene import Scene

__all__ = ["distmap", "finished"]


@pytest.fixture
def scene(squares: Pipeline, states: FakeStates, clock: Clock, files: Callable[..., Any]) -> Pipeline:
    """A pipeline with a run, its retry and a run of the day before."""
    Scene(states, clock, squares, files).play()
    return squares


@pytest.fixture
def report(scene: Pipeline) -> page.RunReport:
    return page.gather(scene.run("tuesday-retry-1"))
