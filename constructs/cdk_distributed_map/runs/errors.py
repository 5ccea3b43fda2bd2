"""What the client raises.

```
RunsError
├── NotFoundError (LookupError)      no pipeline or run of this name
│   └── AmbiguousNameError           several of this name
├── InputError (ValueError)          an input, an item file or a name that AWS or the pipeline would refuse
├── NotReadyError                    the files or counts asked for are not there yet
├── RunStateError                    what is asked for doesn't go with the state the run is in
│   └── RunFailedError               the run ended before it had read its items
├── ResultFilesError                 result files that are missing, cut off or not what they should be
├── UnavailableItemsError            items to run again whose values are nowhere to be read
├── MissingPackageError              an optional package isn't installed
└── AwsError                         AWS refused a call, or couldn't be reached
    ├── ThrottledError               too many calls, after all retries
    ├── CredentialsError             no credentials, or expired ones
    └── ConnectionLostError          no answer from AWS
```
"""

from __future__ import annotations

from distmap import pages


class RunsError(Exception):
    """Base of everything the client raises. A note says where the error is described.

    .. versionadded:: 0.1.0
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.add_note(f"see {pages.address(type(self).__name__)}")


class NotFoundError(RunsError, LookupError):
    """There is no pipeline or run of this name.

    .. versionadded:: 0.1.0
    """

    def __str__(self) -> str:
        """Return the message; ``LookupError`` would quote it."""
        return str(self.args[0])


class AmbiguousNameError(NotFoundError):
    """Several pipelines have this name.

    .. versionadded:: 0.1.0
    """


class InputError(RunsError, ValueError):
    """An input, an item file or a name that AWS or the pipeline would refuse.

    .. versionadded:: 0.1.0
    """


class NotReadyError(RunsError):
    """The files or counts asked for are not there yet.

    .. versionadded:: 0.1.0
    """


class RunStateError(RunsError):
    """What is asked for doesn't go with the state the run is in.

    .. versionadded:: 0.1.0
    """


class RunFailedError(RunStateError):
    """The run failed; of what asks about items: before it had read them, so there is nothing of the kind asked for.

    .. versionadded:: 0.1.0
    """


class ResultFilesError(RunsError):
    """Result files are missing, cut off or not what they should be.

    .. versionadded:: 0.1.0
    """


class UnavailableItemsError(RunsError):
    """Items are to be run again whose values are nowhere to be read.

    .. versionadded:: 0.1.0
    """


class MissingPackageError(RunsError):
    """An optional package isn't installed.

    .. versionadded:: 0.1.0
    """


class AwsError(RunsError):
    """AWS refused a call.

    .. versionadded:: 0.1.0

    Attributes:
        code: Error code of the answer; empty where there was none.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class ThrottledError(AwsError):
    """AWS refused a call because there were too many, and went on refusing.

    .. versionadded:: 0.1.0
    """


class CredentialsError(AwsError):
    """There are no credentials, or they have expired.

    .. versionadded:: 0.1.0
    """


class ConnectionLostError(AwsError):
    """AWS gave no answer.

    .. versionadded:: 0.1.0
    """
