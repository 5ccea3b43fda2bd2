"""How long an item of a run took, from the records of some of its children: what the size of batches is made of.

A child's record has when it began and when it ended. Of a batch each item has its share of that, which is what counts
for batches, whatever the number of threads that a worker has. A start of the function, and waits where it was
throttled, are in it: batches that are made of it are rather too small than too large.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from math import ceil
from typing import Final

from distmap._account_reading import Reading
from distmap._records import Child

_CHILDREN: Final = 200
"""Children of each file that are looked at: more say little more, and each costs the account time."""
_FILES: Final = 5
_SHARE: Final = 0.99
_DIGITS: Final = 3


def item_seconds(reading: Reading) -> float | None:
    """Return the seconds that 99 in 100 of the children looked at needed at most for each of their items.

    They are from the beginning of up to five files of those that succeeded in the first map.

    Returns:
        The seconds; None where no record tells it.
    """
    steps = [step for step in reading.files() if step.round == 0 and reading.file(step).kind == "SUCCEEDED"]
    found: list[float] = []
    for step in steps[:: ceil(len(steps) / _FILES) or 1]:
        children = islice(reading.quiet_reader(step).children(reading.file(step)), _CHILDREN)
        found += [seconds for seconds in map(_seconds, children) if seconds is not None]
    if not found:
        return None
    found.sort()
    # The least that can be told apart from nothing is a millisecond for a whole child.
    return float(f"{max(found[ceil(len(found) * _SHARE) - 1], 1e-6):.{_DIGITS}g}")


def _seconds(child: Child) -> float | None:
    items, record = child.items(), child.record or {}
    try:
        took = datetime.fromisoformat(record["StopDate"]) - datetime.fromisoformat(record["StartDate"])
    except (KeyError, TypeError, ValueError):
        return None
    return took.total_seconds() / len(items) if items else None
