"""What of a folder becomes a function's code: without what never belongs there, and not more than Lambda takes."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aws_cdk import IgnoreMode, IgnoreStrategy
from aws_cdk import aws_lambda as lambda_

from distmap import limits

LEFT_OUT: Final = (
    # Compiled again by whoever imports it.
    "__pycache__/",
    "*.py[cod]",
    # Caches and reports of tools.
    ".cache/",
    ".coverage",
    ".hypothesis/",
    ".mypy_cache/",
    ".nox/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    # Of the project, not of the function; what packages have inside stays.
    "/tests/",
    # Version control, editors and file managers.
    ".git/",
    ".gitattributes",
    ".gitignore",
    ".hg/",
    ".idea/",
    ".svn/",
    ".vscode/",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    # Environments of this machine, and what they know that nobody else should.
    ".venv/",
    "venv/",
    "node_modules/",
    ".env",
    ".env.*",
    ".envrc",
    # The CDK's own output, in which the folder would hold itself.
    "cdk.out/",
    ".dockerignore",
    ".lambdaignore",
)
"""What is left out of every function's code, as ``.gitignore`` would say it."""

IGNORE_FILES: Final = (".dockerignore", ".lambdaignore")
"""Files in a code folder that say what isn't shipped. ``.gitignore`` isn't one of them: what isn't committed, such as
libraries put beside the code, is often just what must be shipped."""


def patterns(folder: str, exclude: Sequence[str]) -> list[str]:
    """Return what is left out, in the grammar of ``.gitignore``: the last pattern that fits a name decides."""
    excluded = list(LEFT_OUT)
    for name in IGNORE_FILES:
        file = Path(folder, name)
        if file.is_file():
            lines = file.read_text(encoding="utf-8-sig").splitlines()
            entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
            excluded += [_from_the_top(line) for line in entries] if name == ".dockerignore" else entries
    return [*excluded, *exclude]


def _from_the_top(line: str) -> str:
    """Return a pattern of Docker's, which begins at the top of the folder, as one of git's."""
    taken_back, pattern = ("!", line[1:]) if line.startswith("!") else ("", line)
    return f"{taken_back}/{pattern.lstrip('/')}"


def asset(folder: str, exclude: Sequence[str] = ()) -> lambda_.AssetCode:
    """Return a folder as the code of a function."""
    return lambda_.Code.from_asset(folder, exclude=patterns(folder, exclude), ignore_mode=IgnoreMode.GIT)


def check_shipped(folder: str, exclude: Sequence[str], file: Path) -> None:
    """Check that a file isn't left out.

    Raises:
        ValueError: It is.
    """
    if _is_left_out(folder, tuple(patterns(folder, exclude)), str(file)):
        raise ValueError(
            f"exclude leaves out {file.name}, which holds the handler, got {list(exclude)!r}: take it back with "
            f"'!{file.relative_to(folder).as_posix()}', or look into {' and '.join(IGNORE_FILES)} of the folder"
        )


@functools.cache
def _is_left_out(folder: str, patterns: tuple[str, ...], file: str) -> bool:
    # Several functions are often of one folder, and each answer of Node's takes its time.
    return bool(IgnoreStrategy.git(folder, list(patterns)).ignores(file))


def check_size(folder: str, exclude: Sequence[str]) -> None:
    """Check that Lambda takes a folder.

    Raises:
        ValueError: What is shipped of it is over 250 MB.
    """
    sizes = {
        path: os.lstat(path).st_size
        for place, _, names in os.walk(folder)
        for path in (os.path.join(place, name) for name in names)  # noqa: PTH118 - a folder may have 100,000 files
    }
    if sum(sizes.values()) <= limits.MAX_CODE_BYTES:
        return
    # Only now is it worth asking Node about every file.
    ignored = IgnoreStrategy.git(folder, patterns(folder, exclude))
    shipped = {path: size for path, size in sizes.items() if not ignored.ignores(path)}
    total = sum(shipped.values())
    if total > limits.MAX_CODE_BYTES:
        largest = max(shipped, key=lambda path: shipped[path])
        raise ValueError(
            f"folder {folder!r} has {total:,} bytes of code, Lambda takes at most {limits.MAX_CODE_BYTES:,} unzipped, "
            f"layers included; the largest file is {os.path.relpath(largest, folder)}: leave out what isn't needed "
            "with exclude=[...] or a .lambdaignore, or use Worker.image(...)"
        )


def built_in(name: str) -> Path:
    """Return the folder of a function of the package's own: beside it in a wheel, at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "lambdas" / name, package.parents[1] / "lambdas" / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no {name} folder beside {package} nor in its checkout: install the package again")
