"""Concurrency: what may run at the same time, and what is set aside for it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from cdk_distributed_map.settings import checks, kinds
from distmap import limits

DEFAULT_MAX_CONCURRENCY = 100
DEFAULT_NESTED_CONCURRENCY = 10


@kinds.checked_class
@dataclass(frozen=True, kw_only=True)
class ReservedConcurrency:
    """Reserved concurrency of a worker that the pipeline builds: use the factories.

    .. versionadded:: 0.1.0
    """

    amount: float | None
    matches: bool = False

    @staticmethod
    @kinds.checked
    def match_max_concurrency() -> ReservedConcurrency:
        """As many as the map may run at once, so that it can neither starve nor be starved (the default)."""
        return ReservedConcurrency(amount=None, matches=True)

    @staticmethod
    @kinds.checked
    def fixed(amount: float) -> ReservedConcurrency:
        """This many, for instance where several runs at once share the worker.

        Raises:
            ValueError: Not a whole number from 1 to 10,000.
        """
        checks.whole_number(
            "reserved concurrency",
            amount,
            least=1,
            most=limits.MAX_CONCURRENT_CHILDREN,
            remedy="0 would stop the worker altogether; ReservedConcurrency.none() reserves nothing",
        )
        return ReservedConcurrency(amount=amount)

    @staticmethod
    @kinds.checked
    def of(amount: float) -> ReservedConcurrency:
        """Deprecated: the former name of :meth:`fixed`."""
        _renamed("of", "fixed")
        return ReservedConcurrency.fixed(amount)

    @staticmethod
    @kinds.checked
    def matching() -> ReservedConcurrency:
        """Deprecated: the former name of :meth:`match_max_concurrency`."""
        _renamed("matching", "match_max_concurrency")
        return ReservedConcurrency.match_max_concurrency()

    @staticmethod
    @kinds.checked
    def none() -> ReservedConcurrency:
        """None: for accounts whose quota doesn't allow a reservation. Other functions can then starve the run."""
        return ReservedConcurrency(amount=None)

    def resolve(self, concurrency: float | str) -> float | None:
        """Return the amount for a map of this concurrency; one that comes from the input reserves nothing."""
        if not self.matches:
            return self.amount
        return None if isinstance(concurrency, str) else concurrency


def _renamed(before: str, now: str) -> None:
    # Above this function, the deprecated one and its check of arguments: where it is used.
    warnings.warn(
        f"ReservedConcurrency.{before} is now ReservedConcurrency.{now}: use that name",
        DeprecationWarning,
        stacklevel=4,
    )


def check_max_concurrency(value: float | str) -> None:
    """Check MaxConcurrency itself.

    Raises:
        ValueError: Not a whole number from 1 to 10,000.
    """
    checks.whole_number(
        "max_concurrency",
        value,
        least=1,
        most=limits.MAX_CONCURRENT_CHILDREN,
        remedy="a Map Run has at most 10,000 children at once, and 0 means just that",
    )


def check_reservation(concurrency: float, reserved: float | None, *, what: str) -> None:
    """Check that the map doesn't run more children than the worker may run.

    Raises:
        ValueError: It would.
    """
    if reserved is None or not (checks.is_known(concurrency) and checks.is_known(reserved)):
        return
    if concurrency > reserved:
        raise ValueError(
            f"max_concurrency is {concurrency:,} but {what} has a reserved concurrency of {reserved:,.0f}, so Lambda "
            "would throttle the difference: lower max_concurrency or reserve more"
        )
