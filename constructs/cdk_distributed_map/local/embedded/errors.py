"""What can go wrong with the embedded AWS and with what is deployed to it."""

from __future__ import annotations

from typing import Final

KILLED: Final = (
    "the local AWS that had this state before was killed, or could not write it: its objects are there, all else is as "
    "it was when it last ended in order; deploy again"
)


class EmbeddedAwsError(RuntimeError):
    """The embedded AWS didn't start, or has ended."""


class DeployError(RuntimeError):
    """A stack could not be deployed.

    Args:
        stack: Name of the stack.
        reasons: What failed: logical id and type, and why.
    """

    def __init__(self, stack: str, reasons: list[str]) -> None:
        self.stack = stack
        self.reasons = reasons
        listed = "\n".join(f"  {reason}" for reason in reasons) or "  no reason was given"
        super().__init__(f"the stack {stack} could not be deployed:\n{listed}")
