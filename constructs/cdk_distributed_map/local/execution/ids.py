"""Random ids of which each invocation takes some: ``str(uuid.uuid4())`` takes several times as long."""

from __future__ import annotations

import os


def uuid_text(digits: str) -> str:
    """Return the first 32 of hexadecimal digits as a UUID of version 4."""
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def new_uuid() -> str:
    """Return a random UUID."""
    return uuid_text(os.urandom(16).hex())
