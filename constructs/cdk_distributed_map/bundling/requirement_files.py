"""What a code folder asks for: requirements.txt, pyproject.toml and lock files, as lines that pip and uv both take.

A lock is taken as it is: exact versions, with its hashes. Markers stay in the lines, and whoever installs evaluates
them for the target.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cdk_distributed_map.bundling import locks
from cdk_distributed_map.bundling.errors import BundlingError

LOCKS: Final = ("uv.lock", "poetry.lock", "pylock.toml", "Pipfile.lock")
DECLARED_BY: Final = {"uv.lock": "pyproject.toml", "poetry.lock": "pyproject.toml", "Pipfile.lock": "Pipfile"}
"""Files that a lock was made from: they say the same, and the lock says it exactly."""
_NOT_READ: Final = {
    "pdm.lock": "pdm export --format requirements --without-hashes --output requirements.txt",
    "environment.yml": "list its packages in a requirements.txt",
    "environment.yaml": "list its packages in a requirements.txt",
}
_RUNTIME: Final = "cdk-distributed-map"
_EXACT: Final = re.compile(r"===?\s*[^*,;\s]+\s*(;|--hash|$)")
_INCLUDES: Final = re.compile(r"^(-r|-c|--requirement|--constraint)(?:\s+|=)(.+)$")
_EDITABLE: Final = re.compile(r"^(-e|--editable)\b")
_PATH: Final = re.compile(r"^(?:[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?(?:file:(?://)?)?(\.{0,2}/[^;#]*|[^;#\s]+\.whl)")
_REPOSITORY: Final = re.compile(r"(?:^|@\s*)(git|hg|svn|bzr)\+")


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a folder asks for.

    Args:
        file: File that says so.
        lines: In the grammar of a requirements.txt.
        identity: Stands for all that they say, files that they name included.
        left_out: Names of files at the top of the folder that are needed no longer once the packages are there.
    """

    file: Path
    lines: tuple[str, ...]
    identity: str
    left_out: tuple[str, ...]

    def inexact(self) -> list[str]:
        """Return the requirements that don't say which version: what they stand for depends on when they are read."""
        plain = [line for line in self.lines if not line.startswith("-")]
        return [line for line in plain if not _EXACT.search(line) and not _PATH.match(line) and " @ " not in line]


def find(folder: Path, named: str | None) -> Requirements | None:
    """Return what a folder asks for, None where it asks for nothing.

    Args:
        folder: Folder of the code.
        named: File that says it, from that folder. Default: the one that is there.

    Raises:
        BundlingError: It can't be said, or isn't in words that wheels could answer to.
    """
    file = _named(folder, named) if named is not None else _only_one(folder)
    if file is None:
        return None
    lines = tuple(_lines(file))
    _check(file, lines)
    if all(line.startswith("-") for line in lines):
        return None
    identity = hashlib.sha256("\n".join(lines).encode())
    for line in lines:
        for digest in _named_files(file.parent, line):
            identity.update(digest)
    left_out = {file.name, *LOCKS, *DECLARED_BY.values()} if file.parent == folder else set()
    return Requirements(file=file, lines=lines, identity=identity.hexdigest(), left_out=tuple(sorted(left_out)))


def _named(folder: Path, named: str) -> Path:
    file = folder / named
    if not file.is_file():
        raise BundlingError(f"requirements names {named!r}, which isn't in {folder}: give its path from that folder")
    return file


def _only_one(folder: Path) -> Path | None:
    there = [name for name in (*LOCKS, "requirements.txt") if (folder / name).is_file()]
    if "Pipfile" not in {DECLARED_BY.get(name) for name in there} and (folder / "Pipfile").is_file():
        there.append("Pipfile")
    made_from_project = any(DECLARED_BY.get(name) == "pyproject.toml" for name in there) or "pylock.toml" in there
    project = folder / "pyproject.toml"
    if not made_from_project and project.is_file() and any(_of_project(project)):
        there.append(project.name)
    if len(there) > 1:
        raise BundlingError(
            f"folder {str(folder)!r} has {' and '.join(there)}, and each says which packages it needs: say which "
            f"counts with bundling=Bundling.wheels(requirements={there[0]!r})"
        )
    if there:
        return folder / there[0]
    for name, remedy in _NOT_READ.items():
        if (folder / name).is_file():
            raise BundlingError(
                f"folder {str(folder)!r} has {name}, which isn't read: {remedy}, or say bundling=Bundling.none() where "
                "the function needs none of it"
            )
    return None


