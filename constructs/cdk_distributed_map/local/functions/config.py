"""What the engine must know of a function to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FunctionConfig:
    """One version of a function as it is deployed.

    Args:
        name: Its name.
        arn: Its ARN, unqualified.
        handler: Module and function, such as ``app.handler``.
        runtime: Such as ``python3.13``.
        code: Folder with the unpacked code.
        layers: Folder with the unpacked layers, merged in their order as Lambda does under ``/opt``; None without.
        revision: Changes whenever anything about the function changes.
        environment: The function's own environment variables.
        role: ARN of its role, or None for no credentials of a role.
        timeout: Seconds an invocation may take.
        memory_mb: Memory in MB.
        reserved_concurrency: Executions it may have at once; None where it reserves nothing.
        version: Version that runs.
        log_group: Name of its log group.
    """

    name: str
    arn: str
    handler: str
    runtime: str
    code: Path
    revision: str
    layers: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str | None = None
    timeout: int = 3
    memory_mb: int = 128
    reserved_concurrency: int | None = None
    version: str = "$LATEST"
    log_group: str = ""

    @property
    def region(self) -> str:
        """Region of the function."""
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        """Account of the function."""
        return self.arn.split(":")[4]
