"""The Lambda side of distmap: capture, process and combine with nothing lost.

What a function doesn't use isn't imported: a cold start of a worker pays for the worker only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distmap._account import account_run
    from distmap._capture import capture_items
    from distmap._captures import capture_input
    from distmap._combine import combine_results
    from distmap._errors import (
        AnswerTooLargeError,
        BatchFailedError,
        CaptureDeadlineError,
        CaptureError,
        CaptureLimitError,
        DeadlineError,
        DistmapError,
        EventError,
        InvalidItemError,
        ItemContextError,
        ItemTimeout,
        NotJsonError,
        PermanentError,
        ResultsError,
        SpillError,
    )
    from distmap._item import Item, current_item, item_key
    from distmap._process import process_items
    from distmap._records import Result
    from distmap._results import Results

__all__ = [
    "AnswerTooLargeError",
    "BatchFailedError",
    "CaptureDeadlineError",
    "CaptureError",
    "CaptureLimitError",
    "DeadlineError",
    "DistmapError",
    "EventError",
    "InvalidItemError",
    "Item",
    "ItemContextError",
    "ItemTimeout",
    "NotJsonError",
    "PermanentError",
    "Result",
    "Results",
    "ResultsError",
    "SpillError",
    "account_run",
    "capture_input",
    "capture_items",
    "combine_results",
    "current_item",
    "item_key",
    "process_items",
]

_HOMES = {
    "Item": "_item",
    "Result": "_records",
    "Results": "_results",
    "account_run": "_account",
    "capture_input": "_captures",
    "capture_items": "_capture",
    "combine_results": "_combine",
    "current_item": "_item",
    "item_key": "_item",
    "process_items": "_process",
}

if not TYPE_CHECKING:  # a type checker sees the real names, and still reports those that don't exist

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, '_errors')}"), name)
        globals()[name] = value
        return value
