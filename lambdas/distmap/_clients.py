"""The clients of S3 and of what else the account of a run takes, made on first use.

boto3 takes several times longer to import than this whole package, and a worker that spills nothing never needs it.
"""

from __future__ import annotations

import threading
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boto3 import Session
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

_lock = threading.Lock()
shared_client: S3Client | None = None


def s3_client() -> S3Client:
    """Return the S3 client of this process; clients are safe to share between threads.

    It takes Region, credentials and endpoint from the environment, as every client in Lambda does, and tries a
    request ten times: captures and combines make thousands of requests, and one lost loses them all.
    """
    global shared_client  # noqa: PLW0603 - one client for the life of the process is the point
    with _lock:
        if shared_client is None:
            shared_client = _make_client()
        return shared_client


def _make_client() -> S3Client:
    from botocore.config import Config  # noqa: PLC0415 - see the module docstring

    retries = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=32)
    client: S3Client = _session().client("s3", config=retries)
    return client


@cache
def states_client() -> SFNClient:
    """Return the Step Functions client of this process."""
    client: SFNClient = client_of("stepfunctions")
    return client


@cache
def client_of(service: str, region: str | None = None) -> Any:
    """Return the client of another service, in the function's Region where no other one is given."""
    from botocore.config import Config  # noqa: PLC0415 - see the module docstring

    config = Config(retries={"mode": "standard", "total_max_attempts": 10}, max_pool_connections=32)
    return _session().client(service, region_name=region, config=config)


@cache
def _session() -> Session:
    import boto3  # noqa: PLC0415 - see the module docstring
    from botocore.session import get_session  # noqa: PLC0415
    from botocore.utils import parse_timestamp  # noqa: PLC0415

    def timestamp(value: Any) -> datetime:
        try:
            return datetime.fromisoformat(value)
        except (TypeError, ValueError):
            moment: datetime = parse_timestamp(value)
            return moment

    session = get_session()
    # More than half the time that boto3 takes for a page of a listing goes into guessing the format of its times.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    return boto3.Session(botocore_session=session)
