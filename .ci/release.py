"""Makes a release of this checkout: ``make release VERSION=0.2.0``. It uploads and pushes nothing.

The unreleased part of the changelog gets the version and its day, pyproject.toml the version; both are committed, the
commit gets a signed tag, and the sdist, the wheel and the site are built into ``dist/``.
"""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "## [Unreleased]\n"


def prepare(root: Path, version: str, day: str) -> None:
    """Write, commit and tag a version.

    Raises:
        SystemExit: The version isn't a later one, something isn't committed, or nothing is unreleased.
    """
    project, changelog = root / "pyproject.toml", root / "CHANGELOG.md"
    text = project.read_text(encoding="utf-8")
    current = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    if current is None:
        raise SystemExit(f"{project} has no version")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or parts(version) <= parts(current[1]):
        raise SystemExit(f"VERSION must be three numbers and later than {current[1]}, got {version!r}")
    if changes := git(root, "status", "--porcelain"):
        raise SystemExit(f"commit or remove what isn't committed first:\n{changes}")
    written = released(changelog.read_text(encoding="utf-8"), version, day)
    changelog.write_text(written, encoding="utf-8")
    project.write_text(text.replace(current[0], f'version = "{version}"', 1), encoding="utf-8")
    git(root, "commit", "--all", "--message", f"Release {version}")
    git(root, "tag", "--sign", f"v{version}", "--message", f"Version {version}")


def released(text: str, version: str, day: str) -> str:
    """Return a changelog whose unreleased part is that of a version.

    Raises:
        SystemExit: Nothing is unreleased.
    """
    _, found, rest = text.partition(UNRELEASED)
    if not found or not re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip():
        raise SystemExit("CHANGELOG.md has nothing under [Unreleased]")
    return text.replace(UNRELEASED, f"{UNRELEASED}\n## [{version}] - {day}\n", 1)


def parts(version: str) -> list[int]:
    """Return a version's numbers."""
    return [int(part) for part in version.split(".")]


def git(root: Path, *arguments: str) -> str:
    """Run git, which must succeed; return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607 - the user's git
    if done.returncode != 0:
        raise SystemExit(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def build() -> None:
    """Build the sdist, the wheel and the site into ``dist/``."""
    folder = ROOT / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder)], cwd=ROOT, check=True)
    site = [sys.executable, str(ROOT / "docs" / "build_site.py"), "--into", str(folder / "site")]
    subprocess.run(site, cwd=ROOT, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("say which: make release VERSION=0.2.0")
    prepare(ROOT, sys.argv[1], datetime.datetime.now(datetime.UTC).date().isoformat())
    build()
    print(f"v{sys.argv[1]} is tagged and in dist/. Left to do: git push --follow-tags, and upload dist/ and dist/site")
