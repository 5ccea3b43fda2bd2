"""The command ``distmap``: options, terminals and exit codes.

It knows the client, the plan and the control of the local AWS, and nobody knows it. `_main` lists the commands and
imports the module of the one that is called; that module asks the client, `_show`, `_plan_screen` and their like word
what comes back, and `_exit` says with which code the command ends. No decision about a run is made here.
"""

from __future__ import annotations

from cdk_distributed_map.cli._main import main, run_command

__all__ = ["main", "run_command"]
