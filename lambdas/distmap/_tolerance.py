"""Whether a run keeps to the tolerance that its user declared for items, and what is said where it doesn't."""

from __future__ import annotations

from typing import Final

from distmap._errors import DistmapError, ItemsMissingError, ToleranceExceededError
from distmap._noting import counted
from distmap._reconcile import Account
from distmap._tolerated import is_exceeded, tolerated
from distmap.wire import AccountSettings, ErrorShare

MOST_ERRORS: Final = 5
_ERROR_CHARACTERS: Final = 100


def verdict(account: Account, settings: AccountSettings, where: str) -> DistmapError | None:
    """Return the error that a run fails with; None where it is as it should be.

    Args:
        account: Its account.
        settings: What is tolerated. Either limit alone fails the run; with none declared nothing is tolerated.
        where: Address of what did not succeed.
    """
    lost = account.missing or not account.adds_up or any(not nested.is_complete for nested in account.nested)
    if lost:
        return ItemsMissingError(_error_text_missing(account, where))
    if is_exceeded(account.unsuccessful, account.captured, settings):
        return ToleranceExceededError(_error_text_exceeded(account, settings, where))
    if any(nested.exceeding_count for nested in account.nested):
        return ToleranceExceededError(_error_text_nested(account, where))
    return None


def most_frequent(account: Account) -> list[ErrorShare]:
    """Return the most frequent errors, those of children that timed out and others of one name together."""
    counts: dict[str, int] = {}
    for entry in account.errors:
        counts[entry.error] = counts.get(entry.error, 0) + entry.count
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])[:MOST_ERRORS]
    return [{"error": error[:_ERROR_CHARACTERS], "count": count} for error, count in ordered]


def _error_text_exceeded(account: Account, settings: AccountSettings, where: str) -> str:
    return (
        f"{account.unsuccessful:,} of {counted(account.captured, 'item')} did not succeed ({_kinds(account)}), and "
        f"{tolerated(account.captured, settings)}{_errors(account)}; see {where}"
    )


def _error_text_nested(account: Account, where: str) -> str:
    texts = []
    for nested in account.nested:
        if nested.exceeding_count:
            first, more = nested.exceeding[0], nested.exceeding_count - 1
            others = f", and more than are tolerated in {counted(more, 'other map run')} of it" if more else ""
            texts.append(
                f"{first.unsuccessful:,} of {counted(first.captured, 'item')} of the nested map {nested.label} in item "
                f"{first.path} did not succeed, and {tolerated(first.captured, first.tolerance)}{others}"
            )
    return f"{'; '.join(texts)}; see {where}"


def _error_text_missing(account: Account, where: str) -> str:
    if account.missing:
        missing = f"{account.missing:,} of {counted(account.captured, 'item')} are in no result file"
        if account.missing_examples:
            missing += f", such as {', '.join(map(str, account.missing_examples[:MOST_ERRORS]))}"
    elif not account.adds_up:
        missing = f"the account of {counted(account.captured, 'item')} doesn't add up"
    else:
        missing = "the account of nested maps doesn't add up"
    problems = [*account.problems, *(problem for nested in account.nested for problem in nested.problems)]
    why = f": {problems[0]:.500}" if problems else ""
    return f"{missing}, so what became of them isn't known{why} ({_kinds(account)}){_errors(account)}; see {where}"


def _kinds(account: Account) -> str:
    names = ("failed", "unprocessed", "pending", "missing")
    kinds = [f"{getattr(account, name):,} {name}" for name in names if getattr(account, name)]
    return ", ".join(kinds) or "none of them failed"


def _errors(account: Account) -> str:
    shares = [f"{share['error']} {share['count']:,}" for share in most_frequent(account)]
    return f": {', '.join(shares)}" if shares else ""
