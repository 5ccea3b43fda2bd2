"""Times, amounts and forecasts in words."""

from __future__ import annotations

import math
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_CENTS: Final = 2


def seconds_text(value: float) -> str:
    """Return a time for people: ``2d03h``, ``1h05m``, ``3m20s``, ``42s``, ``1.5s``.

    .. versionadded:: 0.1.0
    """
    if value < _MINUTE:
        return f"{value:.3g}s" if value < _MINUTE / 6 else f"{value:.0f}s"
    whole = round(value)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def dollars_text(value: float) -> str:
    """Return an amount for people, of three digits at least: ``$0.00123``, ``$12.30``, ``$1,234``.

    .. versionadded:: 0.1.0
    """
    if value == 0:
        return "$0"
    if value >= 1_000:
        return f"${value:,.0f}"
    digits = max(_CENTS, 2 - math.floor(math.log10(value)))
    return f"${value:.{min(digits, 9)}f}"
