"""Kinds of failures: of the same error, at the same place, with messages that differ in values alone.

The one grouping of failures: the account of a run, its ledger, the command and the report all show these.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Final, NamedTuple

OTHER_MESSAGES: Final = "(other messages)"
MOST_KINDS: Final = 100
"""Kinds that are told apart: what comes then is of one kind for each error."""
MOST_KINDS_OF_AN_ERROR: Final = 20
"""Likewise of one error: what it says may be different each time."""

_MOST_CHARACTERS: Final = 300
_ADDRESS: Final = re.compile(r"\b(?:[a-z][a-z0-9+]*://|arn:aws)\S*[^\s.,;:)'\"]")
_QUOTED: Final = re.compile(r"""(?<![\w'"])(?:'[^']*'|"[^"]*"|`[^`]*`)(?!\w)""")
_IDENTIFIER: Final = re.compile(
    r"\b(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=[a-fA-F]*[0-9])[0-9a-fA-F]{8,}|0[xX][0-9a-fA-F]+)\b"
)
_NUMBER: Final = re.compile(r"[0-9]+(?:(?:[.,:T]|(?<=[0-9]{4})-|(?<=-[0-9]{2})[- ])?[0-9]+)*(?:[eE][-+]?[0-9]+\b|Z\b)?")
_SIGN: Final = re.compile(r"(?<![\w#])[-+]#")


class Kind(NamedTuple):
    """A kind of failures."""

    error: str
    place: str | None
    """Where they came from, such as ``handler.py:14 in enrich``; None where that isn't known."""
    message: str
    """What their messages have in common, ``#`` in place of each number, identifier and address, ``'#'`` of each quoted
    part; :data:`OTHER_MESSAGES` where too many kinds were told apart already."""


class Kinds:
    """The kinds that are told apart, however many there are: every failure of them, but a bounded number."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[tuple[Hashable, Kind], None] = {}
        self._of_error: dict[tuple[Hashable, str], int] = {}

    def kind(self, error: str, place: str | None, cause: str, *, apart: Hashable = None) -> Kind:
        """Return the kind of a failure.

        Args:
            error: Its error.
            place: Where it came from.
            cause: Its message.
            apart: What else tells failures apart. Default: nothing.
        """
        kind = Kind(error, place, pattern_of(cause))
        key = apart, kind
        if key in self._known:
            return kind
        of_error = self._of_error.get((apart, error), 0)
        if len(self._known) >= MOST_KINDS or of_error >= MOST_KINDS_OF_AN_ERROR:
            return Kind(error, None, OTHER_MESSAGES)
        self.add(kind, apart=apart)
        return kind

    def add(self, kind: Kind, *, apart: Hashable = None) -> None:
        """Take up a kind that was told apart before."""
        if kind.message != OTHER_MESSAGES:
            self._known[apart, kind] = None
            self._of_error[apart, kind.error] = self._of_error.get((apart, kind.error), 0) + 1


@lru_cache(1024)
def pattern_of(cause: str) -> str:
    """Return what a message has in common with those that differ from it in numbers and quoted parts alone."""
    text = cause[:_MOST_CHARACTERS]
    if "://" in text or "arn:aws" in text:
        text = _ADDRESS.sub("#", text)
    if "'" in text or '"' in text or "`" in text:
        text = _QUOTED.sub(lambda found: f"{found[0][0]}#{found[0][0]}", text)
    shorter = _NUMBER.sub("#", text)
    if shorter != text:
        # Of an identifier no more than its digits would be left out.
        text = _SIGN.sub("#", _NUMBER.sub("#", _IDENTIFIER.sub("#", text)))
    return " ".join(text.split())
