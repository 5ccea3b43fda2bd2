"""boto3 clients that cannot reach anything but the local endpoint, whatever this machine is configured for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config

ACCESS_KEY: Final = "test"

# Where botocore looks for settings: nowhere.
_VARIABLES: Final = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "use_fips_endpoint": (None, None, False, None),
    "use_dualstack_endpoint": (None, None, False, None),
}
PINNED: Final[dict[str, Any]] = {
    "proxies": {},
    "s3": {"addressing_style": "path"},
    # boto3 looks for endpoints in the environment even where one is given, and warns of what it finds. Missing in its
    # types.
    "ignore_configured_endpoint_urls": True,
}
"""What the configuration of every client needs."""


def bare_session() -> botocore.session.Session:
    """Return a session of botocore that knows nothing of how this machine is configured."""
    return botocore.session.Session(session_vars=_VARIABLES)


def session(*, region: str, access_key: str = ACCESS_KEY, secret_key: str = ACCESS_KEY) -> Any:
    """Return a session of boto3 that knows nothing of how this machine is configured."""
    return boto3.Session(
        botocore_session=bare_session(),
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
    )


def clients(endpoint: str, *, region: str, pool: int = 50) -> Callable[[str], Any]:
    """Return what gives clients, by the name of the service, with the credentials of the local account's root.

    It may be called from any thread, and gives the same client each time.

    Args:
        endpoint: URL of the local endpoint.
        region: Region they are for.
        pool: Connections each of them keeps.
    """
    made_by = session(region=region)
    config = Config(max_pool_connections=pool, retries={"mode": "standard", "max_attempts": 3}, **PINNED)

    made: dict[str, Any] = {}
    lock = threading.Lock()

    def client(service: str) -> Any:
        # To make a client isn't safe from several threads at once; to use one is.
        with lock:
            if service not in made:
                made[service] = made_by.client(service, endpoint_url=endpoint, config=config)
            return made[service]

    return client
