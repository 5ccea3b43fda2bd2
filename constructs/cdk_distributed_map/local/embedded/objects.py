"""Keeps large objects, and the parts of uploads, in files rather than in memory, and says where they can't be kept.

ministack takes contents for bytes. What comes in for S3 is written into a file as it comes and handed on as something
that passes for bytes (:class:`.bodies.Body`); what goes out is read from there. Where ministack looks at the bytes
themselves, its own functions are replaced here: hashes, checksums, the end of an upload in parts, the files of a state
that is kept.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import os
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import unquote

from cdk_distributed_map.local.embedded.bodies import Body, Spool
from cdk_distributed_map.local.embedded.gate import CALLER, REQUEST, Message, Receive, RefusedError, Request, Send

LARGE: Final = 128 * 1024
"""Size from which contents are kept in files."""
_DECODED: Final = "x-amz-decoded-content-length"
_STATUS: Final = 507
_NOT_FOUND: Final = 404
_COMPLETING: Final[ContextVar[bool]] = ContextVar("completing", default=False)

Read = Callable[[Receive, str, dict[str, str]], Awaitable[bytes]]


class NotKeptError(OSError):
    """An object can't be kept on the disk."""


def _full(error: OSError) -> RefusedError:
    message = f"the local AWS can't keep this on its disk: {error}"
    return RefusedError("InsufficientStorage", message, status=_STATUS)


# -- what comes in, and goes out


def is_content(request: Request) -> bool:
    """Tell whether a request's body is to be kept in a file: that of a large object, or of any part of an upload."""
    if request.method != "PUT" or not request.signed_for_s3 or "/" not in request.path.strip("/"):
        return False
    length = request.headers.get(_DECODED) or request.headers.get("content-length", "")
    return "uploadId" in request.query or not length.isdecimal() or int(length) >= LARGE


def spooled(read: Read, folder: Path, incomplete: type[Exception]) -> Read:
    """Return what reads a request's body, into a file where it belongs into one.

    Args:
        read: ministack's own.
        folder: Where the files are.
        incomplete: What ministack expects where a body ends too early.
    """

    async def read_body(receive: Receive, method: str, headers: dict[str, str]) -> bytes:
        request = REQUEST.get()
        if not is_content(request):
            return await read(receive, method, headers)
        encoded = _DECODED in headers or "aws-chunked" in headers.get("content-encoding", "")
        hashed = headers.get("x-amz-content-sha256", "")
        if encoded or hashed.startswith("STREAMING") or not (hashed or request.presigned or request.by_old_url):
            return kept(await read(receive, method, headers), folder)
        spool, failed, more = Spool(folder), None, True
        try:
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise incomplete("the client hung up")
                if failed is None:
                    try:
                        spool.write(message.get("body", b""))
                    except OSError as error:
                        # What is still sent is read all the same: the client listens when it has sent all.
                        failed = error
                more = message.get("more_body", False)
        finally:
            spool.close()
        if failed is not None:
            raise _full(failed)
        return spool.body()

    return read_body


def kept(data: bytes, folder: Path) -> Body:
    """Return what was in memory as what is in a file.

    Raises:
        RefusedError: It can't be kept.
    """
    if isinstance(data, Body):
        return data
    spool = Spool(folder)
    try:
        spool.write(data)
    except OSError as error:
        raise _full(error) from error
    finally:
        spool.close()
    return spool.body()


def in_pieces(send: Send, receive: Receive) -> Send:
    """Return what sends contents that are in files piece by piece, as long as somebody listens."""

    async def sent(message: Message) -> None:
        body = message.get("body")
        if not isinstance(body, Body):
            await send(message)
            return
        gone = asyncio.ensure_future(_hung_up(receive))
        try:
            for piece in body.pieces():
                # A turn for everybody else too, and for the word that the client has gone: the server takes what is
                # sent to nobody, and keeps it.
                await asyncio.sleep(0)
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    return sent


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# -- where ministack looks at the bytes


class Hashes:
    """Stands for :mod:`hashlib`: it hashes what is in files too."""

    def __getattr__(self, name: str) -> Any:
        """Return what is in that module."""
        found = getattr(hashlib, name)
        if name not in {"md5", "sha1", "sha256"}:
            return found
        return lambda data=b"", **named: data.hashed(name) if isinstance(data, Body) else found(data, **named)


