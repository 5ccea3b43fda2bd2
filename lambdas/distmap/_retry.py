"""Errors that the author of a worker named: those for which an item is tried again in place, and permanent ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from time import monotonic, sleep
from typing import Any, Final

from distmap._deadline import Deadline
from distmap._errors import ENDING, NotJsonError, PermanentError, name_of

_FIRST_DELAY_SECONDS: Final = 0.2
_MAX_DELAY_SECONDS: Final = 5.0


class NamedErrors:
    """Exception types, names of exception types or of bases of them, and error codes of AWS services."""

    def __init__(self, errors: Sequence[type[Exception] | str], *, setting: str) -> None:
        """Check what was named.

        Args:
            errors: Exception types, names of exception types (of the exception or of a base of it), or error codes
                of AWS services as boto3 reports them, such as ``ThrottlingException``.
            setting: Name of the setting, for messages.

        Raises:
            TypeError: An error is neither an exception type nor a name.
        """
        if isinstance(errors, (str, type)):
            message = f"{setting} takes a sequence of exception types and names, got {errors!r}; put it in a list"
            raise TypeError(message)
        for error in errors:
            if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, Exception)):
                message = f"{setting} takes exception types and names, got {error!r}"
                raise TypeError(message)
        self._types = tuple(error for error in errors if not isinstance(error, str))
        self._names = frozenset(error for error in errors if isinstance(error, str))

    def has(self, error: BaseException) -> bool:
        """Tell whether an error was named."""
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


class ItemRetry:
    """Which errors are tried again, and how often."""

    def __init__(
        self,
        errors: Sequence[type[Exception] | str],
        attempts: int,
        permanent_errors: Sequence[type[Exception] | str] = (),
    ) -> None:
        """Check the settings.

        Args:
            errors: Those for which an item is tried again in place, as :class:`NamedErrors` takes them.
            attempts: How many times an item is tried again.
            permanent_errors: Those for which it is pointless to try it again at any time, beside ``PermanentError``.

        Raises:
            TypeError: An error is neither an exception type nor a name.
            ValueError: The number of attempts is negative.
        """
        self._errors = NamedErrors(errors, setting="retry_errors")
        self._permanent = NamedErrors(permanent_errors, setting="permanent_errors")
        if type(attempts) is not int or attempts < 0:
            message = f"retry_attempts must be an integer from 0, got {attempts!r}"
            raise ValueError(message)
        self._attempts = attempts if errors else 0

    def bind(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return ``call`` on a copy of its value where another attempt may follow: a function may alter its item."""
        return (lambda value: call(deepcopy(value))) if self._attempts else call

    def run(self, call: Callable[[Any], Any], value: Any, error: BaseException, deadline: Deadline) -> Any:
        """Try an item again after ``error``, with growing random delays, while its time lasts.

        Returns:
            What the call returned at last.

        Raises:
            Exception: The last error, where no attempt succeeded or none was due.
        """
        for attempt in range(self._attempts):
            delay = self._delay(attempt, error, deadline)
            if delay is None:
                break
            sleep(delay)
            try:
                return call(value)
            except ENDING:
                raise
            except BaseException as again:  # noqa: BLE001 - the last one is raised below
                error = again
        raise error

    async def run_async(
        self, call: Callable[[Any], Awaitable[Any]], value: Any, error: BaseException, deadline: Deadline
    ) -> Any:
        """Do the same for a coroutine function."""
        from asyncio import CancelledError  # noqa: PLC0415 - whoever has a coroutine imported it already
        from asyncio import sleep as wait  # noqa: PLC0415 - likewise

        for attempt in range(self._attempts):
            delay = self._delay(attempt, error, deadline)
            if delay is None:
                break
            await wait(delay)
            try:
                return await call(value)
            except (*ENDING, CancelledError):
                raise
            except BaseException as again:  # noqa: BLE001 - the last one is raised below
                error = again
        raise error

    def _delay(self, attempt: int, error: BaseException, deadline: Deadline) -> float | None:
        """Return how long to wait before an item is tried again; None where it isn't."""
        if not self._names_it(error):
            return None
        import random  # noqa: PLC0415 - rarely needed, and it would slow down every cold start

        longest = min(_MAX_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2**attempt)
        delay = random.uniform(0, longest)  # noqa: S311 - jitter, no secret
        return None if monotonic() + delay + deadline.expected >= deadline.ends else delay

    def is_permanent(self, error: BaseException) -> bool:
        """Tell whether it is pointless to try an item again that met an error."""
        return isinstance(error, PermanentError) or self._permanent.has(error)

    def _names_it(self, error: BaseException) -> bool:
        # Of what isn't JSON the item did its work, and its next result would be no better.
        if isinstance(error, NotJsonError) or self.is_permanent(error):
            return False
        return self._errors.has(error)
