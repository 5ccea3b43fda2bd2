"""What the engine must know of a function to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cdk_distributed_map import arns


# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html
@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """How a function is invoked by those who don't wait for it.

    Args:
        retries: How often an event is tried again that the function failed on.
        age: Seconds after which an event is dropped that couldn't be given to the function.
        on_success: ARN of what gets a message when the function has succeeded, None for nothing.
        on_failure: ARN of what gets a message when it never did.
        dead_letters: ARN of the queue or topic that gets the event itself then.
    """

    retries: int = 2
    age: float = 6 * 3600.0
    on_success: str | None = None
    on_failure: str | None = None
    dead_letters: str | None = None


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
        events: What becomes of events that nobody waits for.
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
    events: EventSettings = field(default_factory=EventSettings)

    @property
    def region(self) -> str:
        """Region of the function."""
        return arns.parse(self.arn).region

    @property
    def account(self) -> str:
        """Account of the function."""
        return arns.parse(self.arn).account
