"""What AWS allows and how fast it is: quotas, and speeds that are only known within a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any, Final

from distmap import limits

_LARGE_REGIONS: Final = ("us-east-1", "us-west-2", "eu-west-1")


@dataclass(frozen=True)
class Range:
    """A number that isn't known exactly.

    .. versionadded:: 0.1.0
    """

    low: float
    high: float

    def draw(self, rng: Random) -> float:
        """Return one of the numbers, all being as likely."""
        return rng.uniform(self.low, self.high)

    @property
    def middle(self) -> float:
        """The number halfway."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, kw_only=True)
class Platform:
    """Quotas and speeds of a Region and account.

    Quotas are from AWS's pages and are numbers. Speeds were inferred from few runs and are ranges, which a plan's own
    range comes from.

    .. versionadded:: 0.1.0
    """

    # https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html: "up to", so that these are the most. The
    # least of Standard ones is inferred from AWS's workshop, "Optimizing for performance and cost": its 1,000 children
    # took a little under 25 s, of which 9 to 17 s are left for their starts. Nothing is published
    # of Express ones.
    standard_starts: Range = Range(60, limits.STANDARD_DISPATCH_PER_SECOND)
    """Standard children that a Map Run starts in a second."""
    express_starts: Range = Range(500, limits.EXPRESS_DISPATCH_PER_SECOND)
    """Express children that it starts in a second."""
    transitions: float = 5_000
    """State transitions in a second that the account's Standard executions share."""
    # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    account_concurrency: int = limits.ACCOUNT_CONCURRENCY
    scaling_step: int = limits.SCALING_STEP
    """Environments that a function may add in ten seconds; what isn't used isn't saved up."""
    # Inferred from few published runs, which tests hold the planner to.
    start_seconds: Range = Range(0.5, 2.0)
    """From the start of a Map Run to its first child."""
    end_seconds: Range = Range(3.5, 6.5)
    """From the end of its last child to its own."""
    child_seconds: Range = Range(0.03, 0.2)
    """What a child takes beside its work."""
    rows: Range = Range(14_000, 30_000)
    """Rows of an item file that a Map Run reads in a second."""
    listed: Range = Range(3_000, 6_000)
    """Objects that a Map Run lists in a second."""
    file_bytes: float = 85e6
    """Bytes of an item file that it reads in a second."""
    captured: Range = Range(50_000, 500_000)
    """Items that a capture function writes in a second."""
    accounted: Range = Range(100_000, 400_000)
    """Items that the account step adds up in a second."""
    combined: Range = Range(20_000, 150_000)
    """Results that a combine function reads in a second."""
    cold_seconds: Range = Range(0.2, 0.5)
    """What a new environment of a Python function takes, with boto3."""

    @classmethod
    def of(cls, region: str) -> Platform:
        """Return the default quotas of a Region."""
        return cls(transitions=5_000 if region in _LARGE_REGIONS else 800)

    def changed(self, given: Mapping[str, Any]) -> Platform:
        """Return the platform with other numbers.

        Args:
            given: Numbers by the names of the attributes; a range is a number, or a pair of its least and its greatest.

        Raises:
            ValueError: A name isn't known, or a number isn't positive.
        """
        known = {field.name for field in fields(self)}
        if unknown := sorted(given.keys() - known):
            raise ValueError(f"quotas have no {unknown[0]!r}: their names are {', '.join(sorted(known))}")
        return replace(self, **{name: self._checked(name, value) for name, value in given.items()})

    def _checked(self, name: str, value: Any) -> Any:
        pair = value if isinstance(value, list | tuple) else (value, value)
        is_range = isinstance(getattr(self, name), Range)
        if len(pair) != 2 or (pair[0] != pair[1] and not is_range) or not all(_is_number(each) for each in pair):
            wanted = "a number of at least 0, or a pair of them" if is_range else "a number over 0"
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
        if pair[0] > pair[1]:
            raise ValueError(f"{name} must be a pair of its least and its greatest, got {value!r}")
        if pair[0] == 0 and not name.endswith("_seconds"):
            raise ValueError(f"{name} must be over 0, got {value!r}")
        return Range(*pair) if is_range else pair[0]

    def drawn(self, rng: Random) -> Platform:
        """Return the platform with one number for each range."""
        return self._exactly({name: value.draw(rng) for name, value in self._ranges()})

    def likely(self) -> Platform:
        """Return the platform with the middle of each range."""
        return self._exactly({name: value.middle for name, value in self._ranges()})

    def _exactly(self, numbers: Mapping[str, float]) -> Platform:
        exact: dict[str, Any] = {name: Range(value, value) for name, value in numbers.items()}
        return replace(self, **exact)

    def _ranges(self) -> list[tuple[str, Range]]:
        found = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in found if isinstance(value, Range)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
