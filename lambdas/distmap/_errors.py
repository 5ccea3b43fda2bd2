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
└── ResultsError                    the exported results cannot be read
```

A wrong setting of a decorator is a ``ValueError`` or ``TypeError`` when the module is imported.
"""

from __future__ import annotations

from typing import Final

name_of: Final = type.__dict__["__name__"].__get__
"""Return a type's name. A metaclass of the user's may have a ``__name__`` of its own, which may raise."""


class DistmapError(Exception):
    """Base of everything the runtime raises."""


class EventError(DistmapError, ValueError):
    """The event is not what Step Functions sends to this kind of function."""


class ItemContextError(DistmapError, LookupError):
    """The current item was asked for where there is none, or it has no identity."""


class NotJsonError(DistmapError, TypeError):
    """A value that must travel as JSON is not JSON."""


class AnswerTooLargeError(DistmapError):
    """An answer is over the payload limit of Step Functions and there is nowhere to spill it."""


class SpillError(DistmapError):
    """A spilled value could not be written, or is not what its reference says."""


class BatchFailedError(DistmapError):
    """Every item of a batch failed, or the share that was set.

    Its message is JSON text of the shape :class:`distmap.wire.BatchFailure`: what each item met is in it, or in
    the object in S3 that it names.
    """


class DeadlineError(DistmapError):
    """The time left before the function's deadline is too short to get anything done."""


class CaptureError(DistmapError):
    """A capture cannot go on. Its upload was aborted: nothing of it can be read."""


class CaptureLimitError(CaptureError):
    """A capture would pass a limit of AWS."""


class CaptureDeadlineError(CaptureError):
    """The function's deadline came before the end of the items."""


class ResultsError(DistmapError):
    """The exported results of a map run cannot be read."""


def type_name(value: object) -> str:
    """Return the name of a value's type, whatever code of the user's is behind it."""
    name: str = name_of(type(value))
    return name


def words_of(error: BaseException) -> str:
    """Return an error's message as text that has a UTF-8 form: an error must never fail for its own message."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception as unprintable:  # noqa: BLE001 - the message of a user's exception is a user's code
        return f"its message cannot be read: {type_name(unprintable)}"
