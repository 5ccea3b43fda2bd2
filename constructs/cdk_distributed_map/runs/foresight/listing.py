"""How many objects a listing has, from some of its pages.

S3 lists a thousand keys a request, one after the other: a hundred million would take hours. So that the first pages are
read whole. If there are more, keys are taken for paths in a tree of their characters: what branches off is listed by
one request for each branch, of which some are followed and stand for the others. Own code, because no library estimates
a listing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_WHOLE_PAGES: Final = 20
"""Pages that are read one after the other: listings up to so many are counted exactly."""
_REQUESTS: Final = 150
_OF_A_BRANCH: Final = 15
"""Requests that following a branch is taken to need at each of its levels."""
_LAST: Final = 0x10FFFF
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000


class Entry(NamedTuple):
    """An object."""

    key: str
    size: int
    described: ObjectTypeDef
    """As S3 lists it."""


class Page(NamedTuple):
    """Some objects of a listing, in its order."""

    entries: Sequence[Entry]
    truncated: bool
    """Whether there are more behind them."""


ListPage = Callable[[str, str], Page]
"""Lists what begins with a prefix, from behind a key."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a listing has."""

    objects: int
    bytes: int
    exact: bool
    some: tuple[Entry, ...]
    """Objects that were seen, those of its beginning first."""


def estimate(page: ListPage, prefix: str) -> Listing:
    """Return how many objects begin with a prefix, and their bytes; exactly where these are few."""
    seen: list[Entry] = []
    after = ""
    for _ in range(_WHOLE_PAGES):
        listed = page(prefix, after)
        seen += listed.entries
        if not listed.truncated or not listed.entries:
            return Listing(objects=len(seen), bytes=sum(each.size for each in seen), exact=True, some=tuple(seen))
        after = listed.entries[-1].key
    tree = _Tree(page)
    objects = max(len(seen), round(tree.size(prefix, Page(seen, True), _REQUESTS)))
    some = (*seen, *tree.seen)
    mean = sum(each.size for each in some) / len(some)
    return Listing(objects=objects, bytes=round(mean * objects), exact=False, some=some)


class _Tree:
    def __init__(self, page: ListPage) -> None:
        self._page = page
        self._chance = Random(0)  # noqa: S311 - it samples, and keeps no secret
        self._requests = 0
        self.seen: list[Entry] = []

    def _listed(self, prefix: str, after: str) -> Page:
        self._requests += 1
        listed = self._page(prefix, after)
        self.seen += listed.entries
        return listed

    def size(self, prefix: str, first: Page, budget: float) -> float:
        """Return about how many keys begin with a prefix.

        Args:
            prefix: The prefix.
            first: The first of them.
            budget: Requests that this may take.
        """
        if not first.truncated:
            return len(first.entries)
        begun = self._requests
        known, branches = self._branches(self._shared(prefix, first.entries))
        if not branches:
            return known
        left = max(0.0, budget - (self._requests - begun))
        number = max(1, min(len(branches), int(left / _OF_A_BRANCH)))
        followed = self._chance.sample(branches, number)
        sizes = [self.size(branch, page, left / number) for branch, page in followed]
        return known + sum(sizes) / number * len(branches)

    def _shared(self, prefix: str, entries: Sequence[Entry]) -> str:
        """Return what all keys of a prefix begin with."""
        first = entries[0].key
        low, high = len(prefix), _common(first, entries[-1].key)
        while low < high:
            middle = (low + high) // 2
            if self._listed(prefix, _next(first[: middle + 1])).entries:
                high = middle
            else:
                low = middle + 1
        return first[:low]

    def _branches(self, prefix: str) -> tuple[int, list[tuple[str, Page]]]:
        """Return how many keys are in the small branches of a prefix, and the large ones with their first keys."""
        known, large, after, truncated = 0, [], "", True
        while truncated:
            found = self._listed(prefix, after)
            truncated = found.truncated and bool(found.entries)
            groups = [
                (name, list(each)) for name, each in groupby(found.entries, lambda each: each.key[: len(prefix) + 1])
            ]
            for name, keys in groups[:-1] if truncated else groups:
                del name
                known += len(keys)
            if truncated:
                name, keys = groups[-1]
                if name == prefix:
                    known += len(keys)
                    after = keys[-1].key
                    continue
                large.append((name, Page(keys, True)))
                after = _next(name)
        return known, large


def _common(one: str, other: str) -> int:
    """Return how many characters two keys begin with alike."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _next(prefix: str) -> str:
    """Return the first text behind all that begin with a prefix."""
    code = ord(prefix[-1])
    following = _AFTER_SURROGATES if code == _BEFORE_SURROGATES else min(code + 1, _LAST)
    return prefix[:-1] + chr(following)
