"""What can be set about running functions."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cdk_distributed_map.local.functions.libraries import cache_folder
from distmap import limits

CPUS = os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """How functions are run.

    Args:
        processes: Processes that run at once. An invocation beyond waits for its turn, though it counts as running
            against the concurrency limits, as it would on AWS. Default: two per CPU.
        max_processes: Processes that run at once where invocations have to wait though the machine has time to
            spare, as when handlers wait for something. Default: thirty-two per CPU, at most 128.
        grow_seconds: How long an invocation waits before a process beyond ``processes`` is started for it; several
            times as long where the machine is busy, as more processes would only be in each other's way.
        idle_seconds: How long a process without work is kept.
        init_seconds: How long a process may take to start; then it gets the function's timeout once more, as on AWS.
        account_concurrency: Concurrent executions of the account.
        native_client: Whether AWS's native runtime client is used. Default: where it works, else the stand-in.
        memory_limit: Whether a process above the function's memory is ended, as far as the platform tells.
        cache: Folder of unpacked code.

    Raises:
        ValueError: A number is out of its range.
    """

    processes: int = 2 * CPUS
    max_processes: int = min(32 * CPUS, 128)
    grow_seconds: float = 0.5
    idle_seconds: float = 300.0
    init_seconds: float = 10.0
    account_concurrency: int = limits.ACCOUNT_CONCURRENCY
    native_client: bool | None = None
    memory_limit: bool = True
    cache: Path = field(default_factory=cache_folder)

    def __post_init__(self) -> None:
        for name in ("processes", "max_processes", "account_concurrency"):
            if getattr(self, name) < 1:
                message = f"{name} must be at least 1, got {getattr(self, name)}"
                raise ValueError(message)
        for name in ("grow_seconds", "idle_seconds", "init_seconds"):
            if getattr(self, name) < 0:
                message = f"{name} must not be negative, got {getattr(self, name)}"
                raise ValueError(message)
        if self.max_processes < self.processes:
            # A caller who bounds one of them means it as the bound.
            object.__setattr__(self, "max_processes", self.processes)
