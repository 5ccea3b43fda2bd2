"""The Lambda side of distmap: capture, process and combine with nothing lost."""

from distmap._errors import (
    AnswerTooLargeError,
    BatchFailedError,
    CaptureDeadlineError,
    CaptureError,
    CaptureLimitError,
    DeadlineError,
    DistmapError,
    EventError,
    ItemContextError,
    NotJsonError,
    ResultsError,
    SpillError,
)
from distmap._item import Item, current_item, item_key
from distmap._process import process_items

__all__ = [
    "AnswerTooLargeError",
    "BatchFailedError",
    "CaptureDeadlineError",
    "CaptureError",
    "CaptureLimitError",
    "DeadlineError",
    "DistmapError",
    "EventError",
    "Item",
    "ItemContextError",
    "NotJsonError",
    "ResultsError",
    "SpillError",
    "current_item",
    "item_key",
    "process_items",
]
