"""Exit codes of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Ledger

SUCCESS: Final = 0
ERROR: Final = 1
"""The command failed; the message says why and how to fix it."""
USAGE: Final = 2
"""The command line is wrong."""
RUN_FAILED: Final = 3
"""The run failed, timed out or was stopped."""
ITEMS_FAILED: Final = 4
"""The run succeeded, with items that failed within its tolerance."""
UNACCOUNTED: Final = 5
"""The ledger has missing items, doesn't add up, or can't be had when a watched run has succeeded; or result files
don't fit, so that the outcomes in them aren't known."""
OVER_LIMIT: Final = 6
"""No setting keeps a plan within the cost or the time it may take."""
INTERRUPTED: Final = 130
"""Ctrl-C; a run that was being watched goes on."""


def of_ledger(account: Ledger) -> int:
    """Return the exit code of a ledger: whether it is complete, whatever the outcome of each item."""
    if account.run_error is not None:
        return RUN_FAILED
    return SUCCESS if account.is_complete else UNACCOUNTED
