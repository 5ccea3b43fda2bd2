"""Credentials of the account that the local AWS is."""

from __future__ import annotations

import base64
import secrets
from typing import NamedTuple


class Keys(NamedTuple):
    """Credentials of an account's root.

    Args:
        access_key: Access key id.
        secret_key: Secret key.
    """

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"<Keys {self.access_key}>"

    @classmethod
    def new(cls) -> Keys:
        """Return some that nobody has."""
        return cls(f"AKIA{base64.b32encode(secrets.token_bytes(10)).decode()}", secrets.token_urlsafe(30))
