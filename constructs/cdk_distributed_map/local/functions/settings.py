"""What can be set about running functions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cdk_distributed_map.caches import cache_folder
from distmap import limits

CPUS = os.cpu_count() or 1
COMMANDS_VARIABLE: Final = "DISTMAP_LOCAL_COMMANDS"


def commands_of(environment: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the commands in an environment.

    Raises:
        ValueError: The variable isn't JSON.
    """
    text = environment.get(COMMANDS_VARIABLE) or "{}"
    try:
        found: dict[str, list[str]] = json.loads(text)
    except ValueError as error:
        message = f"{COMMANDS_VARIABLE} must be JSON text, got {text[:80]!r} ({error})"
        raise ValueError(message) from error
    _check_commands(found)
    return found


def _check_commands(commands: object) -> None:
    if isinstance(commands, Mapping):
        lists = [each for each in commands.values() if isinstance(each, list | tuple) and each]
        if len(lists) == len(commands) and all(isinstance(word, str) for each in lists for word in each):
            return
    message = (
        'commands must hold a list of words for each name, such as {"squares": ["python3", "task.py"]}, got '
        f"{commands!r:.80}"
    )
    raise ValueError(message)


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
        commands: Commands that stand for containers, by the family of the task definition or the name of the job
            definition. Default: those in the environment variable ``DISTMAP_LOCAL_COMMANDS``, as JSON text.

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
    commands: Mapping[str, Sequence[str]] = field(default_factory=lambda: commands_of(os.environ))

    def __post_init__(self) -> None:
        for name in ("processes", "max_processes", "account_concurrency"):
            if getattr(self, name) < 1:
                message = f"{name} must be at least 1, got {getattr(self, name)}"
                raise ValueError(message)
        for name in ("grow_seconds", "idle_seconds", "init_seconds"):
            if getattr(self, name) < 0:
                message = f"{name} must not be negative, got {getattr(self, name)}"
                raise ValueError(message)
        _check_commands(self.commands)
        if self.max_processes < self.processes:
            # A caller who bounds one of them means it as the bound.
            object.__setattr__(self, "max_processes", self.processes)
