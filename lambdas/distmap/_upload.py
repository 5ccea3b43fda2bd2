"""Writing a file of items to S3 in constant memory, all of it or nothing.

A file under one part is one PutObject; a larger one is a multipart upload, which nobody can read before it is
completed. Two parts are on their way while the next one is filled, so a capture needs three parts of memory
whatever it writes. An upload can be left and taken up by another invocation: S3 keeps its parts.

Whoever takes an upload up may not be alone: an invocation that is tried again has the continuation of its first
attempt, which may have completed the upload, aborted it, or be writing parts of the same numbers still. S3 says so
(there is no such upload, or a part is another one), and then the file must be begun again, in an upload of its own.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypedDict

from distmap._clients import s3_client
from distmap._errors import CaptureError, CaptureLimitError
from distmap.limits import MAX_ITEM_FILE_BYTES, MAX_ITEMS, MIN_PART_BYTES
from distmap.wire import ItemFile

if TYPE_CHECKING:
    from concurrent.futures import Future

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, UploadPartOutputTypeDef

PART_BYTES: Final = 8 * 1024**2
"""10,000 parts of this size hold 78 GiB, well over the 10 GB that a map reads."""

_CONTENT_TYPE: Final = "application/x-ndjson"
_PARTS_IN_FLIGHT: Final = 2

_LOST: Final = ("NoSuchUpload", "InvalidPart")

MAX_TAIL_BYTES: Final = 24 * 1024
"""What is left over from the last part and small enough to travel to the next invocation in the state's output."""


class UploadLostError(CaptureError):
    """Another invocation with the same continuation completed, aborted or changed the upload."""


class UploadState(TypedDict):
    """An upload between two invocations."""

    uploadId: str | None
    """None where nothing was uploaded yet."""
    parts: int
    etags: str
    """Checksum over the ETags of these parts: nobody else may have written one of them since."""
    count: int
    bytes: int
    tail: str
    """Items that make no part yet, in Base64."""


