"""Hooks of MkDocs: pages made of the code, links that leave the site, pictures, and a Markdown copy of each page."""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parent))

import reference_pages
import site_pages  # beside this file, which MkDocs loads by its path

MODULES: Final = site_pages.ROOT / "node_modules"
# What Material would have fetched from a network when a page is read: what draws pictures, and what searches in a
# site that was opened as a file.
PICTURES: Final = "assets/mermaid.js"
# What draws pictures colours groups by itself, for light pages alone; this theme leaves it to the page.
THEME: Final = 'mermaid.initialize = (make => settings => make({theme: "default", ...settings}))(mermaid.initialize)'
SEARCH: Final = "assets/iframe-worker.js"
SCRIPTS: Final = {
    PICTURES: MODULES / "@mermaid-js" / "tiny" / "dist" / "mermaid.tiny.js",
    SEARCH: MODULES / "iframe-worker" / "shim" / "index.js",
}
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_copies: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files of the folder."""
    _copies.clear()
    for page in site_pages.PUBLIC:
        files.append(File.generated(config, f"reference/{page}.md", content=site_pages.reference_page(page)))
    for name, make in reference_pages.PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    for source, place in site_pages.ROOT_PAGES.items():
        text = (site_pages.ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=rebase(text, "", posixpath.dirname(place))))
    return files


def rebase(text: str, source: str, place: str) -> str:
    """Return a document with links as they are from another folder.

    Args:
        text: The document.
        source: Folder that its links are relative to, from the root of the checkout.
        place: Folder below ``docs/`` that it moves to.
    """

    def moved(found: re.Match[str]) -> str:
        mark, label, link = found.groups()
        if "://" in link or link.startswith("#"):
            return found[0]
        path, _, anchor = link.partition("#")
        target = posixpath.relpath(posixpath.join(source, path), posixpath.join("docs", place))
        return f"{mark}[{label}]({target}{'#' + anchor if anchor else ''})"

    return outside_of_code(text, lambda part: _LINK.sub(moved, part))


def outside_of_code(text: str, change: Any) -> str:
    """Return a document of which a function has changed all but the blocks of code."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links that leave the folder to the page that stands for their file, or show them as its path."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def led(found: re.Match[str]) -> str:
        mark, label, link = found.groups()
        if "://" in link or link.startswith("#"):
            return found[0]
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(folder, path))
        if target == "docs" or target.startswith("docs/"):
            return found[0] if (site_pages.ROOT / target).is_file() or _is_made(target) else _as_path(label, target)
        if target in site_pages.ROOT_PAGES:
            inside = posixpath.relpath(posixpath.join("docs", site_pages.ROOT_PAGES[target]), folder)
            return f"{mark}[{label}]({inside}{'#' + anchor if anchor else ''})"
        return _as_path(label, target)

    text = outside_of_code(markdown, lambda part: _LINK.sub(led, part))
    made = posixpath.splitext(posixpath.basename(page.file.src_uri))[0]
    is_reference = page.file.src_uri == f"reference/{made}.md" and made in site_pages.PUBLIC
    _copies[page.file.src_uri] = site_pages.reference_copy(made) if is_reference else text
    return text


def _is_made(target: str) -> bool:
    reference = {f"docs/reference/{page}.md" for page in (*site_pages.PUBLIC, *site_pages.MADE_PAGES)}
    return target in reference or target.removeprefix("docs/") in site_pages.ROOT_PAGES.values()


def _as_path(label: str, target: str) -> str:
    """Return what is shown of a file that the site doesn't have; a path that isn't there is a dead link."""
    if not (site_pages.ROOT / target).exists():
        raise PluginError(f"a page links to {target!r}, which isn't in the checkout")
    return f"{label} (`{target}`)" if label.strip("`") != target else label


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Name the copy of a page, and load scripts from the site alone: what draws its pictures only if it has any."""
    root = posixpath.relpath(".", posixpath.dirname(page.file.dest_uri) or ".")
    copy = posixpath.basename(page.file.src_uri)
    output = output.replace("</head>", f'<link rel="alternate" type="text/markdown" href="{copy}"></head>', 1)
    output = re.sub(r'(?<=<script src=")[^"]*iframe-worker/shim(?=")', f"{root}/{SEARCH}", output)
    if 'class="mermaid"' in output:
        # Before Material's own script, which otherwise looks for it elsewhere.
        script = f'<script src="{root}/{PICTURES}"></script><script>{THEME}</script>'
        output = re.sub(r'(?=<script src="[^"]*assets/javascripts/bundle)', script, output)
    return output


def on_post_build(config: MkDocsConfig) -> None:
    """Write the copies, a list of them all, and the script of the pictures."""
    site = Path(config.site_dir)
    for place, script in SCRIPTS.items():
        if not script.is_file():
            raise PluginError(f"{script} isn't there, a script of the site: run make setup")
        shutil.copyfile(script, site / place)
    lines = [f"# {config.site_name}\n", f"> {config.site_description}\n"]
    for place, text in _copies.items():
        (site / place).parent.mkdir(parents=True, exist_ok=True)
        (site / place).write_text(text, encoding="utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        lines.append(f"- [{title[1] if title else place}]({place})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
