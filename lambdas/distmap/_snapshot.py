"""What an account function leaves for its next invocation: one object in the run's ``account/`` folder."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distmap._errors import EventError
from distmap._stream import is_missing, object_chunks
from distmap.wire import ACCOUNT_FOLDER, Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LEVEL: Final = 1
"""Most states are the same as those beside them: the quickest compression makes a hundredth of them."""


class Snapshot(NamedTuple):
    """Everything that is known so far."""

    header: dict[str, Any]
    """What is JSON of it."""
    states: bytes
    written: bytes


def snapshot_key(run: Run, name: str) -> str:
    """Return where a snapshot is."""
    return f"{run['prefix']}/{ACCOUNT_FOLDER}/{name}.bin"


def save(s3: S3Client, run: Run, snapshot: Snapshot, *, name: str | None = None) -> str:
    """Write a snapshot and return its name; by default that is a checksum, so that no two share one."""
    header = json.dumps({**snapshot.header, "statesBytes": len(snapshot.states)}).encode() + b"\n"
    packer = zlib.compressobj(_LEVEL)
    body = b"".join(
        [packer.compress(header), packer.compress(snapshot.states), packer.compress(snapshot.written), packer.flush()]
    )
    name = sha256(body).hexdigest()[:32] if name is None else name
    s3.put_object(Bucket=run["bucket"], Key=snapshot_key(run, name), Body=body)
    return name


def load(s3: S3Client, run: Run, name: str) -> Snapshot | None:
    """Return a snapshot; None where there is none of the name.

    Raises:
        EventError: What is there is none.
    """
    key = snapshot_key(run, name)
    try:
        unpacker = zlib.decompressobj()
        body = bytearray()
        for chunk in object_chunks(s3, run["bucket"], key):
            body += unpacker.decompress(chunk)
        body += unpacker.flush()
        header, _, rest = body.partition(b"\n")
        header_fields = json.loads(header)
        size = header_fields.pop("statesBytes")
    except (zlib.error, ValueError, KeyError, AttributeError) as error:
        message = f"s3://{run['bucket']}/{key} is not what an earlier invocation left there: {error!r}"
        raise EventError(message) from error
    except Exception as error:
        if is_missing(error):
            return None
        raise
    return Snapshot(header_fields, bytes(rest[:size]), bytes(rest[size:]))
