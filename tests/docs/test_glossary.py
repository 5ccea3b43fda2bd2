"""The glossary: its terms are used, and words that gave way to them don't come back."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
TERMS = re.findall(r"^\| (?!term )([a-zA-Z ]+) \| .+ \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)

# Each with what is said instead. They are names of the code: ordinary English words stay free in sentences.
RETIRED = {
    r"\b_?Told\b|\b_told\b|\bfresh_successes\b": "outcomes",
    r"\bWorkerPlace\b": "WorkerContext",
    r"\bbind_parts\b": "create_map_resources",
    r"\bdef guard\(|\bimport guard\b": "inline_or_spill",
    r"\bdef fresh\(|\.fresh\(": "add_new",
    r"\bclass _?(?:Input|Items)?Place\b": "location",
    r"\bbare_session\b": "unconfigured_session",
    r"\bdef forget\(|\.forget\(|\bworker\.fresh\b": "reset, is_new",
    r"\bmake_good\b": "mark_recovered",
    r"\bbare items?\b|\bitems without identity\b": "unidentified item",
    r"\bstrangers?\b": "foreign record",
    r"\bastray\b": "unexpected result, misleading variables",
    r"\bSlow\b(?!est)": "ProgressNotice",
    r"\bScene\b|\bscene\b": "evaluation context",
    r"\btold(?: =|\[)": "a noun: outcomes, messages, failures",
    r"\bclass Frame\b|\bimport Frame\b": "execution frame",
    r"\bcli\._(?:look|operate|read)\b": "inspect, control, results",
    r"\btwin\b": "duplicate",
    r"\bfew: bool\b|\.few\b": "is_small",
    r"\bReservedConcurrency\.(?:of|matching)\(": "fixed, match_max_concurrency",
    r"Everything made is": "every resource is exposed as",
}
# Where an old word stands on purpose: names that warn, and the changelog of how things were named.
EXEMPT = {"CHANGELOG.md"}


@cache
def texts() -> dict[str, str]:
    """What people read: code of the package and the runtime, and documents."""
    folders = ("constructs", "lambdas", "docs")
    paths = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]
    kept = {path.relative_to(ROOT).as_posix(): path for path in paths if path.suffix in {".py", ".md", ".j2"}}
    return {name: path.read_text(encoding="utf-8") for name, path in kept.items() if name not in EXEMPT}


@cache
def in_one_line() -> dict[str, str]:
    """The same without their line ends."""
    return {name: " ".join(text.split()) for name, text in texts().items()}


def test_terms_stand_once_in_the_glossary() -> None:
    assert len(TERMS) > 30
    assert sorted(TERMS) == sorted(set(TERMS))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_used(term: str) -> None:
    pattern = re.compile(rf"\b{re.escape(term).replace(chr(92) + ' ', '[ _]')}", re.IGNORECASE)
    squeezed = term.title().replace(" ", "")

    assert [
        name
        for name, text in in_one_line().items()
        if name != "docs/glossary.md" and (pattern.search(text) or squeezed in text)
    ]


@pytest.mark.parametrize("pattern", RETIRED)
def test_a_retired_word_does_not_come_back(pattern: str) -> None:
    found = {
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
        for name, text in texts().items()
        for match in re.finditer(pattern, text)
    }

    assert found == set(), f"say {RETIRED[pattern]!r}"


def test_the_readme_leads_to_the_glossary() -> None:
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
