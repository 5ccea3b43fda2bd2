"""Prices that a run is made of, in USD, as they were in November 2026, each with the page it comes from.

Every number lives here once. Free tiers are left out: they don't grow with a run. Tiers that get cheaper are those of
an account's month, and begin with a run: what the account has used before isn't known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

AS_OF: Final = "2026-11-28"
"""When the prices were read."""

Tiers = tuple[tuple[float, float], ...]
"""Where each tier ends, in units, and what a unit of it costs; the last ends at infinity."""

# https://aws.amazon.com/step-functions/pricing/
STANDARD_TRANSITION: Final = 25e-6
"""One state transition; a retry is one too. The start of each child of a Distributed Map is one of its parent's, for
Express children too: SFN state-map-distributed.html, "Transitions in Distributed Map state"."""
EXPRESS_REQUEST: Final = 1e-6
EXPRESS_GB_SECOND: Final = 16.67e-6
"""Of the first 1,000 GB-hours of a month."""
EXPRESS_ROUNDING_SECONDS: Final = 0.1
EXPRESS_CHUNK_MB: Final = 64
"""What memory is billed in; one task with an input of up to 256 KiB needs one chunk."""
_EXPRESS_TIERS: Final = ((3.6e6, EXPRESS_GB_SECOND), (18e6, 8.33e-6), (math.inf, 4.56e-6))

# https://aws.amazon.com/lambda/pricing/
LAMBDA_REQUEST: Final = 0.2e-6
LAMBDA_GB_SECOND: Final = {"arm64": 13.3334e-6, "x86_64": 16.6667e-6}
"""Of the first tier of a month."""
_ARM_TIERS: Final = ((7.5e9, 13.3334e-6), (18.75e9, 12.0001e-6), (math.inf, 10.6667e-6))
_X86_TIERS: Final = ((6e9, 16.6667e-6), (15e9, 15.0e-6), (math.inf, 13.3334e-6))
_USUAL_LAMBDA_MS: Final = 2.1
"""Price of a millisecond at 128 MB in most Regions, in billionths of a USD."""

# https://aws.amazon.com/s3/pricing/
S3_PUT: Final = 5e-6
"""A PUT, COPY, POST or LIST request."""
S3_GET: Final = 0.4e-6

# Regions where a price isn't us-east-1's, in millionths; rounded to the digits that the price pages' readers give.
_TRANSITIONS: Final = {
    "us-west-1": 27.9, "eu-west-3": 29.7, "ap-northeast-2": 27.1, "ap-south-1": 28.5, "ap-east-1": 27.5,
    "me-south-1": 27.5, "eu-south-1": 26.25, "af-south-1": 29.75, "sa-east-1": 37.5, "us-gov-east-1": 30.0,
    "us-gov-west-1": 30.0,
}  # fmt: skip
_LAMBDA_MS: Final = {"ap-east-1": 2.9, "af-south-1": 2.8, "ap-northeast-3": 2.7, "me-south-1": 2.6, "eu-south-1": 2.4}


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The price of each unit that a run is billed in, in USD.

    .. versionadded:: 0.1.0
    """

    as_of: str = AS_OF
    region: str = "us-east-1"
    transition: float = STANDARD_TRANSITION
    express_request: float = EXPRESS_REQUEST
    express_gb_second: Tiers = _EXPRESS_TIERS
    lambda_request: float = LAMBDA_REQUEST
    lambda_gb_second_arm64: Tiers = _ARM_TIERS
    lambda_gb_second_x86_64: Tiers = _X86_TIERS
    lambda_storage_gb_second: float = 3.09e-8
    """Of ephemeral storage over 512 MB."""
    s3_put: float = S3_PUT
    s3_get: float = S3_GET
    kms_request: float = 3e-6
    # https://aws.amazon.com/cloudwatch/pricing/: what Lambda sends has had tiers since May 2025
    logs_gb: Tiers = ((10_000, 0.50), (30_000, 0.25), (50_000, 0.10), (math.inf, 0.05))
    sfn_logs_gb: float = 0.50
    # https://aws.amazon.com/xray/pricing/
    xray_trace: float = 5e-6

    @classmethod
    def of(cls, region: str) -> Prices:
        """Return the prices of a Region.

        Only transitions and Lambda's time are known by Region; everything else is us-east-1's.

        Raises:
            ValueError: The Region bills in another currency.
        """
        if region.startswith("cn-"):
            raise ValueError(f"prices of {region} are in CNY, which isn't planned in: give them in a file of prices")
        dearer = _LAMBDA_MS.get(region, _USUAL_LAMBDA_MS) / _USUAL_LAMBDA_MS
        return cls(
            region=region,
            transition=_TRANSITIONS.get(region, 25.0) * 1e-6,
            lambda_gb_second_arm64=tuple((end, price * dearer) for end, price in _ARM_TIERS),
            lambda_gb_second_x86_64=tuple((end, price * dearer) for end, price in _X86_TIERS),
        )

    def changed(self, given: Mapping[str, Any]) -> Prices:
        """Return these prices with others in their places.

        Args:
            given: Prices by the names of the attributes; a tiered one is a number, or a list of pairs of where a tier
                ends and its price, where the last one's end is null.

        Raises:
            ValueError: A name isn't known, or a price is none.
        """
        kinds = {field.name: str(field.type) for field in fields(self)}
        if unknown := sorted(given.keys() - kinds.keys()):
            raise ValueError(f"prices have no {unknown[0]!r}: their names are {', '.join(sorted(kinds))}")
        return replace(self, **{name: _checked(name, kinds[name], value) for name, value in given.items()})

    def gb_second(self, architecture: str) -> Tiers:
        """Return the tiers of a function's time.

        Raises:
            ValueError: Another architecture than ``arm64`` and ``x86_64``.
        """
        tiers = {"arm64": self.lambda_gb_second_arm64, "x86_64": self.lambda_gb_second_x86_64}
        if architecture not in tiers:
            raise ValueError(f"architecture must be one of {sorted(tiers)}, got {architecture!r}")
        return tiers[architecture]


def parts(quantity: float, tiers: Tiers) -> list[tuple[float, float]]:
    """Return how much of a quantity falls into each tier, and the tier's price; what falls into none is left out."""
    found, begin = [], 0.0
    for end, price in tiers:
        if quantity <= begin:
            break
        found.append((min(quantity, end) - begin, price))
        begin = end
    return found


def _checked(name: str, kind: str, value: Any) -> Any:
    if kind == "str":
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text, got {value!r}")
        return value
    if kind != "Tiers":
        return _price(name, value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ((math.inf, _price(name, value)),)
    tiers: list[tuple[float, float]] = []
    for pair in value:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{name} must be a price or pairs of a tier's end and its price, got {pair!r}")
        tiers.append((math.inf if pair[0] is None else _price(name, pair[0]), _price(name, pair[1])))
    ends = [end for end, _ in tiers]
    if not ends or ends[-1] != math.inf or any(a >= b for a, b in itertools.pairwise(ends)):
        raise ValueError(f"the tiers of {name} must end one after the other, the last with null, got {value!r}")
    return tuple(tiers)


def _price(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
    return float(value)
