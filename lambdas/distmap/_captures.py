"""The built-in capture function: ranges and S3 listings, over as many invocations as they take."""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from distmap._capture import CONTENT_TYPES, aborted_on_failure, read_capture_event
from distmap._clients import s3_client
from distmap._deadline import Deadline
from distmap._errors import EventError
from distmap._garbage import long_lived_objects_left_alone
from distmap._listing import ListingSource
from distmap._ranges import RangesSource
from distmap._upload import ItemUpload
from distmap.wire import CaptureEvent, ItemFile

# The end of an invocation waits for three parts of 8 MiB to reach S3.
_RESERVE_SHARE: Final = 0.2
_RESERVE_MOST_SECONDS: Final = 30.0


def capture_input(event: Any, context: Any = None) -> ItemFile:
    """Capture ranges or an S3 listing: the handler of the built-in capture function.

    When the function's deadline comes near it answers a ``continuation``, with which the state machine invokes it
    again: it goes on where it stopped, in the same upload. Every invocation gets at least one block further.

    Args:
        event: Of the shape :class:`distmap.wire.CaptureEvent`.
        context: The Lambda context.

    Raises:
        EventError: The event or a setting of the capture is wrong.
        CaptureError: The capture can't go on, or would pass a limit.
    """
    captured = read_capture_event(event)
    continuation = captured["continuation"]
    source = _source(captured)
    deadline = Deadline(context, reserve=None, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
    upload = ItemUpload(
        bucket=captured["run"]["bucket"],
        key=captured["key"],
        content_type=CONTENT_TYPES["JSONL"],
        resume=None if continuation is None else continuation["upload"],
    )
    s3_client()  # boto3 belongs to what is left alone, so it must be there before
    with aborted_on_failure(upload, captured, context), long_lived_objects_left_alone():
        begun = monotonic()
        for block, items, position in source.blocks(None if continuation is None else continuation["position"]):
            upload.add(block, items)
            deadline.learn(begun, monotonic())
            if deadline.is_near():
                goes_on = {"position": position, "source": source.state(), "upload": upload.suspend()}
                file: ItemFile = {
                    "bucket": upload.bucket,
                    "key": upload.key,
                    "count": upload.count,
                    "bytes": upload.bytes,
                }
                return {**file, "continuation": goes_on}
            begun = monotonic()
        return upload.complete()


def _source(event: CaptureEvent) -> RangesSource | ListingSource:
    settings, continuation = event["capture"], event["continuation"]
    if continuation is not None and continuation.keys() != {"position", "source", "upload"}:
        message = f"the continuation is none of this capture's: {continuation!r:.200}"
        raise EventError(message)
    kind = settings.get("kind")
    if kind == "ranges":
        return RangesSource(settings)
    if kind == "s3Listing":
        return ListingSource(settings, None if continuation is None else continuation["source"])
    message = f"the built-in captures are of the kind 'ranges' and 's3Listing', got {kind!r:.100}"
    raise EventError(message)
