"""Headers between the endpoint and the embedded AWS; none of them is passed on from a client."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "x-distmap-"
SECRET: Final = "x-distmap-secret"  # noqa: S105 - the name of a header
"""What only this engine knows: whoever comes without it isn't let in."""
FORWARDED: Final = "x-distmap-forwarded"
"""Says that a client asks, whose signature is to be checked, and not the engine itself."""
ONLY_ASKED: Final = "x-distmap-only-asked"
"""Asks whether the caller may, and for nothing to be done."""
RESOURCE: Final = "x-distmap-resource"
"""ARN of what the call is about: ministack doesn't find it in all of them."""
SECRET_VARIABLE: Final = "DISTMAP_SECRET"  # noqa: S105 - the name of a variable
"""Environment variable with the secret, for the process of the embedded AWS."""
