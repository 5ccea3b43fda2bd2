"""Endpoints on this machine that this very process has started, and what their clients need to use them.

A client that is given such an endpoint uses its Region and keys, and nothing of how this machine is configured: no key
of another account and no proxy comes near it. This module knows nobody else, so that whoever starts endpoints and
whoever uses them need not know each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from botocore.session import Session


class LocalEndpoint(NamedTuple):
    """What clients of an endpoint need.

    Args:
        region: Region it is in.
        access_key: Access key id.
        secret_key: Secret key.
    """

    region: str
    access_key: str
    secret_key: str


_open: dict[str, LocalEndpoint] = {}


def opened(url: str, endpoint: LocalEndpoint) -> None:
    """Note that an endpoint is there."""
    _open[url.rstrip("/")] = endpoint


def closed(url: str) -> None:
    """Note that an endpoint is there no more."""
    _open.pop(url.rstrip("/"), None)


def known(url: str | None) -> LocalEndpoint | None:
    """Return what clients of an endpoint need, None where this process didn't start it."""
    return None if url is None else _open.get(url.rstrip("/"))


def unconfigured_session() -> Session:
    """Return a session of botocore that knows nothing of how this machine is configured.

    Each of its settings is looked for nowhere but in its default: neither in the environment nor in a file.
    """
    # It takes longer to import than all that only looks for endpoints.
    import botocore.session  # noqa: PLC0415
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as SETTINGS  # noqa: PLC0415

    return botocore.session.Session(
        session_vars={
            **{name: (None, None, default, convert) for name, (_, _, default, convert) in SETTINGS.items()},
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
