"""Times and amounts in words: the one form of them on terminals, on pages and in messages."""

from __future__ import annotations

import math
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_CENTS: Final = 2
_UNKNOWN: Final = "-"


def seconds_text(value: float | None) -> str:
    """Return a time: ``2d03h``, ``1h05m``, ``3m20s``, ``42s``, ``1.5s``, ``48ms``, ``2.9us``; ``-`` for None.

    .. versionadded:: 0.1.0

    Example::

        >>> [seconds_text(value) for value in (3_900, 0.048, None)]
        ['1h05m', '48ms', '-']
    """
    if value is None:
        return _UNKNOWN
    whole = round(value)
    if whole >= _DAY:
        return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"
    if whole >= _HOUR:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    if whole >= _MINUTE:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if value >= _MINUTE / 6 or value == 0:
        return f"{whole}s"
    # Of three digits, so that 0.9996 s are 1 s, and not 1e+03 ms.
    unit, factor = ("s", 1.0) if value >= 0.9995 else ("ms", 1e3) if value >= 0.0009995 else ("us", 1e6)
    return f"{value * factor:.3g}{unit}"


def dollars_text(value: float | None) -> str:
    """Return an amount for people, of three digits at least: ``$0.00123``, ``$12.30``, ``$1,234``; ``-`` for None.

    .. versionadded:: 0.1.0

    Example::

        >>> [dollars_text(value) for value in (0.00123, 12.3, 1_234)]
        ['$0.00123', '$12.30', '$1,234']
    """
    if value is None:
        return _UNKNOWN
    if value == 0:
        return "$0"
    if value >= 1_000:
        return f"${value:,.0f}"
    digits = max(_CENTS, 2 - math.floor(math.log10(value)))
    return f"${value:.{min(digits, 9)}f}"
