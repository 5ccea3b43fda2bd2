"""The report is asked for by the command, after a run of the fakes."""

from __future__ import annotations

from tests.cli.command import distmap, finished

__all__ = ["distmap", "finished"]