def md5_of(data: bytes) -> str:
    """Return the hash that an ETag is made of."""
    digest: str = Hashes().md5(data).hexdigest()
    return digest


def checksums(compute: Callable[[str, bytes], str | None]) -> Callable[[str, bytes], str | None]:
    """Return what computes a checksum of an object."""

    def computed(algorithm: str, body: bytes) -> str | None:
        if not isinstance(body, Body) or (algorithm or "").upper() != "CRC32":
            return compute(algorithm, body)
        checksum = body.crc32
        if checksum is None:
            checksum = 0
            for piece in body.pieces():
                checksum = zlib.crc32(piece, checksum)
        return base64.b64encode(struct.pack(">I", checksum)).decode()

    return computed


def completed(s3: ModuleType, folder: Path) -> dict[str, Any]:
    """Return the functions that end an upload in parts, without putting the parts together.

    ministack joins the contents of all parts; here that gives a row of tokens, and right after it, where ministack
    looks for a rule of replication, the object gets the parts that they stand for.
    """
    complete, replicate, record = (
        vars(s3)[name] for name in ("_complete_multipart_upload", "_maybe_replicate", "_record_object_version")
    )

    def complete_upload(
        bucket: str, key: str, body: bytes, query: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Any:
        upload = vars(s3)["_multipart_uploads"].get(vars(s3)["_qp"](query, "uploadId"), {"parts": {}})
        for part in upload["parts"].values():
            # One that was copied from an object may be in memory.
            part["body"] = kept(part["body"], folder)
        before = _COMPLETING.set(True)
        try:
            return complete(bucket, key, body, query, headers)
        finally:
            _COMPLETING.reset(before)

    def replicate_object(bucket: str, key: str, obj: dict[str, Any], data: Any, tags: Any = None) -> None:
        if _COMPLETING.get():
            whole = Body.joined(data)
            obj["size"] = len(whole)
            data = obj["body"] = whole if len(whole) >= LARGE else whole.whole()
        replicate(bucket, key, obj, data, tags)

    def record_version(bucket: str, key: str, prior: Any, obj: dict[str, Any], data: Any) -> Any:
        return record(bucket, key, prior, obj, obj["body"] if _COMPLETING.get() else data)

    return {
        "_complete_multipart_upload": complete_upload,
        "_maybe_replicate": replicate_object,
        "_record_object_version": record_version,
    }


# -- a state that is kept


def written(write: Callable[..., None]) -> Callable[..., None]:
    """Return what writes a file that is there whole or not at all."""

    def write_file(path: str, data: bytes | str, *, text: bool = False) -> None:
        if not isinstance(data, Body):
            write(path, data, text=text)
            return
        beside = Path(f"{path}.tmp")
        beside.unlink(missing_ok=True)
        try:
            data.write(beside)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        beside.replace(path)

    return write_file


def persisted(s3: ModuleType, persist: Callable[..., None]) -> Callable[..., None]:
    """Return what puts an object on the disk, and says so where it can't: ministack only notes it in its log."""
    place = vars(s3)["_object_disk_path"]

    def persist_object(bucket: str, key: str, obj: Any) -> None:
        persist(bucket, key, obj)
        # It leaves the memory once it is on the disk.
        if isinstance(obj, dict) and obj.get("body") is not None and place(bucket, key) is not None:
            message = f"{bucket}/{key} doesn't fit there"
            raise NotKeptError(message)

    return persist_object


def read_from_disk(s3: ModuleType) -> Callable[..., bytes]:
    """Return what gives an object's content."""
    read, place = vars(s3)["_read_body"], vars(s3)["_object_disk_path"]

    def read_body(bucket: str, key: str, obj: dict[str, Any]) -> bytes:
        if obj.get("body") is None and vars(s3)["S3_PERSIST"] and obj.get("size", 0) >= LARGE:
            path = place(bucket, key)
            if path is not None and os.path.exists(path):  # noqa: PTH110 - ministack's paths are texts
                return Body.of_file(path)
        found: bytes = read(bucket, key, obj)
        return found

    return read_body


# -- all of S3


def dispatched(s3: ModuleType) -> Callable[..., Any]:
    """Return what answers S3's calls: where an object can't be kept, all is as it was before the call."""
    dispatch = vars(s3)["_dispatch"]

    def answer(  # noqa: PLR0917 - ministack calls it so
        method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
    ) -> Any:
        if not key or method not in {"PUT", "POST"}:
            found = dispatch(method, bucket, key, headers, body, query)
            return found if not key or found[0] != _NOT_FOUND else (hidden(s3, bucket, key) or found)
        restore = _before(s3, bucket, key, query)
        try:
            found = dispatch(method, bucket, key, headers, body, query)
            source = _source(headers)
            return found if source is None or found[0] != _NOT_FOUND else (hidden(s3, *source) or found)
        except NotKeptError as error:
            restore()
            refused = _full(error)
        except RefusedError as error:
            restore()
            refused = error
        return vars(s3)["_error"](refused.code, refused.message, refused.status, f"/{bucket}/{key}")

    return answer


def hidden(s3: ModuleType, bucket: str, key: str) -> Any:
    """Return what to answer to a caller who may not know that a key is not there, None for one who may.

    Only who may list a bucket is told. Whether they may is asked with the key as prefix, so that who may list what
    begins like it is told too.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """
    app, evaluator, actions = (
        importlib.import_module(f"ministack.{name}") for name in ("app", "core.iam_evaluator", "core.iam_actions")
    )
    caller = CALLER.get()
    if not app.AUTH or not caller or bucket not in vars(s3)["_buckets"]:
        return None
    resource = f"arn:aws:s3:::{bucket}"
    region = vars(s3)["get_region"]()
    denied = evaluator.enforce(
        caller, "s3:ListBucket", "s3", region, resource_arn=resource, service_context={"s3:prefix": key}
    )
    if denied is None:
        return None
    message = actions.identity_denial_message(
        "s3:ListBucket", denied.principal_arn, f'"{resource}"', denied.decision == "Deny"
    )
    return vars(s3)["_error"]("AccessDenied", message, 403, f"/{bucket}/{key}")


def _source(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return bucket and key of what is copied, None where nothing is."""
    source = headers.get("x-amz-copy-source", "").partition("?")[0].lstrip("/")
    bucket, _, key = unquote(source).partition("/")
    return (bucket, key) if key else None


def _before(s3: ModuleType, bucket: str, key: str, query: Mapping[str, Any]) -> Callable[[], None]:
    """Return what makes an object again what it is now."""
    objects = (vars(s3)["_buckets"].get(bucket) or {}).get("objects", {})
    stores = [
        (objects, key),
        (vars(s3)["_object_versions"], (bucket, key)),
        (vars(s3)["_multipart_uploads"], vars(s3)["_qp"](query, "uploadId")),
    ]
    found = [store.get(name) for store, name in stores]
    found[1] = None if found[1] is None else [dict(version) for version in found[1]]

    def restore() -> None:
        for (store, name), value in zip(stores, found, strict=True):
            if value is not None:
                store[name] = value
            else:
                store.pop(name, None)

    return restore


def keep_in_files(app: ModuleType, s3: ModuleType, folder: Path) -> None:
    """Let ministack keep large contents in files.

    Args:
        app: ministack's application.
        s3: ministack's S3.
        folder: Where the files are; what is there of somebody before is removed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    vars(app)["_read_request_body"] = spooled(
        vars(app)["_read_request_body"], folder, vars(app)["_IncompleteRequestBody"]
    )
    data = vars(s3)["_get_object_data"]

    def object_data(*arguments: Any, **named: Any) -> bytes | None:
        # For other services, which take it for bytes.
        found: bytes | None = data(*arguments, **named)
        return found.whole() if isinstance(found, Body) else found

    vars(s3).update(
        completed(s3, folder),
        hashlib=Hashes(),
        md5_hash=md5_of,
        _compute_s3_checksum=checksums(vars(s3)["_compute_s3_checksum"]),
        _atomic_write=written(vars(s3)["_atomic_write"]),
        _read_body=read_from_disk(s3),
        _get_object_data=object_data,
        _dispatch=dispatched(s3),
    )
