"""Words for numbers, and for what is wrong."""

from __future__ import annotations

import re
from typing import Final

_MOST_PROBLEMS: Final = 20
NO_ITEMS: Final = "the run had no items: look at its input, or at the prefix or key of the source"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 item``, ``1,000 items``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


_HIDDEN: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f"  # control characters, C1 too: U+009B begins an escape sequence
    "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069"  # what turns the direction of writing
    "\\u2028\\u2029"  # line breaks of another kind
    "\\u200b\\u2060-\\u2064\\u206a-\\u206f\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f"  # what nobody sees
    "\\ud800-\\udfff]"  # halves of surrogate pairs, which UTF-8 hasn't
)


def visible(text: str) -> str:
    """Return a text in which nothing but tabs and line feeds can do more than be seen.

    Control characters, those that turn the direction of writing and those that can't be seen are written as JSON
    escapes them: a JSON text stays one, of the same value.
    """
    # What is printable throughout, as nearly every text is, is told ten times as quickly.
    return text if text.isprintable() else _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    high, low = divmod(number - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def one_line(text: str, most: int | None = None) -> str:
    """Return a text without line breaks, as :func:`visible` shows it.

    Args:
        text: The text.
        most: Characters after which it is cut off. Default: it isn't.
    """
    flat = " ".join(text.split())
    if most is not None and len(flat) > most:
        flat = f"{flat[: most - 1]}…"
    return visible(flat)


class Problems:
    """What is wrong, in words: no more than can be read, however much there is."""

    def __init__(self) -> None:
        self._kept: list[str] = []
        self._more = 0

    def add(self, problem: str) -> None:
        """Note a problem."""
        if len(self._kept) < _MOST_PROBLEMS:
            self._kept.append(problem)
        else:
            self._more += 1

    def told(self) -> tuple[str, ...]:
        """Return them, and how many more there are."""
        return (*self._kept, f"and {self._more:,} more of the kind") if self._more else tuple(self._kept)
