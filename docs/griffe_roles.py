"""Lets mkdocstrings show docstrings as they are written here: their roles as links, their versions as a line."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import griffe
from site_pages import PUBLIC, as_markdown, public_names


class Roles(griffe.Extension):
    """Turns roles into links to what the reference has, and ``versionadded`` into words."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(text: str) -> str:
    """Return a docstring as Markdown."""
    return as_markdown(text, _link)


def _link(found: re.Match[str]) -> str:
    name = found[1]
    target = _targets().get(name.rpartition(".")[2] if name.startswith("distmap.") else name)
    return f"`{name}`" if target is None else f"[`{name}`][{target}]"


@cache
def _targets() -> dict[str, str]:
    """Return where each public name is in the reference."""
    return {name: f"{module}.{name}" for page in PUBLIC.values() for module in page for name in public_names(module)}
