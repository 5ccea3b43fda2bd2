"""What tests of plans share, whatever folder they are in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.assembly import write_assembly


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``cdk synth`` wrote of pipelines of each kind."""
    return write_assembly(tmp_path_factory.mktemp("assembly"))
