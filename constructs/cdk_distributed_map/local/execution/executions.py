"""An execution as the local AWS shows it to tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LocalExecution:
    """An execution of a state machine, as it was when last looked at.

    Args:
        arn: Its ARN.
        status: ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT`` or ``ABORTED``.
        input: Its input.
        output: Its output, None without.
        error: Name of its error, None without.
        cause: Cause of its error, None without.
    """

    arn: str
    status: str
    input: Any
    output: Any = None
    error: str | None = None
    cause: str | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.arn.rsplit(":", 1)[-1]

    def check(self) -> LocalExecution:
        """Return it if it succeeded.

        Raises:
            AssertionError: It didn't; the message says how it ended.
        """
        if self.status != "SUCCEEDED":
            message = f"the execution {self.name} ended {self.status}: {self.error}: {self.cause}"
            raise AssertionError(message)
        return self


def described(answer: Mapping[str, Any]) -> LocalExecution:
    """Return an execution from the answer to DescribeExecution."""
    output = answer.get("output")
    return LocalExecution(
        arn=answer["executionArn"],
        status=answer["status"],
        input=json.loads(answer["input"]),
        output=None if output is None else json.loads(output),
        error=answer.get("error"),
        cause=answer.get("cause"),
    )
