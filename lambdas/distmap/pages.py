"""Where errors and warnings are described: each message has the address of its entry."""

from __future__ import annotations

from typing import Final

ERRORS: Final = "docs/errors.md"
"""The page of all errors and warnings. It is a path in the repository until the site has an address of its own."""

_OURS: Final = ("distmap:", "Distmap.")
_OF_AWS: Final = ("States.", "Lambda.", "Sandbox.", "Runtime.")


def address(name: str) -> str:
    """Return where an error or a warning is described.

    Args:
        name: Id of a warning, name of an error of a run, or of a class.
    """
    for prefix in _OURS:
        name = name.removeprefix(prefix)
    return f"{ERRORS}#{name}"


def address_of_run_error(name: str | None) -> str | None:
    """Return where the error of a run is described; None for one of the user's own."""
    return address(name) if name is not None and name.startswith((*_OURS, *_OF_AWS)) else None
