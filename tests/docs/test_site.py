"""The documentation site: whole, without dead links, and independent of any network."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distmap import limits, wire
from tests.docs.site import DOCS, ROOT, load

pytestmark = pytest.mark.checkout

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
SITE_PAGES = load("site_pages")
REFERENCE = (*SITE_PAGES.PUBLIC, *SITE_PAGES.MADE_PAGES)
MADE = {*SITE_PAGES.ROOT_PAGES.values(), *(f"reference/{page}.md" for page in REFERENCE)}
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def pages_of(entries: list[Any]) -> list[str]:
    """Return the pages of a part of the navigation, in their order."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += [value] if isinstance(value, str) else pages_of(value)
    return found


def anchors_of(path: Path) -> set[str]:
    """Return what links into a Markdown file can name: its headings, as readers of Markdown have them, and ids."""
    text = path.read_text(encoding="utf-8")
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        found.add(words.strip().replace(" ", "-"))
    return found


def links_of(path: Path) -> list[tuple[str, str]]:
    """Return the files and anchors that a Markdown file links to."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [(file, anchor) for file, _, anchor in (link.partition("#") for link in links if "://" not in link)]


def test_every_page_is_in_the_navigation_once() -> None:
    from mkdocs.utils.yaml import yaml_load  # other environments haven't got it

    listed = pages_of(yaml_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted({*PAGES, *MADE})


@pytest.mark.parametrize(
    "page", [*(f"docs/{page}" for page in PAGES), *sorted(path.name for path in ROOT.glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    dead = []
    for file, anchor in links_of(path):
        target = (path.parent / file).resolve() if file else path
        made = target.is_relative_to(DOCS) and target.relative_to(DOCS).as_posix() in MADE
        if not made and not target.exists():
            dead.append(file)
        elif anchor and target.suffix == ".md" and not made and anchor not in anchors_of(target):
            dead.append(f"{file}#{anchor}")
    assert dead == []


def test_every_public_name_is_in_the_reference() -> None:
    modules = [module for page in SITE_PAGES.PUBLIC.values() for module in page]
    public = (
        "cdk_distributed_map",
        "cdk_distributed_map.local",
        "cdk_distributed_map.plan",
        "cdk_distributed_map.runs",
    )
    assert {*public, "cdk_distributed_map.testing", "distmap"} <= set(modules)
    for module in modules:
        names = SITE_PAGES.public_names(module)
        assert names
        values = {name: getattr(importlib.import_module(module), name) for name in names}
        assert [
            name
            for name, value in values.items()
            if (inspect.isclass(value) or inspect.isfunction(value)) and not value.__doc__
        ] == []


def test_pages_made_of_the_code_have_all_of_it() -> None:
    pages = load("reference_pages").PAGES
    assert set(pages) == set(SITE_PAGES.MADE_PAGES)
    commands = pages["commands"]()
    assert {name for name in ("run", "ledger", "retry", "local up") if f"## distmap {name}\n" not in commands} == set()
    assert "| `--watch` |" in commands
    assert "```text\ndistmap watch Squares " in commands
    assert "| <code>--input JSON&#124;@FILE&#124;-</code> |" in commands
    shapes = pages["shapes"]()
    assert [name for name in load("schemas").shapes() if f"## {name}\n" not in shapes] == []
    written = pages["limits"]()
    names = [name for name in vars(limits) if name.isupper()]
    assert [name for name in names if written.count(f"| `{name}` |") != 1] == []
    assert "## Ours, derived from the above\n" in written
    assert "| `MAX_BATCH_BYTES` | 262,144 bytes |" in written
    files = pages["files"]()
    assert "| `ledger.json` | [RunLedger](shapes.md#runledger) |" in files
    kept = {value for name, value in vars(wire).items() if name.endswith(("_FILE", "_FOLDER"))}
    assert [name for name in kept - {"runs"} if name not in files] == []
    permissions = pages["permissions"]()
    parts = {part.split("\n", 1)[0]: part for part in permissions.split("\n## ")}
    starts = parts["Who starts runs: a caller, a schedule of your own"]
    assert "| `states:StartExecution` | `{StateMachine}` |" in starts
    assert "`{PayloadBucket}/runs/*/spill/*`" in parts["The worker, beside what you grant to it"]
    assert "`states:execution:{StateMachine}/Squares:*`" in parts["The state machine"]


def test_roles_of_docstrings_become_links() -> None:
    roles = load("griffe_roles")
    text = "As :class:`Worker`, of :class:`distmap.PermanentError` and :meth:`_look`.\n\n.. versionadded:: 0.2.0"
    assert roles.rewrite(text) == (
        "As [`Worker`][cdk_distributed_map.Worker], of [`distmap.PermanentError`][distmap.PermanentError] and `_look`."
        "\n\n*Since version 0.2.*"
    )


def test_links_of_a_document_that_moves_lead_to_the_same_files() -> None:
    text = "[a](docs/item.md#x) [b](#here) [c](https://example.com) ![d](docs/session.svg)\n```\n[e](docs/e.md)\n```\n"
    assert load("site_hooks").rebase(text, "", "project") == (
        "[a](../item.md#x) [b](#here) [c](https://example.com) ![d](../session.svg)\n```\n[e](docs/e.md)\n```\n"
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as ``make docs`` builds it; a warning of MkDocs fails that."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(DOCS / "build_site.py"), "--into", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_site_is_whole_and_asks_no_network(site: Path) -> None:
    (version,) = json.loads((site / "versions.json").read_text(encoding="utf-8"))
    folder = site / version["version"]
    assert f"url={version['version']}/index.html" in (site / "index.html").read_text(encoding="utf-8")
    copies = (folder / "llms.txt").read_text(encoding="utf-8")
    for page in {*PAGES, *MADE}:
        html = (folder / page).with_suffix(".html").read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"', html)
        loaded += re.findall(r'<link [^>]*rel="(?:stylesheet|preconnect|preload|icon)"[^>]* href="([^"]+)"', html)
        assert [link for link in loaded if "//" in link] == [], page
        assert ("assets/mermaid.js" in html) == ('class="mermaid"' in html), page
        # Without it, groups in pictures are white on dark pages, and so is what they say.
        assert ('theme: "default"' in html) == ('class="mermaid"' in html), page
        assert f'type="text/markdown" href="{Path(page).name}"' in html
        assert (folder / page).read_text(encoding="utf-8").startswith("# "), page
        assert f"({page})" in copies
    assert (folder / "assets" / "mermaid.js").stat().st_size > 100_000
    assert "Prefix of the keys" in (folder / "search" / "search_index.json").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", SITE_PAGES.PUBLIC)
def test_reference_has_every_public_name(site: Path, page: str) -> None:
    (folder,) = (path for path in site.iterdir() if path.is_dir())
    html = (folder / "reference" / f"{page}.html").read_text(encoding="utf-8")
    copy = (folder / "reference" / f"{page}.md").read_text(encoding="utf-8")
    for module in SITE_PAGES.PUBLIC[page]:
        for name in SITE_PAGES.public_names(module):
            assert f'id="{module}.{name}"' in html
            assert f"## `{name}" in copy
    words = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)  # the sources are shown too
    assert "versionadded" not in words + copy
    assert ":class:`" not in words + copy
