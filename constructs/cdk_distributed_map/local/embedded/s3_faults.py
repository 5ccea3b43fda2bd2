"""Lets S3 fail on request."""

from __future__ import annotations

import io
from typing import Any, Final

from botocore.awsrequest import AWSResponse
from urllib3.response import HTTPResponse

from cdk_distributed_map.local.faults import Faults

_INTERNAL_ERROR: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>"
)


def let_s3_fail(client: Any, faults: Faults) -> None:
    """Let a client's requests be answered with an error as often as the faults say, in place of being sent."""

    def answer(**_: object) -> AWSResponse | None:
        if not faults.strikes("s3_error"):
            return None
        raw: Any = HTTPResponse(body=io.BytesIO(_INTERNAL_ERROR), status=500, preload_content=False)
        return AWSResponse("", 500, raw.headers, raw)

    client.meta.events.register("before-send.s3", answer)
