"""The HTTP answer that optimized integrations tell beside a service's own: the SDK for Java's words for it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from cdk_distributed_map.local.asl.json_text import Json, dumps, size

METADATA: Final = frozenset({"SdkHttpMetadata", "SdkResponseMetadata"})
"""The members that :func:`metadata` returns."""


def metadata(headers: Mapping[str, str], status: int, request_id: str) -> dict[str, Any]:
    """Return the members that tell of the HTTP answer.

    Args:
        headers: Its headers.
        status: Its status.
        request_id: Id of the request.
    """
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [value] for name, value in headers.items()},
            "HttpHeaders": dict(headers),
            "HttpStatusCode": status,
        },
        "SdkResponseMetadata": {"RequestId": request_id},
    }


def of_json_service(answer: Json, seconds: float) -> dict[str, Any]:
    """Return the members for an answer of the engine's own, of a service that talks JSON.

    Args:
        answer: The answer.
        seconds: When it was given, in seconds since 1970.
    """
    request_id = str(uuid.uuid4())
    headers = {
        "Connection": "keep-alive",
        "Content-Length": str(size(dumps(answer))),
        "Content-Type": "application/x-amz-json-1.0",
        "Date": http_date(int(seconds)),
        "x-amzn-RequestId": request_id,
    }
    return metadata(headers, 200, request_id)


@lru_cache(maxsize=4)
def http_date(seconds: int) -> str:
    """Return a time as headers have it."""
    return formatdate(seconds, usegmt=True)
