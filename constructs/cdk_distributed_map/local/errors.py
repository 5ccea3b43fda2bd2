"""What can go wrong, inside an execution and in front of one.

```
StateError              an error with AWS's name and cause: Retry and Catch see it
ExecutionStoppedError   the execution was stopped or timed out: nothing catches it
UnsupportedError        a definition uses what the engine doesn't run (a ValueError)
ApiError                an answer of the Step Functions endpoint
```
"""

from __future__ import annotations

from typing import Final

ALL: Final = "States.ALL"
DATA_LIMIT: Final = "States.DataLimitExceeded"
QUERY: Final = "States.QueryEvaluationError"
RUNTIME: Final = "States.Runtime"
TASK_FAILED: Final = "States.TaskFailed"
TIMEOUT: Final = "States.Timeout"
HEARTBEAT: Final = "States.HeartbeatTimeout"
INTRINSIC: Final = "States.IntrinsicFailure"
REFERENCE_PATH: Final = "States.ReferencePathConflict"
NO_CHOICE: Final = "States.NoChoiceMatched"
ITEM_READER: Final = "States.ItemReaderFailed"
RESULT_WRITER: Final = "States.ResultWriterFailed"
TOLERANCE: Final = "States.ExceedToleratedFailureThreshold"


class StateError(Exception):
    """An error as Step Functions names it.

    Args:
        error: Its name, None where AWS gives none (a Fail state without ``Error``).
        cause: Its cause, None likewise.
        terminal: Whether no Retry and no Catch sees it, as AWS has it for ``States.Runtime``.
        hidden_from_all: Whether ``States.ALL`` doesn't match it, though its own name does.
        in_state: Whether the cause is to begin with the state it happened in, as AWS's runtime errors do.
        location: Field whose JSONata failed, which makes it an ``EvaluationFailed`` event; empty for no field.
    """

    def __init__(
        self,
        error: str | None,
        cause: str | None,
        *,
        terminal: bool = False,
        hidden_from_all: bool = False,
        in_state: bool = False,
        location: str | None = None,
    ) -> None:
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause
        self.terminal = terminal
        self.hidden_from_all = hidden_from_all
        self.in_state = in_state
        self.location = location
        self.inside = False
        """Whether it comes from a branch or an iteration, rather than from the state itself."""
        self.missed_heartbeat = False
        """Whether a ``States.Timeout`` is that of a heartbeat, which ``States.HeartbeatTimeout`` matches too."""

    def placed_in(self, state: str, entered: int) -> StateError:
        """Return the error with the state in its cause, where AWS puts it there."""
        if not self.in_state:
            return self
        return StateError(
            self.error,
            f"An error occurred while executing the state '{state}' (entered at the event id #{entered}). {self.cause}",
            terminal=self.terminal,
            hidden_from_all=self.hidden_from_all,
            location=self.location,
        )


def runtime(cause: str) -> StateError:
    """Return a ``States.Runtime``: the execution fails, nothing catches it."""
    return StateError(RUNTIME, cause, terminal=True, in_state=True)


def evaluation_error(cause: str, location: str = "") -> StateError:
    """Return a ``States.QueryEvaluationError``."""
    return StateError(QUERY, cause, in_state=True, location=location)


def conflict(path: str, input: str) -> StateError:
    """Return the error of a ResultPath that leads through something that is neither an object nor an array.

    Args:
        path: The path.
        input: The text of what it is applied to.
    """
    return StateError(REFERENCE_PATH, f"Unable to apply ReferencePath {path} to input {input}")


def too_large(what: str) -> StateError:
    """Return the error of a state or task whose result is over the payload limit."""
    cause = (
        f"The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit."
    )
    return StateError(DATA_LIMIT, cause)


class ExecutionStoppedError(Exception):
    """The execution ends from outside: stopped by its owner, or out of time.

    Args:
        status: ``ABORTED`` or ``TIMED_OUT``.
        error: Error to report, if any.
        cause: Cause to report, if any.
    """

    def __init__(self, status: str, error: str | None = None, cause: str | None = None) -> None:
        super().__init__(f"{status}: {error}: {cause}")
        self.status = status
        self.error = error
        self.cause = cause


class UnsupportedError(ValueError):
    """A definition has a field or a value that the engine doesn't run. The message names it and the remedy.

    .. versionadded:: 0.1.0
    """


class ApiError(Exception):
    """An error of the Step Functions API.

    .. versionadded:: 0.1.0

    Args:
        code: AWS's name of it, such as ``ExecutionDoesNotExist``.
        message: Its message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
