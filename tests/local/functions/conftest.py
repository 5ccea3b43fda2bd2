"""A lab for functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdk_distributed_map.local.functions.forks import Forks
from cdk_distributed_map.local.guardian import Guardian
from tests.local.functions.lab import HANDLERS, Lab


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder of the handlers."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "handlers.py").write_text(HANDLERS)
    return folder


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """What processes of functions are forked from, started once."""
    guardian = Guardian()
    shared = Forks(guardian=guardian, scratch=tmp_path_factory.mktemp("forks"))
    yield shared
    shared.close()
    guardian.close()


@pytest.fixture
def lab(tmp_path: Path, code: Path, forks: Forks) -> Iterator[Lab]:
    """Functions of the handlers in a folder."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    guardian = Guardian()
    yield Lab(scratch, code, guardian, forks)
    guardian.close()
