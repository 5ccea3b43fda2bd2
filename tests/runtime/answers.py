"""Looks at the answers of workers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def causes(failures: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What each failed item met, without where that was."""
    return [(failure["itemIdentifier"], failure["error"], failure["cause"]) for failure in failures]


def place_in(function: Callable[..., Any], text: str) -> str:
    """The place of the first line of a function that begins with a text."""
    lines, first = inspect.getsourcelines(function)
    line = next(at for at, line in enumerate(lines, first) if line.strip().startswith(text))
    file = Path(inspect.getfile(function)).relative_to(ROOT)
    return f"{file.as_posix()}:{line} in {function.__name__}"
