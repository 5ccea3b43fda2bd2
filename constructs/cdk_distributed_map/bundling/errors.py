"""What can go wrong while packages are bundled."""

from __future__ import annotations


class BundlingError(ValueError):
    """The packages of a function can't be bundled: the message says why, and the ways out."""
