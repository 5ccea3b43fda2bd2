"""Exit codes of the command: one vocabulary, whichever command it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cdk_distributed_map.runs import Ledger

SUCCESS: Final = 0
ERROR: Final = 1
USAGE: Final = 2
RUN_FAILED: Final = 3
ITEMS_FAILED: Final = 4
UNACCOUNTED: Final = 5
OVER_LIMIT: Final = 6
INTERRUPTED: Final = 130

MEANINGS: Final = {
    SUCCESS: "success; of a run: so far, or with every item",
    ERROR: "the command failed; the message says why and how to fix it",
    USAGE: "the command line is wrong, or nobody is there to confirm (--yes)",
    RUN_FAILED: "the run failed, timed out or was stopped",
    ITEMS_FAILED: "items did not succeed, and the run did not fail for it",
    UNACCOUNTED: "items are missing, or the ledger or result files don't add up",
    OVER_LIMIT: "no setting keeps a plan within the cost or the time it may take",
    INTERRUPTED: "Ctrl-C; a run that was being watched goes on",
}
"""What each code says: shown by ``distmap --help`` and documented in the same words."""

JUDGING: Final = ("watch", "ledger", "failures", "results", "report", "retry")
"""Commands whose exit code tells how a run went, as it does with ``--watch`` of the others."""

_BAD: Final = frozenset({"FAILED", "TIMED_OUT", "ABORTED"})


def of_ledger(account: Ledger, *, ended: bool = False) -> int:
    """Return the exit code of a run by its account: that of the last run of its chain, where it was retried.

    The first that applies: the run failed, its items aren't all accounted for, some did not succeed.

    Args:
        account: The account.
        ended: Whether the run is known to have ended, whatever status the account has: answers of AWS can be old.
    """
    if account.run_error is not None or account.status in _BAD:
        return RUN_FAILED
    if account.status == "RUNNING" and not ended:
        # What is pending, or in no file yet, is still to come.
        return ITEMS_FAILED if account.failed or account.unprocessed else SUCCESS
    if not account.is_complete:
        return UNACCOUNTED
    return ITEMS_FAILED if account.has_failures else SUCCESS


def epilog() -> str:
    r"""Return the table of codes for a help page, which begins with the ``\b`` by which click keeps its lines."""
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return f"\b\nExit codes of all commands; of 3, 5 and 4 the first that applies:\n{rows}\n"
