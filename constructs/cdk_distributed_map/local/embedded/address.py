"""Where a local AWS is: what its port, Region and account may be."""

from __future__ import annotations

import re
from typing import Final

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
_PORTS: Final = 65_535
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_ACCOUNT: Final = re.compile(r"\d{12}")
# Their ARNs don't begin with arn:aws, as all of the embedded AWS do.
_OTHER_PARTITIONS: Final = ("cn-", "us-gov-", "us-iso", "eu-isoe-", "eusc-")


def check_address(*, port: int, region: str, account: str) -> None:
    """Check what is asked for before anything is started.

    Raises:
        ValueError: It can't be had.
    """
    if not 0 <= port <= _PORTS:
        message = f"the port must be between 1 and {_PORTS}, or 0 for one that is free, got {port}"
        raise ValueError(message)
    if not _REGION.fullmatch(region):
        message = f"the region must be one of AWS, such as us-east-1, got {region!r}"
        raise ValueError(message)
    if region.startswith(_OTHER_PARTITIONS):
        message = f"the region must be one of the partition aws, such as us-east-1, got {region!r}"
        raise ValueError(message)
    if not _ACCOUNT.fullmatch(account):
        message = f"the account must be 12 digits, got {account!r}"
        raise ValueError(message)
