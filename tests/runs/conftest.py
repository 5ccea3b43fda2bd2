"""What the tests of the client share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import run_here
from tests.runs.fixtures import (
    bare,
    bucket,
    client,
    clock,
    definitions,
    environment,
    files,
    listed,
    s3,
    squares,
    states,
)

if TYPE_CHECKING:
    from cdk_distributed_map.local.server import LocalAws

__all__ = [
    "bare",
    "bucket",
    "client",
    "clock",
    "definitions",
    "environment",
    "files",
    "listed",
    "s3",
    "squares",
    "states",
]


@pytest.fixture
def distmap(
    engine: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command on the local AWS of the module; returns exit code and output."""
    for name, value in engine.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SFN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        code = run_here(*arguments)
        return code, capsys.readouterr().out

    return run
