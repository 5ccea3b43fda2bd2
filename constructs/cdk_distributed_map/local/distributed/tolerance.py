"""How many items of a map run may fail."""

from __future__ import annotations


class Tolerance:
    """A tolerance that can be changed while the map runs.

    0 means that the limit isn't set, since that is what AWS shows and stores for a limit that isn't; without any,
    the first failure breaches it.

    Args:
        count: Most items that may fail.
        percentage: Most items that may fail, in percent of all.
    """

    def __init__(self, *, count: int, percentage: float) -> None:
        self.count = count
        self.percentage = percentage

    def breached(self, failed: int, total: int | None) -> bool:
        """Tell whether too many have failed.

        Args:
            failed: Items that failed or timed out.
            total: All items, None while they are still being read: a share can't be told before.
        """
        if failed == 0:
            return False
        if not self.count and not self.percentage:
            return True
        if self.count and failed > self.count:
            return True
        return bool(self.percentage and total and failed * 100 > self.percentage * total)
