"""The built-in capture function: ranges and S3 listings, over as many invocations as they take."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from distmap._capture import aborted_on_failure, most_items, read_capture_event
from distmap._clients import s3_client
from distmap._deadline import Deadline
from distmap._errors import EventError
from distmap._garbage import long_lived_objects_left_alone
from distmap._listing import ListingSource
from distmap._ranges import RangesSource
from distmap._upload import ItemUpload, UploadLostError
from distmap.wire import CaptureEvent, ItemFile

# The end of an invocation waits for three parts of 8 MiB to reach S3.
_RESERVE_SHARE: Final = 0.2
_RESERVE_MOST_SECONDS: Final = 30.0
_CONTINUATION_KEYS: Final = {"position", "source", "upload", "begunAgain"}
_BEGIN_AGAIN_AT_MOST: Final = 3
"""An upload is lost to an invocation that is tried again, which is rare; more often it is a fault that won't end."""


def capture_input(event: Any, context: Any = None) -> ItemFile:
    """Capture ranges or an S3 listing: the handler of the built-in capture function.

    When the function's deadline comes near it answers a ``continuation``, with which the state machine invokes it
    again: it goes on where it stopped, in the same upload. Every invocation gets at least one block further. One that
    finds its upload completed, aborted or changed by another attempt of itself begins the file again, from its start.

    .. versionadded:: 0.1.0

    Args:
        event: Of the shape :class:`distmap.wire.CaptureEvent`.
        context: The Lambda context.

    Raises:
        EventError: The event or a setting of the capture is wrong.
        CaptureError: The capture can't go on, or would pass a limit.
    """
    captured = read_capture_event(event)
    continuation, most = captured["continuation"], most_items(captured)
    source = _source(captured, most)
    deadline = Deadline(context, reserve=None, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
    s3_client()  # boto3 belongs to what is left alone, so it must be there before
    with long_lived_objects_left_alone():
        while True:
            upload = ItemUpload(
                bucket=captured["run"]["bucket"],
                key=captured["key"],
                resume=None if continuation is None else continuation["upload"],
            )
            begun_again = 0 if continuation is None else continuation["begunAgain"]
            try:
                with aborted_on_failure(upload, captured, context):
                    return _go_on(source, upload, deadline, continuation, most=most)
            except UploadLostError:
                if begun_again == _BEGIN_AGAIN_AT_MOST:
                    raise
                continuation = {"position": None, "upload": None, "begunAgain": begun_again + 1}


def _go_on(
    source: RangesSource | ListingSource,
    upload: ItemUpload,
    deadline: Deadline,
    continuation: dict[str, Any] | None,
    *,
    most: int,
) -> ItemFile:
    """Capture from where a continuation says, until the end, the most items, or until the deadline comes near."""
    begun = monotonic()
    for block, items, position in source.blocks(None if continuation is None else continuation["position"]):
        if upload.count + items >= most:
            left = most - upload.count
            upload.add(b"".join(block.splitlines(keepends=True)[:left]), left)
            break
        upload.add(block, items)
        deadline.learn(begun, monotonic())
        if deadline.is_near():
            goes_on = {
                "position": position,
                "source": source.state(),
                "upload": upload.suspend(),
                "begunAgain": 0 if continuation is None else continuation["begunAgain"],
            }
            file: ItemFile = {
                "bucket": upload.bucket,
                "key": upload.key,
                "count": upload.count,
                "bytes": upload.bytes,
            }
            return {**file, "continuation": goes_on}
        begun = monotonic()
    return upload.complete()


def _source(event: CaptureEvent, most: int) -> RangesSource | ListingSource:
    settings, continuation = event["capture"], event["continuation"]
    if continuation is not None and continuation.keys() != _CONTINUATION_KEYS:
        message = f"the continuation is none of this capture's: {continuation!r:.200}"
        raise EventError(message)
    kind = settings.get("kind")
    if kind == "ranges":
        return RangesSource(settings, most=most)
    if kind == "s3Listing":
        return ListingSource(settings, None if continuation is None else continuation["source"])
    message = f"the built-in captures are of the kind 'ranges' and 's3Listing', got {kind!r:.100}"
    raise EventError(message)
