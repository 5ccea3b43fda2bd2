"""The S3 client, made on first use.

boto3 takes several times longer to import than this whole package, and a worker that spills nothing never needs it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_lock = threading.Lock()
_client: S3Client | None = None


def s3_client() -> S3Client:
    """Return the S3 client of this process; clients are safe to share between threads.

    It takes Region, credentials and endpoint from the environment, as every client in Lambda does, and tries a
    request ten times: captures and combines make thousands of requests, and one lost loses them all.
    """
    global _client  # noqa: PLW0603 - one client for the life of the process is the point
    with _lock:
        if _client is None:
            import boto3  # noqa: PLC0415 - see the module docstring
            from botocore.config import Config  # noqa: PLC0415 - see the module docstring

            retries = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=32)
            _client = boto3.client("s3", config=retries)
        return _client
