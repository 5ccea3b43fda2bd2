"""The arithmetic of a tolerance: the same for the items of a run and for those of a nested map."""

from __future__ import annotations

from fractions import Fraction

from distmap.wire import Tolerance


def is_exceeded(unsuccessful: int, captured: int, tolerance: Tolerance) -> bool:
    """Tell whether more items did not succeed than are tolerated: either limit alone is one; with neither, none is."""
    count, percentage = tolerance["toleratedFailureCount"], tolerance["toleratedFailurePercentage"]
    if count is None and percentage is None:
        return unsuccessful > 0
    # A percentage is the decimal number that was written, not the binary one nearest to it.
    over = percentage is not None and unsuccessful * 100 > Fraction(repr(percentage)) * captured
    return over or (count is not None and unsuccessful > count)


def tolerated(captured: int, tolerance: Tolerance) -> str:
    """Return what is tolerated, in words."""
    count, percentage = tolerance["toleratedFailureCount"], tolerance["toleratedFailurePercentage"]
    found = []
    if percentage is not None:
        most = Fraction(repr(percentage)) * captured // 100
        found.append(f"{percentage:g}% ({most:,})")
    if count is not None:
        found.append(f"{int(count):,}")
    if not found:
        return "none is tolerated"
    return f"{' and at most '.join(found)} {'is' if found == ['1'] else 'are'} tolerated"
