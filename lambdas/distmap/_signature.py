"""What a user's function asks for: the value alone, or the Lambda context too."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import MethodType, WrapperDescriptorType
from typing import Any, Final

_CONTEXT: Final = "context"
_NOT_READ: Final = (
    "Any",
    "object",
    "int",
    "str",
    "float",
    "bool",
    "dict",
    "list",
    "dict[str, Any]",
    Any,
    object,
    int,
    str,
)
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class UserFunction:
    """A user's function with the Lambda context injected only where its signature asks for it.

    It asks by a second parameter without a default, whatever its name, or by a parameter named ``context``.
    """

    def __init__(
        self, function: Callable[..., Any], *, decorator: str, argument: str, takes_async: bool = False
    ) -> None:
        """Look at the function's signature.

        Args:
            function: The user's function.
            decorator: Name of the decorator, for the messages.
            argument: What the first parameter gets, for the messages.
            takes_async: Whether it may be a coroutine function.

        Raises:
            TypeError: It cannot be called with what it would get.
        """
        if not callable(function):
            message = f"@{decorator} takes a function of {argument}, got {function!r}"
            raise TypeError(message)
        self.function = function
        runs = _what_runs(function)
        self.is_async = any(inspect.iscoroutinefunction(each) for each in (function, runs))
        if any(inspect.isasyncgenfunction(each) for each in (function, runs)) or (self.is_async and not takes_async):
            message = f"@{decorator} takes a plain function, and {self.name} is async; call asyncio.run inside it"
            raise TypeError(message)
        self.is_generator = inspect.isgeneratorfunction(runs)
        self._positional, self._keyword = _wants_context(function, f"@{decorator}: {self.name}", argument)

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self.function, "__qualname__", None) or repr(self.function)

    def item_reader(self) -> Callable[[Any], Any] | None:
        """Return what reads an item as the type that the first parameter is annotated with; None where it is any JSON.

        Raises:
            NameError: A name in the annotation isn't defined, or not yet.
            TypeError: An item can't be read as it.
        """
        function = _what_runs(self.function)
        if inspect.isclass(function):
            function = function.__init__
        hints = getattr(function, "__annotations__", None)
        if not hints or set(hints) == {"return"}:
            return None
        names = [name for name in inspect.signature(self.function).parameters if name in hints]
        first = next(iter(inspect.signature(self.function).parameters))
        if first not in names or hints[first] in _NOT_READ:
            return None
        from distmap._hints import hint_of  # noqa: PLC0415 - a cold start without types does without them
        from distmap._types import reader_of  # noqa: PLC0415 - likewise

        return reader_of(hint_of(function, first), f"@process_items: {self.name}")

    def bind(self, context: Any) -> Callable[[Any], Any]:
        """Return the function as a function of its first argument alone."""
        function = self.function
        if self._positional:
            return lambda value: function(value, context)
        if self._keyword:
            return lambda value: function(value, context=context)
        return function


def _what_runs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose code runs when ``function`` is called, as far as can be seen.

    A Python function around another one runs itself, whatever its ``__wrapped__`` is: it may call ``asyncio.run``.
    """
    while True:
        if isinstance(function, partial):
            function = function.func
        elif isinstance(function, (MethodType, staticmethod)):
            function = function.__func__
        elif inspect.isfunction(function) or inspect.isclass(function):
            return function
        elif not isinstance(type(function).__call__, WrapperDescriptorType):
            function = type(function).__call__
        elif "__wrapped__" in getattr(function, "__dict__", {}):  # functools.cache, which isn't written in Python
            function = vars(function)["__wrapped__"]
        else:
            return function


def _wants_context(function: Callable[..., Any], who: str, argument: str) -> tuple[bool, bool]:
    """Return whether the context goes in by position, and whether by keyword."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some built-in functions have no signature that Python could read
        return False, False
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if not positional and not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        message = f"{who} takes no positional parameter; its first one gets {argument}"
        raise TypeError(message)
    needed = [p for p in positional if p.default is inspect.Parameter.empty]
    if len(needed) > 2:
        names = ", ".join(p.name for p in needed[2:])
        message = f"{who} gets {argument} and the Lambda context; give a default to its other parameters: {names}"
        raise TypeError(message)
    keyword = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for parameter in keyword:
        if parameter.default is inspect.Parameter.empty and parameter.name != _CONTEXT:
            message = f"{who} gets {argument} and the Lambda context; give a default to {parameter.name}"
            raise TypeError(message)
    second = len(needed) == 2 or (len(positional) > 1 and positional[1].name == _CONTEXT)
    named = any(p.name == _CONTEXT for p in [*keyword, *positional[2:]])
    return second, named and not second
