"""``capture_items``: a generator of items becomes the capture function of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from itertools import islice
from time import monotonic
from typing import Any, Final, overload

from distmap._deadline import Deadline, check_reserve
from distmap._errors import CaptureDeadlineError, CaptureError, CaptureLimitError, EventError, NotJsonError, type_name
from distmap._events import check_run
from distmap._json import encode
from distmap._log import log_line
from distmap._process import Handler
from distmap._signature import UserFunction
from distmap._upload import ItemUpload
from distmap.limits import MAX_ITEM_BYTES, MAX_ITEMS, SPILL_BYTES
from distmap.wire import CaptureEvent, ItemFile

_EXPECTED: Final = (
    "a capture function takes what the pipeline sends to it: {'input', 'run', 'key', 'capture', 'continuation'}"
)
_RESERVE_SHARE: Final = 0.1
_RESERVE_MOST_SECONDS: Final = 10.0


@overload
def capture_items(function: Callable[..., Any], /) -> Handler: ...


@overload
def capture_items(
    *,
    reserve_seconds: float | None = ...,
    max_item_bytes: int = ...,
) -> Callable[[Callable[..., Any]], Handler]: ...


def capture_items(
    function: Callable[..., Any] | None = None,
    /,
    *,
    reserve_seconds: float | None = None,
    max_item_bytes: int = SPILL_BYTES,
) -> Handler | Callable[[Callable[..., Any]], Handler]:
    """Make the capture function of a run of a generator of items.

    The function gets the execution's input, and the Lambda context if it has a second parameter. What it yields is
    streamed to ``items.jsonl`` of the run in constant memory, however much it is. The key comes from the
    execution's name: a capture that is tried again replaces its own file, and two runs never meet.

    Nothing can be read before all of it was written: any failure aborts the upload. No item at all is a valid run.

    .. versionadded:: 0.1.0

    Args:
        function: The user's generator function, or one that returns an iterable.
        reserve_seconds: Time to keep before the function's deadline for the end of the upload; when it begins with
            items left, the capture fails. By default a tenth of the time left at the start, at most 10 seconds.
        max_item_bytes: Largest item, as UTF-8 JSON text. 240 KiB by default: a child gets no more than 256 KiB.
            Raise it, to 8 MB at most, where an item selector makes the items smaller.

    Returns:
        The handler, which answers :class:`distmap.wire.ItemFile`; the undecorated function is its ``__wrapped__``.

    Raises:
        TypeError: The function cannot be called with an input.
        ValueError: A setting is out of its range.

    Example:
        >>> @capture_items
        ... def handler(event):
        ...     yield from ({"page": page} for page in range(event["pages"]))
        >>> list(handler.__wrapped__({"pages": 2}))
        [{'page': 0}, {'page': 1}]
    """
    if type(max_item_bytes) is not int or not 1 <= max_item_bytes <= MAX_ITEM_BYTES:
        message = f"max_item_bytes must be an integer from 1 to {MAX_ITEM_BYTES:,}, got {max_item_bytes!r}"
        raise ValueError(message)
    check_reserve(reserve_seconds)

    def decorate(function: Callable[..., Any]) -> Handler:
        generator = UserFunction(function, decorator="capture_items", argument="the execution's input")

        def handler(event: Any, context: Any = None) -> ItemFile:
            captured = read_capture_event(event)
            if captured["continuation"] is not None:
                message = f"{_EXPECTED}; got a continuation, which only the built-in captures know how to go on from"
                raise EventError(message)
            most = most_items(captured)
            deadline = Deadline(context, reserve=reserve_seconds, share=_RESERVE_SHARE, most=_RESERVE_MOST_SECONDS)
            upload = ItemUpload(bucket=captured["run"]["bucket"], key=captured["key"])
            with aborted_on_failure(upload, captured, context):
                items = _items_of(generator, captured["input"], context)
                _write(items, upload, deadline, most, max_item_bytes=max_item_bytes)
                return upload.complete()

        return update_wrapper(handler, function)

    return decorate if function is None else decorate(function)


def read_capture_event(event: Any) -> CaptureEvent:
    """Return the event of a capture function if it is one.

    Raises:
        EventError: It is not.
    """
    if not isinstance(event, dict) or not event.keys() >= {"input", "run", "key"}:
        message = f"{_EXPECTED}; got {event!r:.200}"
        raise EventError(message)
    if not isinstance(event["key"], str) or not event["key"]:
        message = f"{_EXPECTED}; got the key {event['key']!r:.200}"
        raise EventError(message)
    settings, continuation = event.get("capture", {}), event.get("continuation")
    if not isinstance(settings, dict) or not (continuation is None or isinstance(continuation, dict)):
        message = f"{_EXPECTED}; got capture: {settings!r:.100}, continuation: {continuation!r:.100}"
        raise EventError(message)
    return {
        "input": event["input"],
        "run": check_run(event["run"], _EXPECTED),
        "key": event["key"],
        "capture": settings,
        "continuation": continuation,
        "maxItems": event.get("maxItems"),
    }


def most_items(event: CaptureEvent) -> int:
    """Return how many items a capture may write: one more than a map reads, where the pipeline doesn't say.

    Raises:
        EventError: What it says is no number of items.
    """
    most: Any = event.get("maxItems")
    if most is None:
        return MAX_ITEMS + 1
    # 1e5 is a whole number to JSON and a float to Python.
    if isinstance(most, float) and most.is_integer():
        most = int(most)
    if type(most) is not int or not 1 <= most <= MAX_ITEMS:
        message = f"max_items must be a whole number from 1 to {MAX_ITEMS:,}, got {most!r:.100}"
        raise EventError(message)
    return most


@contextmanager
def aborted_on_failure(upload: ItemUpload, event: CaptureEvent, context: Any) -> Iterator[None]:
    """Abort the upload when the block fails, whatever fails it, and log how it ended."""
    started = monotonic()
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failed = error
        try:
            upload.abort()
        except Exception as second:  # noqa: BLE001 - the first error is what the user must see
            error.add_note(f"the upload could not be aborted: {second}; the bucket's lifecycle rule will")
        raise
    finally:
        log_line(
            "items captured" if failed is None else "capture failed",
            context=context,
            run=event["run"]["name"],
            runId=event["run"]["id"],
            key=upload.key,
            items=upload.count,
            bytes=upload.bytes,
            error=None if failed is None else type_name(failed),
            durationMs=round((monotonic() - started) * 1000, 3),
        )


def _items_of(function: UserFunction, execution_input: Any, context: Any) -> Iterable[Any]:
    items = function.bind(context)(execution_input)
    if not isinstance(items, Iterable) or isinstance(items, (str, bytes, bytearray, dict)):
        message = (
            f"{function.name} returned a {type(items).__name__}; a capture function yields its items, or returns an "
            "iterable of them"
        )
        raise CaptureError(message)
    return items


def _write(items: Iterable[Any], upload: ItemUpload, deadline: Deadline, most: int, *, max_item_bytes: int) -> None:
    """Write every item up to the most, one per line."""
    add, ends = upload.add, deadline.ends
    try:
        for number, item in enumerate(islice(items, most)):
            if monotonic() >= ends:
                raise _out_of_time(upload, deadline)
            try:
                line = encode(item, what="item")
            except NotJsonError as error:
                message = str(error).replace("item", f"item {number:,}", 1)
                raise NotJsonError(message) from error
            if len(line) > max_item_bytes:
                message = (
                    f"item {number:,} has {len(line):,} bytes of JSON, over the {max_item_bytes:,} allowed, and a "
                    "child gets 256 KiB at most; put it into S3 and capture where it is"
                )
                raise CaptureLimitError(message)
            add(line + b"\n", 1)
    finally:
        # A generator that is left in the middle lets go of what it holds now, not when it is collected.
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _out_of_time(upload: ItemUpload, deadline: Deadline) -> CaptureDeadlineError:
    message = (
        f"the function's deadline came near after {upload.count:,} items and {upload.bytes:,} bytes: "
        f"{deadline.at_start:.0f} s were left when it started and {deadline.reserve:.0f} s are kept for the end of the "
        "upload; raise the function's timeout, make the source quicker, or capture several files in several runs"
    )
    return CaptureDeadlineError(message)
