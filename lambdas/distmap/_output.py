"""What an item prints and logs, of which the end is kept for the case that it fails: ``keep_output``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from distmap._item import slot_of_thread

OUTPUT_CHARACTERS: Final = 1_000
"""Most of what an item printed and logged that is kept: the end of it."""

_LOGGING: Final = frozenset({"logging", "awslambdaric"})
"""What writes records that were noted when they were made."""


class Tail:
    """The end of a text that comes in pieces."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        """Begin with nothing."""
        self._pieces: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text[-OUTPUT_CHARACTERS:])
        self._size += len(self._pieces[-1])
        if self._size > 4 * OUTPUT_CHARACTERS:
            self._pieces = [self.text()]
            self._size = len(self._pieces[0])

    def text(self) -> str:
        """Return the end."""
        return "".join(self._pieces)[-OUTPUT_CHARACTERS:]


def keeping(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return ``call`` so that what it prints and logs is the item's, from the beginning of each attempt."""

    def kept(value: Any) -> Any:
        slot_of_thread.get().output = Tail()
        return call(value)

    return kept


def kept_output() -> str | None:
    """Return the end of what the current item has printed and logged; None where nothing is kept."""
    slot = slot_of_thread.get(None)
    tail = None if slot is None else slot.output
    text = "" if tail is None else tail.text().rstrip("\n")
    # Half a pair of surrogates is no UTF-8, which whoever prints gets away with.
    return text.encode("utf-8", "backslashreplace").decode() or None


@contextmanager
def output_kept() -> Iterator[None]:
    """Note what items print and log. It goes where it would have gone, too."""
    factory = logging.getLogRecordFactory()
    noting = _noting(factory)
    if not hasattr(factory, "of_distmap"):
        logging.setLogRecordFactory(noting)
    names = [name for name in ("stdout", "stderr") if not isinstance(getattr(sys, name), (_Tee, type(None)))]
    before = {name: getattr(sys, name) for name in names}
    ours = {name: _Tee(stream) for name, stream in before.items()}
    for name, stream in ours.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        # What the user's own code has put there since stays.
        for name, stream in ours.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, before[name])
        if logging.getLogRecordFactory() is noting:
            logging.setLogRecordFactory(factory)


class _Tee:
    """A stream whose text is noted on its way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> Any:
        module = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001 - what print is called in has no other name
        if module.partition(".")[0] not in _LOGGING:
            _note(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            _note(line)
            self._stream.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _noting(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return what makes records as ``factory`` does, and notes them: every logger asks it, whatever its handlers."""

    def made(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = factory(*arguments, **named)
        _note(_shown(record))
        return record

    made.of_distmap = True  # type: ignore[attr-defined] # a mark, so that it is set once
    return made


def _shown(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - logging takes arguments that don't fit for no error of the program's
        text = str(record.msg)
    return f"{record.levelname} {record.name}: {text}\n"


def _note(text: str) -> None:
    slot = slot_of_thread.get(None)
    if slot is not None and slot.output is not None:
        slot.output.add(str(text))