class ItemUpload:
    """A file of items on its way to S3.

    Attributes:
        count: Items so far.
        bytes: Bytes so far.
    """

    def __init__(self, *, bucket: str, key: str, resume: UploadState | None = None) -> None:
        """Begin a file, or go on with one.

        Args:
            bucket: Bucket to write to.
            key: Key to write to; what is there is replaced when the upload is complete.
            resume: What :meth:`suspend` returned in an earlier invocation. By default a new file.
        """
        self.bucket = bucket
        self.key = key
        self.count = 0 if resume is None else resume["count"]
        self.bytes = 0 if resume is None else resume["bytes"]
        self._resumed = resume
        self._upload_id = None if resume is None else resume["uploadId"]
        self._part_number = 0 if resume is None else resume["parts"]
        self._pending = bytearray() if resume is None else bytearray(b64decode(resume["tail"]))
        # The checksum of a whole file cannot travel: hashlib's state stays in its process.
        self._digest = None if resume is not None else sha256()
        self._in_flight: deque[Future[CompletedPartTypeDef]] = deque()
        self._earlier: list[CompletedPartTypeDef] | None = None if resume is not None and resume["parts"] else []
        self._completed: list[CompletedPartTypeDef] = []
        self._pool: Any = None

    def add(self, block: bytes, items: int) -> None:
        """Append items.

        Args:
            block: Whole items as they belong into the file.
            items: How many these are.

        Raises:
            CaptureLimitError: The file would pass what a map can read.
        """
        count, size = self.count + items, self.bytes + len(block)
        self._check_limits(count, size)
        self.count, self.bytes = count, size
        self._pending += block
        if len(self._pending) >= PART_BYTES:
            self._send_part()

    def _check_limits(self, count: int, size: int) -> None:
        if count > MAX_ITEMS:
            message = (
                f"the capture has more than the {MAX_ITEMS:,} items that a map can read; put more into each item (a "
                "larger chunk, several objects) or split the run"
            )
            raise CaptureLimitError(message)
        if size > MAX_ITEM_FILE_BYTES:
            message = (
                f"the capture's file has more than the {MAX_ITEM_FILE_BYTES:,} bytes that a map can read, at item "
                f"{self.count:,}; make the items smaller (references to what is in S3) or split the run"
            )
            raise CaptureLimitError(message)

    def complete(self) -> ItemFile:
        """Make the file readable, in one step, and return where and what it is.

        Raises:
            UploadLostError: Somebody else completed, aborted or changed the upload that this one goes on with.
        """
        s3 = s3_client()
        if self._upload_id is None:
            digest = sha256(self._pending)
            s3.put_object(
                Bucket=self.bucket,
                Key=self.key,
                Body=bytes(self._pending),
                ContentType=_CONTENT_TYPE,
                ChecksumSHA256=b64encode(digest.digest()).decode(),
            )
            return self._item_file(digest.hexdigest())
        if self._pending:
            self._send_part()
        parts = self._all_parts()
        try:
            with self._losable():
                s3.complete_multipart_upload(
                    Bucket=self.bucket, Key=self.key, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
                )
        except UploadLostError as lost:
            # Nobody else knows an upload that was begun here. Where boto3 had to ask again, the answer of S3 was lost
            # that said that it is complete.
            if self._resumed is not None or not _was_asked_again(lost.__cause__):
                raise
        self._close_pool()
        return self._item_file(None if self._digest is None else self._digest.hexdigest())

    def suspend(self) -> UploadState:
        """Leave the upload for a later invocation and return what that one needs.

        Every part but the last has at least 5 MiB (EntityTooSmall otherwise), and the role may read nothing back.
        What makes no part travels in the state where it is small, and else is stretched to a part by blanks at the
        ends of its lines, which JSON ignores.

        Raises:
            UploadLostError: As :meth:`complete`.
        """
        if len(self._pending) > MAX_TAIL_BYTES:
            if len(self._pending) < MIN_PART_BYTES:
                stretched = _stretch(bytes(self._pending), MIN_PART_BYTES)
                self.bytes += len(stretched) - len(self._pending)
                self._pending = stretched
            self._send_part()
        etags = "" if self._upload_id is None else _etags_digest(self._all_parts())
        self._close_pool()
        return {
            "uploadId": self._upload_id,
            "parts": self._part_number,
            "etags": etags,
            "count": self.count,
            "bytes": self.bytes,
            "tail": b64encode(self._pending).decode(),
        }

    def abort(self) -> None:
        """Give the upload up: S3 forgets its parts. Nothing of it was ever readable."""
        for part in self._in_flight:
            part.cancel()
        # A part that arrives after the abort would be kept, and billed, for ever: wait for those on their way.
        self._close_pool()
        if self._upload_id is not None:
            s3_client().abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=self._upload_id)

    def abandon(self) -> None:
        """Give it up where something else went wrong, which is the error to report."""
        with suppress(Exception):  # the bucket's lifecycle rule gives it up then
            self.abort()

    def _item_file(self, digest: str | None) -> ItemFile:
        file: ItemFile = {"bucket": self.bucket, "key": self.key, "count": self.count, "bytes": self.bytes}
        if digest is not None:
            file["sha256"] = digest
        return file

    def _send_part(self) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - small captures do without

        s3 = s3_client()
        self._check_earlier()
        if self._upload_id is None:
            # CRC32 of every part is checked by S3; it is what boto3 does by itself in its newer versions.
            upload = s3.create_multipart_upload(
                Bucket=self.bucket, Key=self.key, ContentType=_CONTENT_TYPE, ChecksumAlgorithm="CRC32"
            )
            self._upload_id = upload["UploadId"]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_PARTS_IN_FLIGHT, thread_name_prefix="distmap-part")
        body, self._pending = self._pending, bytearray()
        if self._digest is not None:
            self._digest.update(body)
        while len(self._in_flight) >= _PARTS_IN_FLIGHT:
            self._completed.append(self._in_flight.popleft().result())
        self._part_number += 1
        self._in_flight.append(self._pool.submit(self._upload_part, s3, self._part_number, body))

    def _upload_part(self, s3: S3Client, number: int, body: bytearray) -> CompletedPartTypeDef:
        assert self._upload_id is not None  # noqa: S101 - narrows the type
        with self._losable():
            sent = s3.upload_part(
                Bucket=self.bucket,
                Key=self.key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=body,  # type: ignore[arg-type] # boto3 takes a bytearray too, its stubs don't know
                ChecksumAlgorithm="CRC32",
            )
        return _completed_part(number, sent)

    def _all_parts(self) -> list[CompletedPartTypeDef]:
        """Return every part in order: those of earlier invocations from S3, the others as S3 answered them."""
        while self._in_flight:
            self._completed.append(self._in_flight.popleft().result())
        return [*self._check_earlier(), *self._completed]

    def _check_earlier(self) -> list[CompletedPartTypeDef]:
        """Return the parts of earlier invocations, which must be what the last of them left."""
        if self._earlier is not None:
            return self._earlier
        assert self._resumed is not None  # noqa: S101 - narrows the type
        assert self._upload_id is not None  # noqa: S101 - narrows the type
        earlier: list[CompletedPartTypeDef] = []
        pages = s3_client().get_paginator("list_parts")
        with self._losable():
            for page in pages.paginate(Bucket=self.bucket, Key=self.key, UploadId=self._upload_id):
                # A second invocation with the same event may have written later ones.
                earlier += [
                    _completed_part(part["PartNumber"], part)
                    for part in page.get("Parts", [])
                    if part["PartNumber"] <= self._resumed["parts"]
                ]
        if _etags_digest(earlier) != self._resumed["etags"]:
            raise self._lost("changed")
        self._earlier = earlier
        return earlier

    @contextmanager
    def _losable(self) -> Iterator[None]:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is imported on first use

        try:
            yield
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _LOST:
                raise self._lost("completed, aborted or changed") from error
            raise

    def _lost(self, how: str) -> UploadLostError:
        message = (
            f"the upload to s3://{self.bucket}/{self.key} was {how} by another invocation of this capture since this "
            "one's predecessor left it; start the run again"
        )
        return UploadLostError(message)

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class ReportUpload(ItemUpload):
    """A file of lines that no map reads: it may be larger."""

    def _check_limits(self, count: int, size: int) -> None:
        """Leave it to S3."""


def _was_asked_again(error: BaseException | None) -> bool:
    response: dict[str, Any] = getattr(error, "response", {})
    return bool(response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _completed_part(number: int, sent: UploadPartOutputTypeDef | Any) -> CompletedPartTypeDef:
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": sent["ETag"]}
    # S3 wants the checksums of the parts again on completion where the upload was created with an algorithm.
    if "ChecksumCRC32" in sent:
        part["ChecksumCRC32"] = sent["ChecksumCRC32"]
    return part


def _etags_digest(parts: list[CompletedPartTypeDef]) -> str:
    return sha256("".join(part["ETag"] for part in parts).encode()).hexdigest()


def _stretch(block: bytes, size: int) -> bytearray:
    """Return whole lines with as many blanks at their ends as make ``size`` bytes of them."""
    lines = block.split(b"\n")[:-1]
    each, more = divmod(size - len(block), len(lines))
    ends = [b" " * (each + 1) + b"\n", b" " * each + b"\n"]
    return bytearray().join(line + ends[position >= more] for position, line in enumerate(lines))
