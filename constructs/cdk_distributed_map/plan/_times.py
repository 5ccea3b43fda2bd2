"""How long an item takes, as a distribution: what few slow items do to a run, its mean doesn't tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import Final

_Z99: Final = NormalDist().inv_cdf(0.99)
_DRAWN_ONE_BY_ONE: Final = 4
"""Items of a batch up to which each is drawn; the time of more is drawn at once, with their mean and variance."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """The time of an item, in seconds: log-normal by its mean and variance, or the times of a sample.

    .. versionadded:: 0.1.0
    """

    mean: float
    variance: float = 0.0
    sample: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.mean < math.inf or not 0 <= self.variance < math.inf:
            raise ValueError(f"an item must take over 0 seconds, got a mean of {self.mean} s")

    @classmethod
    def of(cls, median: float, p99: float | None = None) -> Times:
        """Return the log-normal distribution with this median and 99th percentile, in seconds.

        Args:
            median: Half of the items take at most this.
            p99: 99 of 100 take at most this. Default: every item takes the median.

        Raises:
            ValueError: A time isn't over 0 s, or the percentile is below the median.
        """
        if not 0 < median < math.inf:
            raise ValueError(f"the median must be over 0 seconds, got {median:g}")
        if p99 is None:
            return cls(mean=median)
        if not median <= p99 < math.inf:
            raise ValueError(f"the 99th percentile must be at least the median of {median:g} s, got {p99:g} s")
        sigma = math.log(p99 / median) / _Z99
        mean = median * math.exp(sigma**2 / 2)
        return cls(mean=mean, variance=mean**2 * math.expm1(sigma**2))

    @classmethod
    def measured(cls, seconds: Sequence[float]) -> Times:
        """Return the distribution of measured times.

        Raises:
            ValueError: There are none, or one is negative.
        """
        if not seconds or min(seconds) < 0:
            raise ValueError(f"measured times must be some of at least 0 seconds, got {len(seconds)} of them")
        mean = math.fsum(seconds) / len(seconds)
        variance = math.fsum((each - mean) ** 2 for each in seconds) / len(seconds)
        return cls(mean=max(mean, 1e-6), variance=variance, sample=tuple(sorted(seconds)))

    def scaled(self, factor: float) -> Times:
        """Return the distribution where every item takes so many times as long."""
        sample = tuple(each * factor for each in self.sample)
        return Times(mean=self.mean * factor, variance=self.variance * factor**2, sample=sample)

    def log_normal(self, items: int = 1) -> tuple[float, float]:
        """Return mu and sigma of the log-normal distribution with mean and variance of so many items in a row."""
        spread = math.log1p(self.variance / (items * self.mean**2))
        return math.log(items * self.mean) - spread / 2, math.sqrt(spread)

    def quantile(self, share: float, items: int = 1) -> float:
        """Return what so many items in a row take at most, in this share of cases."""
        if items == 1 and self.sample:
            return self.sample[min(len(self.sample) - 1, math.ceil(share * len(self.sample)) - 1)]
        mu, sigma = self.log_normal(items)
        return math.exp(mu + sigma * NormalDist().inv_cdf(share))

    def draw(self, rng: Random, items: int = 1) -> float:
        """Return a time of so many items in a row."""
        if self.sample and items <= _DRAWN_ONE_BY_ONE:
            return sum(rng.choice(self.sample) for _ in range(items))
        if not self.variance:
            return items * self.mean
        return rng.lognormvariate(*self.log_normal(items))
