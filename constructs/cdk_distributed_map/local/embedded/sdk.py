"""boto3 clients that cannot reach anything but the local endpoint, whatever this machine is configured for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import boto3
from botocore.config import Config

from cdk_distributed_map.endpoints import unconfigured_session
from cdk_distributed_map.local.embedded.keys import Keys

DUMMIES: Final = Keys("test", "test")
"""What an emulator takes that checks nothing."""

PINNED: Final[dict[str, Any]] = {
    "proxies": {},
    # Nobody answers at the names that some actions would be called at.
    "inject_host_prefix": False,
    "s3": {"addressing_style": "path"},
    # boto3 looks for endpoints in the environment even where one is given, and warns of what it finds. Missing in its
    # types.
    "ignore_configured_endpoint_urls": True,
}
"""What the configuration of every client needs."""


Sent = Callable[..., None]
"""Called with each request, as ``request``, before it is sent."""


def session(*, region: str, keys: Keys = DUMMIES, sent: Sent | None = None) -> Any:
    """Return a session of boto3 that knows nothing of how this machine is configured.

    Args:
        region: Region its clients are for.
        keys: Their credentials. Default: dummies.
        sent: Called with each of their requests before it is sent. Default: nothing is.
    """
    core = unconfigured_session()
    if sent is not None:
        core.register("before-send", sent)
    return boto3.Session(
        botocore_session=core,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        region_name=region,
    )


def clients(
    endpoint: str, *, region: str, keys: Keys = DUMMIES, sent: Sent | None = None, pool: int = 50, **options: Any
) -> Callable[[str], Any]:
    """Return what gives clients, by the name of the service.

    It may be called from any thread, and gives the same client each time.

    Args:
        endpoint: URL of the local endpoint.
        region: Region they are for.
        keys: Their credentials. Default: dummies.
        sent: Called with each of their requests before it is sent. Default: nothing is.
        pool: Connections each of them keeps.
        options: More of botocore's configuration of them.
    """
    made_by = session(region=region, keys=keys, sent=sent)
    config = Config(max_pool_connections=pool, retries={"mode": "standard", "max_attempts": 3}, **PINNED, **options)

    made_clients: dict[str, Any] = {}
    lock = threading.Lock()

    def client(service: str) -> Any:
        # To make a client isn't safe from several threads at once; to use one is.
        with lock:
            if service not in made_clients:
                made_clients[service] = made_by.client(service, endpoint_url=endpoint, config=config)
            return made_clients[service]

    return client
