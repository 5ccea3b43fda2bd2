"""What pages of the documentation site are made of the code: which names are public, and what is shown of each."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
# Pages of the reference, and the modules whose public names each shows.
PUBLIC: Final = {
    "construct": ("cdk_distributed_map",),
    "runs": ("cdk_distributed_map.runs",),
    "distmap": ("distmap",),
    "plan": ("cdk_distributed_map.plan",),
    "testing": ("cdk_distributed_map.testing", "cdk_distributed_map.local.server", "cdk_distributed_map.local.faults"),
    "local": ("cdk_distributed_map.local",),
}
TITLES: Final = {
    "construct": "The construct",
    "runs": "The client",
    "distmap": "The Lambda module",
    "plan": "The plan",
    "testing": "Tests of your own",
    "local": "The engine",
}
# Further pages of the reference, which docs/reference_pages.py makes.
MADE_PAGES: Final = ("commands", "shapes", "files", "permissions", "limits")
# Documents that stand at the root of the checkout, where people and platforms look for them.
ROOT_PAGES: Final = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
# How docstrings name what is elsewhere, and since when something is there.
ROLE: Final = re.compile(r":\w+:`[~.]?([\w.]+)`")
VERSION: Final = re.compile(r"^\.\. versionadded:: (\d+\.\d+)\.\d+$", re.MULTILINE)


@cache
def public_names(module: str) -> tuple[str, ...]:
    """Return the public names of a module; of one that lists none, its public classes."""
    found = importlib.import_module(module)
    if hasattr(found, "__all__"):
        return tuple(found.__all__)
    return tuple(name for name, each in vars(found).items() if inspect.isclass(each) and is_own(each, module, name))


def is_own(value: Any, module: str, name: str) -> bool:
    """Say whether a class is public and made in the module."""
    return bool(value.__module__ == module) and not name.startswith("_")


def as_markdown(text: str, role: Any = r"`\1`") -> str:
    """Return a docstring as Markdown.

    Args:
        text: The docstring.
        role: What stands for a role, as ``re.sub`` takes it. Default: its name, as code.
    """
    return VERSION.sub(r"*Since version \1.*", ROLE.sub(role, text)).replace("``", "`")


def reference_page(page: str) -> str:
    """Return the Markdown of a page of the reference, for mkdocstrings."""
    parts = [f"# {TITLES[page]}\n"]
    for module in PUBLIC[page]:
        words = (inspect.getdoc(importlib.import_module(module)) or "").split("\n\n")[0]
        parts.append(f"`import {module}`: {words}\n")
        parts += [f"::: {module}.{name}\n" for name in public_names(module)]
    return "\n".join(parts)


def reference_copy(page: str) -> str:
    """Return the same page as plain Markdown, for readers that have no browser."""
    parts = [f"# {TITLES[page]}\n"]
    for module in PUBLIC[page]:
        parts.append(f"Module `{module}`.\n")
        for name in public_names(module):
            parts += _plain(name, getattr(importlib.import_module(module), name), level=2)
    return "\n".join(parts)


def _plain(name: str, value: Any, level: int) -> list[str]:
    parts = [f"{'#' * level} `{name}{_signature(value)}`\n", f"{as_markdown(inspect.getdoc(value) or '')}\n"]
    if inspect.isclass(value):
        for each, member in vars(value).items():
            inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if not each.startswith("_") and (inspect.isfunction(inner) or isinstance(inner, property)):
                parts += _plain(f"{name}.{each}", inner, level + 1)
    return parts


def _signature(value: Any) -> str:
    if not callable(value):
        return ""
    try:
        return str(inspect.signature(value)).replace("NoneType", "None")
    except ValueError:
        return "()"
