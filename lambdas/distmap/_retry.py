"""Trying one item again in place, for errors that its author named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from time import monotonic, sleep
from typing import Any, Final

from distmap._deadline import Deadline
from distmap._errors import NotJsonError, name_of

_FIRST_DELAY_SECONDS: Final = 0.2
_MAX_DELAY_SECONDS: Final = 5.0


class ItemRetry:
    """Which errors are tried again, and how often."""

    def __init__(self, errors: Sequence[type[Exception] | str], attempts: int) -> None:
        """Check the settings.

        Args:
            errors: Exception types, names of exception types (of the exception or of a base of it), or error codes
                of AWS services as boto3 reports them, such as ``ThrottlingException``.
            attempts: How many times an item is tried again.

        Raises:
            TypeError: An error is neither an exception type nor a name.
            ValueError: The number of attempts is negative.
        """
        if isinstance(errors, (str, type)):
            message = f"retry_errors takes a sequence of exception types and names, got {errors!r}; put it in a list"
            raise TypeError(message)
        for error in errors:
            if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, Exception)):
                message = f"retry_errors takes exception types and names, got {error!r}"
                raise TypeError(message)
        if type(attempts) is not int or attempts < 0:
            message = f"retry_attempts must be an integer from 0, got {attempts!r}"
            raise ValueError(message)
        self._types = tuple(error for error in errors if not isinstance(error, str))
        self._names = frozenset(error for error in errors if isinstance(error, str))
        self._attempts = attempts if errors else 0

    def bind(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return ``call`` on a copy of its value where another attempt may follow: a function may alter its item."""
        return (lambda value: call(deepcopy(value))) if self._attempts else call

    def run(self, call: Callable[[Any], Any], value: Any, error: Exception, deadline: Deadline) -> Any:
        """Try an item again after ``error``, with growing random delays, while its time lasts.

        Returns:
            What the call returned at last.

        Raises:
            Exception: The last error, where no attempt succeeded or none was due.
        """
        for attempt in range(self._attempts):
            if not self._names_it(error):
                break
            import random  # noqa: PLC0415 - rarely needed, and it would slow down every cold start

            longest = min(_MAX_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**attempt)
            delay = random.uniform(0, longest)  # noqa: S311 - jitter, no secret
            if monotonic() + delay + deadline.expected >= deadline.ends:
                break
            sleep(delay)
            try:
                return call(value)
            except MemoryError:
                raise
            except Exception as again:  # noqa: BLE001 - the last one is raised below
                error = again
        raise error

    def _names_it(self, error: Exception) -> bool:
        if isinstance(error, NotJsonError):  # the item did its work, and its next result would be no better
            return False
        if isinstance(error, self._types):
            return True
        if not self._names:
            return False
        if any(name_of(base) in self._names for base in type.mro(type(error))):
            return True
        try:
            response = getattr(error, "response", None)
            details = response.get("Error") if isinstance(response, dict) else None
            return isinstance(details, dict) and details.get("Code") in self._names
        except Exception:  # noqa: BLE001 - an error of the user's may compute its attributes, and fail
            return False
