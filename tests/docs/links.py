"""Links of documents to the tests that prove what they say."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def linked_tests(text: str) -> list[tuple[str, str]]:
    """Return the tests that a document links to, each with its path, once."""
    return sorted(set(re.findall(r"\[(test_\w+)\]\(([^)]+)\)", text)))


@cache
def functions_of(path: str) -> set[str]:
    """Return the functions of a file whose path is as the documents have it."""
    tree = ast.parse((DOCS / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
