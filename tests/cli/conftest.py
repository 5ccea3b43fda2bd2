"""What the tests of the command share: its own fixtures, and those of the client."""

from __future__ import annotations

from tests.cli.command import distmap, finished
from tests.plan.fixtures import assembly
from tests.runs.fixtures import bucket, client, clock, definitions, environment, files, s3, squares, states

__all__ = [
    "assembly",
    "bucket",
    "client",
    "clock",
    "definitions",
    "distmap",
    "environment",
    "files",
    "finished",
    "s3",
    "squares",
    "states",
]
