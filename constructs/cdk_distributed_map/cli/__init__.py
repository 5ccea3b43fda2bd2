"""The command ``distmap``: a thin layer over :mod:`cdk_distributed_map.runs`."""

from __future__ import annotations

from cdk_distributed_map.cli._main import main, run_command

__all__ = ["main", "run_command"]
