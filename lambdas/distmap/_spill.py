"""Values that are too large to travel through Step Functions: kept in S3, replaced by a reference.

A key holds the checksum of its content. A child that runs twice (Express children run at least once) therefore
either overwrites an object with the same bytes or writes another one: a reference never leads to another child's
content.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeGuard

from distmap._clients import s3_client
from distmap._errors import AnswerTooLargeError, SpillError
from distmap._json import decode, encode
from distmap._stream import object_chunks
from distmap.limits import SPILL_BYTES
from distmap.wire import SPILL_FOLDER, SPILLED_KEY, Run, Spilled

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def is_spilled(value: object) -> TypeGuard[Spilled]:
    """Whether ``value`` stands for another one that is kept in S3."""
    return isinstance(value, dict) and len(value) == 1 and SPILLED_KEY in value


def inline_or_spill(answer: Any, size: int, *, run: Run | None, name: str, what: str) -> Any:
    """Return ``answer``, or a reference to it where it is too large for Step Functions.

    Args:
        answer: What the function is about to return, which is JSON.
        size: Its size in bytes as Step Functions will see it.
        run: The run whose bucket it goes to; None where it is not known.
        name: What the object's name begins with.
        what: What the answer is, for the messages.

    Raises:
        AnswerTooLargeError: It is too large and the run isn't known.
        SpillError: It could not be written.
    """
    if size <= SPILL_BYTES:
        return answer
    if run is None:
        message = (
            f"{what} is {size:,} bytes, over the {SPILL_BYTES:,} that are safe in Step Functions, and an unidentified "
            "item has no run to keep it in: let the map send items in their envelope, batch fewer items, or return less"
        )
        raise AnswerTooLargeError(message)
    return spill(encode(answer, what=what), run=run, name=name)


def spill(body: bytes, *, run: Run, name: str) -> Spilled:
    """Write JSON text to the run's spill folder and return the reference to it.

    Raises:
        SpillError: It could not be written.
    """
    digest = sha256(body)
    key = f"{run['prefix']}/{SPILL_FOLDER}{run['path']}/{name}-{digest.hexdigest()[:32]}.json"
    try:
        s3_client().put_object(
            Bucket=run["bucket"],
            Key=key,
            Body=body,
            ContentType="application/json",
            ChecksumSHA256=b64encode(digest.digest()).decode(),
        )
    except Exception as error:
        message = f"{len(body):,} bytes could not be written to s3://{run['bucket']}/{key}: {error}"
        raise SpillError(message) from error
    return {"distmapSpilled": {"bucket": run["bucket"], "key": key, "bytes": len(body), "sha256": digest.hexdigest()}}


def check_own(value: Spilled, bucket: str, prefix: str | None) -> Spilled:
    """Return a reference if it points into the ``spill/`` folder of its run.

    No other reference is followed: whoever can write a result could otherwise have any object read with the rights of
    those who read the results.

    Args:
        value: The reference.
        bucket: The run's bucket.
        prefix: Where the run's files begin, without a slash at the end; None where the run isn't known.

    Raises:
        SpillError: It points elsewhere, or is none.
    """
    reference = value["distmapSpilled"]
    kinds = {"bucket": str, "key": str, "bytes": int, "sha256": str}
    if not isinstance(reference, dict) or not all(type(reference.get(name)) is kind for name, kind in kinds.items()):
        message = f"a spilled answer can't be read: its reference is {reference!r:.200}"
        raise SpillError(message)
    if prefix is None or reference["bucket"] != bucket or not reference["key"].startswith(f"{prefix}/{SPILL_FOLDER}/"):
        own = f"which is s3://{bucket}/{prefix}/{SPILL_FOLDER}/"
        message = (
            f"a spilled answer can't be read: its reference points to s3://{reference['bucket']}/{reference['key']}, "
            f"and only the run's own folder is read, {'and the run is not known' if prefix is None else own}"
        )
        raise SpillError(message)
    return value


def resolve(value: Any, *, s3: S3Client | None = None) -> Any:
    """Return ``value``, or what it stands for where it is a reference.

    Args:
        value: Any JSON value.
        s3: The client to read with; the process's own by default.

    Raises:
        SpillError: The object can't be read, or is not what the reference says.
    """
    if not is_spilled(value):
        return value
    return decode(b"".join(read_spilled(value, s3_client() if s3 is None else s3)).decode())


def read_spilled(value: Spilled, s3: S3Client) -> Iterator[bytes]:
    """Yield the JSON text that a reference stands for.

    Raises:
        SpillError: The object can't be read, or is not what the reference says: then at the end.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is imported on first use

    reference = value["distmapSpilled"]
    where = f"s3://{reference['bucket']}/{reference['key']}"
    digest, size = sha256(), 0
    try:
        for chunk in object_chunks(s3, reference["bucket"], reference["key"]):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    except ClientError as error:
        message = f"{where}, where {reference['bytes']:,} bytes of results were spilled, can't be read: {error}"
        raise SpillError(message) from error
    if size != reference["bytes"] or digest.hexdigest() != reference["sha256"]:
        message = (
            f"{where} is not what was spilled there: its reference says {reference['bytes']:,} bytes with SHA-256 "
            f"{reference['sha256']}, it has {size:,}; run its items again"
        )
        raise SpillError(message)