def _lines(file: Path) -> Iterator[str]:
    """Yield the lines of a file of any kind."""
    reader: Callable[[Path], Iterator[str]] = {
        "uv.lock": locks.of_uv,
        "poetry.lock": lambda path: locks.of_poetry(path, _toml(path)),
        "Pipfile.lock": lambda path: locks.of_pipenv(path, _json(path)),
        "Pipfile": lambda path: locks.of_pipfile(path, _toml(path)),
        "pyproject.toml": _of_project,
    }.get(file.name, _of_text)
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", file.name):
        yield from locks.of_pylock(file, _toml(file))
        return
    yield from reader(file)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundlingError(f"{file} is no TOML: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundlingError(f"{file} is no JSON: {error}") from error
    return loaded if isinstance(loaded, dict) else {}


def _of_project(file: Path) -> Iterator[str]:
    loaded = _toml(file)
    project = loaded.get("project", {})
    if "dependencies" in project.get("dynamic", []):
        raise BundlingError(
            f"{file} leaves its dependencies to its build ('dynamic'), which isn't run: lock it, as with 'uv lock', or "
            "list them in a requirements.txt"
        )
    if "dependencies" not in project and loaded.get("tool", {}).get("poetry", {}).get("dependencies"):
        raise BundlingError(f"{file} has dependencies in Poetry's own words and no lock: run 'poetry lock'")
    yield from project.get("dependencies", [])


def _of_text(file: Path, seen: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield the requirements of a text, with those of the files that it names; see pip's reference of the format."""
    if file in seen:
        return
    try:
        text = re.sub(r"\\\r?\n", " ", file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise BundlingError(f"{file} can't be read as UTF-8: {error}") from error
    for raw in text.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        included = _INCLUDES.match(line)
        if included is None:
            if line:
                yield line
        elif included[1] in {"-r", "--requirement"}:
            yield from _of_text((file.parent / included[2].strip()).resolve(), (*seen, file))
        else:
            yield f"--constraint {(file.parent / included[2].strip()).resolve()}"


def _check(file: Path, lines: tuple[str, ...]) -> None:
    for line in lines:
        if _EDITABLE.match(line):
            raise BundlingError(
                f"{file} asks for {line!r}, which would stay on this machine: name the folder without -e"
            )
        if _REPOSITORY.search(line):
            raise BundlingError(
                f"{file} asks for {_without_secrets(line)!r}, a repository, which has no wheel: build one into a "
                "folder and name that, or use bundling=Bundling.docker()"
            )
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is not None and re.sub(r"[-_.]+", "-", name[0]).lower() == _RUNTIME:
            raise BundlingError(
                f"{file} asks for {_RUNTIME}, whose module distmap is in a layer of every function already, and which "
                "would bring the whole CDK: list what the function needs in a requirements.txt beside it, or name one "
                "with bundling=Bundling.wheels(requirements=...)"
            )


def _without_secrets(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://****@", text)


def _named_files(folder: Path, line: str) -> Iterator[bytes]:
    """Yield what stands for the files that a line names: their content decides what is installed."""
    constraint = _INCLUDES.match(line)
    path = _PATH.match(line)
    named = constraint[2] if constraint is not None else (path[1].strip() if path is not None else None)
    if named is None:
        return
    place = folder / named
    files = [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.is_file())
    for each in files:
        if not any(part.startswith(".") or part in {"__pycache__", "build"} for part in each.relative_to(place).parts):
            yield hashlib.sha256(each.read_bytes()).digest()
