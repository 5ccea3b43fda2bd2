"""What the runtime raises.

```
DistmapError
├── EventError (ValueError)         the event is not what Step Functions sends to this kind of function
├── ItemContextError (LookupError)  the current item was asked for where there is none, or it has no identity
├── NotJsonError (TypeError)        an item, a result or a combined answer cannot travel as JSON
├── AnswerTooLargeError             an answer is over the payload limit and there is nowhere to spill it
├── SpillError                      a spilled value could not be written, or is not what its reference says
├── BatchFailedError                every item of a batch failed, or the share that was set
├── DeadlineError                   the time left is too short to get anything done
├── CaptureError                    a capture cannot go on
│   ├── CaptureLimitError           it would pass a limit of AWS
│   └── CaptureDeadlineError        the function's deadline came before the end of the items
├── Distmap.ToleranceExceeded       more items did not succeed than are tolerated
├── Distmap.ItemsMissing            items are nowhere in the results, or the account doesn't add up
├── Distmap.PushFailed              a queue or event bus refused items that did not succeed
└── ResultsError                    the exported results cannot be read

PermanentError                      a worker raises it: trying the item again is pointless
└── InvalidItemError (ValueError)   an item doesn't fit the type of the function's parameter
ItemTimeout (TimeoutError)          an item took longer than item_timeout
```

Those with a dot in their names are what Step Functions is to see, which takes the name of the class.

A wrong setting of a decorator is a ``ValueError`` or ``TypeError`` when the module is imported.
"""

from __future__ import annotations

from typing import Final

from distmap import pages

name_of: Final = type.__dict__["__name__"].__get__
"""Return a type's name. A metaclass of the user's may have a ``__name__`` of its own, which may raise."""


class DistmapError(Exception):
    """Base of everything the runtime raises. A note says where the error is described.

    .. versionadded:: 0.1.0
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"see {pages.address(name_of(type(self)))}")


class EventError(DistmapError, ValueError):
    """The event is not what Step Functions sends to this kind of function.

    .. versionadded:: 0.1.0
    """


class ItemContextError(DistmapError, LookupError):
    """The current item was asked for where there is none, or it has no identity.

    .. versionadded:: 0.1.0
    """


class NotJsonError(DistmapError, TypeError):
    """A value that must travel as JSON is not JSON.

    .. versionadded:: 0.1.0
    """


class AnswerTooLargeError(DistmapError):
    """An answer is over the payload limit of Step Functions and there is nowhere to spill it.

    .. versionadded:: 0.1.0
    """


class SpillError(DistmapError):
    """A spilled value could not be written, or is not what its reference says.

    .. versionadded:: 0.1.0
    """


class BatchFailedError(DistmapError):
    """Every item of a batch failed, or the share that was set.

    Its message is JSON text of the shape :class:`distmap.wire.BatchFailure`: what each item met is in it, or in
    the object in S3 that it names.

    .. versionadded:: 0.1.0
    """


class DeadlineError(DistmapError):
    """The time left before the function's deadline is too short to get anything done.

    .. versionadded:: 0.1.0
    """


class CaptureError(DistmapError):
    """A capture cannot go on. Its upload was aborted: nothing of it can be read.

    .. versionadded:: 0.1.0
    """


class CaptureLimitError(CaptureError):
    """A capture would pass a limit of AWS.

    .. versionadded:: 0.1.0
    """


class CaptureDeadlineError(CaptureError):
    """The function's deadline came before the end of the items.

    .. versionadded:: 0.1.0
    """


class ResultsError(DistmapError):
    """The exported results of a map run cannot be read.

    .. versionadded:: 0.1.0
    """


class PermanentError(Exception):
    """What a worker raises, or a class of its own below it, where it is pointless to try the item again.

    Such an item runs in no further round, whatever `rerun` says of errors; a redrive of the run and `distmap retry`
    still run it again. Other classes are named permanent by ``process_items(permanent_errors=...)``.

    .. versionadded:: 0.2.0
    """


class InvalidItemError(PermanentError, ValueError):
    """An item doesn't fit the type that the function's parameter is annotated with.

    .. versionadded:: 0.2.0
    """


class ItemTimeout(DistmapError, TimeoutError):  # noqa: N818 - the name by which a failure is known
    """An item took longer than ``process_items(item_timeout=...)`` allows.

    .. versionadded:: 0.2.0
    """


ToleranceExceededError: Final[type[DistmapError]] = type("Distmap.ToleranceExceeded", (DistmapError,), {})
"""More items did not succeed than are tolerated: fails the run, with the counts in its message."""

ItemsMissingError: Final[type[DistmapError]] = type("Distmap.ItemsMissing", (DistmapError,), {})
"""Items are nowhere in the results, or the account doesn't add up: fails the run whatever is tolerated."""

PushFailedError: Final[type[DistmapError]] = type("Distmap.PushFailed", (DistmapError,), {})
"""A queue or event bus refused items that did not succeed, of which it was to be told."""


ENDING: Final = (MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit)
"""What ends a batch, whichever item it comes from. All else is the item's, also what is no ``Exception``: so is a panic
of a library that is written in Rust."""


def type_name(value: object) -> str:
    """Return the name of a value's type, whatever code of the user's is behind it."""
    name: str = name_of(type(value))
    return name


def error_text(error: BaseException) -> str:
    """Return an error's message as text that has a UTF-8 form: an error must never fail for its own message."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception as unprintable:  # noqa: BLE001 - the message of a user's exception is a user's code
        return f"its message cannot be read: {type_name(unprintable)}"
