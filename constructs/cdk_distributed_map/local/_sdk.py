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
}


# Missing in the types of botocore.
_UNTYPED: Final[dict[str, Any]] = {"ignore_configured_endpoint_urls": True}


def clients(endpoint: str, *, region: str, pool: int = 50) -> Callable[[str], Any]:
    """Return what gives clients, by the name of the service, with the credentials of the local account's root.

    It may be called from any thread, and gives the same client each time.

    Args:
        endpoint: URL of the local endpoint.
        region: Region they are for.
        pool: Connections each of them keeps.
    """
    session = boto3.Session(
        botocore_session=botocore.session.Session(session_vars=_VARIABLES),
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        region_name=region,
    )
    config = Config(
        proxies={},
        max_pool_connections=pool,
        retries={"mode": "standard", "max_attempts": 3},
        s3={"addressing_style": "path"},
        # boto3 looks for endpoints in the environment even where one is given, and warns of what it finds.
        **_UNTYPED,
    )

    made: dict[str, Any] = {}
    lock = threading.Lock()

    def client(service: str) -> Any:
        # To make a client isn't safe from several threads at once; to use one is.
        with lock:
            if service not in made:
                untyped: Any = session
                made[service] = untyped.client(service, endpoint_url=endpoint, config=config)
            return made[service]

    return client
