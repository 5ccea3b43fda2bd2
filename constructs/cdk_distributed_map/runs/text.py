"""Texts for people: numbers with their nouns, problems, and what a terminal can show safely."""

from __future__ import annotations

import re
from typing import Final

from distmap._noting import Problems, counted
from distmap._reconcile import NO_ITEMS

__all__ = ["NO_ITEMS", "Problems", "counted", "one_line", "visible"]

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
    # Nearly every text is printable throughout, and this is ten times as quick.
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
