"""Tables and pictures of the documents are those of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distmap_docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["docs/construct.md", "docs/account.md"])
def test_a_document_is_as_the_code_is(generate: ModuleType, name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert generate.render(ROOT / name, text) == text, "run make docs"


def test_fails_when_a_document_has_no_place_for_a_table(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"construct.md has no place for 'arguments'"):
        generate.render(ROOT / "docs" / "construct.md", "# distmap\n")
