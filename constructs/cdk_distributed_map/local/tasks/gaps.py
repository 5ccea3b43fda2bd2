"""What AWS answers and the embedded AWS leaves out."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

_OBJECTS: Final = frozenset({"GetObject", "PutObject", "HeadObject", "CopyObject"})


def completed(service: str, operation: str, parameters: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer with the members that S3 always gives.

    Every object has been encrypted since 2023, with S3's own key unless told otherwise, and an upload is answered
    with the checksum that the SDK sends along.
    """
    if service != "s3" or operation not in _OBJECTS:
        return answer
    full = {"ServerSideEncryption": "AES256", **answer}
    if operation == "PutObject" and not any(key.startswith("Checksum") for key in answer):
        body = parameters.get("Body", b"")
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        full |= {"ChecksumCRC32": checksum, "ChecksumType": "FULL_OBJECT"}
    return full
