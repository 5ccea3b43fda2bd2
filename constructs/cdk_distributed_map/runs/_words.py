"""Words for numbers, and for what is wrong."""

from __future__ import annotations

from typing import Final

_MOST_PROBLEMS: Final = 20


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 item``, ``1,000 items``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def one_line(text: str, most: int) -> str:
    """Return a text without line breaks, cut off where it is longer than ``most`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


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
