"""What a code folder asks for: requirements.txt, pyproject.toml and lock files, as lines that pip and uv both take.

A lock is taken as it is: exact versions, with its hashes. Markers stay in the lines, and whoever installs evaluates
them for the target.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from cdk_distributed_map.bundling import locks
from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.own_packages import own_package
from cdk_distributed_map.bundling.sayings import WAYS_OUT, without_secrets

LOCKS: Final = ("uv.lock", "poetry.lock", "pylock.toml", "Pipfile.lock")
DECLARED_BY: Final = {"uv.lock": "pyproject.toml", "poetry.lock": "pyproject.toml", "Pipfile.lock": "Pipfile"}
"""Files that a lock was made from: they say the same, and the lock says it exactly."""
_NOT_READ: Final = {
    "pdm.lock": "pdm export --format requirements --without-hashes --output requirements.txt",
    "environment.yml": "list its packages in a requirements.txt",
    "environment.yaml": "list its packages in a requirements.txt",
    "requirements.in": "pip-compile requirements.in",
    "setup.py": "list its packages in a requirements.txt or a pyproject.toml",
    "setup.cfg": "list its packages in a requirements.txt or a pyproject.toml",
}
_OF_SETUP: Final = "install_requires"
"""What a setup.py or setup.cfg that asks for packages has in it; others only say how something is built or checked."""
_RUNTIME: Final = "cdk-distributed-map"
_EXACT: Final = re.compile(r"===?\s*[^*,;\s]+\s*(;|--hash|$)")
_INCLUDES: Final = re.compile(r"^(-r|-c|--requirement|--constraint)(?:\s+|=)(.+)$")
_FIND_LINKS: Final = re.compile(r"^(-f|--find-links)(?:\s+|=)(.+)$")
_EDITABLE: Final = re.compile(r"^(?:-e|--editable)(?:\s+|=)")
_OF_BUILDS: Final = frozenset({"__pycache__", "build", "dist", "node_modules"})
_REPOSITORY: Final = re.compile(r"(?:^|@\s*)(git|hg|svn|bzr)\+")


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a folder asks for.

    Args:
        file: File that says so.
        lines: In the grammar of a requirements.txt.
        identity: Stands for all that they say, files that they name included.
        left_out: Files of the folder, by their paths from there, that are needed no longer once the packages are there.
    """

    file: Path
    lines: tuple[str, ...]
    identity: str
    left_out: tuple[str, ...]

    def inexact(self, versions: Sequence[str]) -> list[str]:
        """Return what isn't said exactly, so that what is installed depends on when that is done.

        Args:
            versions: What they came to, with all that was needed in turn, as ``name==version``.
        """
        names = {_name(line) for line in self.lines}
        asked = [line for line in self.lines if not line.startswith("-")]
        # A path or an address needn't say the name of what it leads to.
        named = all("://" not in line and own_package(self.file.parent, line) is None for line in asked)
        needed = [each.partition("==")[0] for each in versions] if named else []
        return [*self._inexact_lines(), *(name for name in needed if _name(name) not in names | self._constrained())]

    def _constrained(self) -> set[str]:
        files = [found[2] for line in self.lines if (found := _INCLUDES.match(line)) is not None]
        lines = [line for file in files for line in _of_text(Path(file))]
        return {_name(line) for line in lines if _EXACT.search(line)}

    def _inexact_lines(self) -> list[str]:
        plain = [line for line in self.lines if not line.startswith("-")]
        versioned = [line for line in plain if own_package(self.file.parent, line) is None and "://" not in line]
        return [line for line in versioned if not _EXACT.search(line)]


def find(folder: Path, named: str | None, *, beside: Path | None = None) -> Requirements | None:
    """Return what a folder asks for, None where it asks for nothing.

    Args:
        folder: Folder of the code.
        named: File that says it, from that folder. Default: the one that is there, or beside the handler.
        beside: Folder in it where the handler is. Default: the folder itself.

    Raises:
        BundlingError: It can't be said, or isn't in words that wheels could answer to.
    """
    file = _named(folder, named) if named is not None else _only_one(folder, folder if beside is None else beside)
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
    left_out: list[str] = []
    if file.parent.is_relative_to(folder):
        place = file.parent.relative_to(folder)
        left_out = sorted((place / name).as_posix() for name in {file.name, *LOCKS, *DECLARED_BY.values()})
    return Requirements(file=file, lines=lines, identity=identity.hexdigest(), left_out=tuple(left_out))


def _named(folder: Path, named: str) -> Path:
    file = folder / named
    if not file.is_file():
        raise BundlingError(f"requirements names {named!r}, which isn't in {folder}: give its path from that folder")
    return file


def _only_one(folder: Path, beside: Path) -> Path | None:
    places = [
        folder,
        *(place for place in (beside, *beside.parents) if place.is_relative_to(folder) and place != folder),
    ]
    there = [place / name for place in places for name in _asking(place)]
    if len(there) > 1:
        names = [file.relative_to(folder).as_posix() for file in there]
        raise BundlingError(
            f"folder {str(folder)!r} has {' and '.join(names)}, and each says which packages it needs: say which "
            f"counts with bundling=Bundling.wheels(requirements={names[0]!r})"
        )
    if there:
        return there[0]
    for name, remedy in _NOT_READ.items():
        for file in (place / name for place in places):
            if file.is_file() and (not name.startswith("setup.") or _OF_SETUP in _text(file)):
                raise BundlingError(
                    f"folder {str(file.parent)!r} has {name}, which isn't read: {remedy}, or say "
                    "bundling=Bundling.none() where the function needs none of it"
                )
    return None


def _asking(folder: Path) -> list[str]:
    """Return the names of files in a folder that ask for packages: one of those that say the same."""
    there = [name for name in (*LOCKS, "requirements.txt") if (folder / name).is_file()]
    if "Pipfile" not in {DECLARED_BY.get(name) for name in there} and (folder / "Pipfile").is_file():
        there.append("Pipfile")
    made_from_project = any(DECLARED_BY.get(name) == "pyproject.toml" for name in there) or "pylock.toml" in there
    project = folder / "pyproject.toml"
    if made_from_project or not project.is_file() or ("requirements.txt" in there and _is_dynamic(_toml(project))):
        return there  # what leaves its dependencies to a requirements.txt says no others
    return [*there, project.name] if any(_of_project(project)) else there


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
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise BundlingError(f"{file} is no TOML: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundlingError(f"{file} is no JSON: {error}") from error
    return loaded if isinstance(loaded, dict) else {}


def _lock_of_workspace(folder: Path) -> Path | None:
    """Return the lock of the workspace of uv that a folder is a member of, None where it is of none, or not locked."""
    for root in folder.parents:
        lock, project = root / "uv.lock", root / "pyproject.toml"
        if not lock.is_file() or not project.is_file():
            continue
        workspace = _toml(project).get("tool", {}).get("uv", {}).get("workspace", {})
        members, others = ({*chain(*map(root.glob, workspace.get(key, [])))} for key in ("members", "exclude"))
        return lock if folder in members - others else None
    return None


def _is_dynamic(project: Mapping[str, Any]) -> bool:
    return "dependencies" in project.get("project", {}).get("dynamic", [])


def _of_project(file: Path) -> Iterator[str]:
    loaded = _toml(file)
    project = loaded.get("project", {})
    if _is_dynamic(loaded):
        raise BundlingError(
            f"{file} leaves its dependencies to its build ('dynamic'), which isn't run: lock it, as with 'uv lock', or "
            "list them in a requirements.txt"
        )
    if "dependencies" not in project and loaded.get("tool", {}).get("poetry", {}).get("dependencies"):
        raise BundlingError(f"{file} has dependencies in Poetry's own words and no lock: run 'poetry lock'")
    needed = project.get("dependencies", [])
    lock = _lock_of_workspace(file.parent.resolve()) if needed else None
    if lock is not None:
        yield from locks.of_uv(lock, file.parent)
        return
    if needed and loaded.get("tool", {}).get("uv", {}).get("sources"):
        raise BundlingError(
            f"{file} has sources in uv's own words, and there is no uv.lock beside it or at the root of its workspace: "
            "run 'uv lock'"
        )
    yield from needed


def _of_text(file: Path, seen: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield the requirements of a text, with those of the files that it names; see pip's reference of the format."""
    if file in seen:
        return
    for raw in re.sub(r"\\\r?\n", " ", _text(file)).splitlines():
        # What a developer may still edit is deployed as it is now.
        line = _EDITABLE.sub("", re.sub(r"(^|\s)#.*$", "", raw).strip())
        included = _INCLUDES.match(line)
        if included is None:
            if line:
                yield _FIND_LINKS.sub(lambda found: f"{found[1]} {_absolute(file.parent, found[2])}", line)
        elif included[1] in {"-r", "--requirement"}:
            yield from _of_text(_included(file, line, included[2]), (*seen, file))
        else:
            yield f"--constraint {_included(file, line, included[2])}"


def _included(file: Path, line: str, named: str) -> Path:
    """Return the file that a line of another one names."""
    named = _unquoted(named)
    place = (file.parent / named).resolve()
    if "://" in named or not place.is_file():
        why = "which isn't read from there" if "://" in named else f"but {place} isn't there"
        raise BundlingError(f"{file} has {line!r}, {why}: put that file beside it")
    return place


def _text(file: Path) -> str:
    """Return the text of a file, in the encodings that editors and shells give such files."""
    raw = file.read_bytes()
    # What PowerShell redirects into a file is UTF-16, with a mark first.
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise BundlingError(f"{file} is no UTF-8: {error}: save it as UTF-8") from error


def _unquoted(named: str) -> str:
    return named.strip().strip("\"'")


def _absolute(folder: Path, named: str) -> str:
    named = _unquoted(named)
    return str((folder / named).resolve()) if (folder / named).exists() else named


def _check(file: Path, lines: tuple[str, ...]) -> None:
    for line in lines:
        own = own_package(file.parent, line)
        if own is not None and own.resolve() == file.parent.resolve():
            raise BundlingError(
                f"{file} asks for {line!r}, its own folder: list what the function needs beside its own code"
            )
        if _REPOSITORY.search(line):
            raise BundlingError(
                f"{file} asks for {without_secrets(line)!r}, a repository, which has no wheel: build one and name that "
                f"file, or {WAYS_OUT.format(file=file.name)}"
            )
        if line.startswith("--no-binary"):
            raise BundlingError(
                f"{file} has {line!r}, which would have packages built on this machine: leave it out, or "
                f"{WAYS_OUT.format(file=file.name)}"
            )
        if _name(line) == _RUNTIME:
            raise BundlingError(
                f"{file} asks for {_RUNTIME}, whose module distmap is in a layer of every function already, and which "
                "would bring the whole CDK: list what the function needs in a requirements.txt beside it, or name one "
                "with bundling=Bundling.wheels(requirements=...)"
            )


def _name(requirement: str) -> str:
    """Return the name that a requirement begins with, as all spellings of it are compared."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return "" if found is None else re.sub(r"[-_.]+", "-", found[0]).lower()


def _named_files(folder: Path, line: str) -> Iterator[bytes]:
    """Yield what stands for the files that a line names: their content decides what is installed."""
    constraint = _INCLUDES.match(line)
    place = folder / constraint[2] if constraint is not None else own_package(folder, line)
    if place is None:
        return
    files = [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.is_file())
    for each in files:
        inside = each.relative_to(place)
        # What a build writes beside its sources isn't one of them.
        if not any(part.startswith(".") or part in _OF_BUILDS or part.endswith(".egg-info") for part in inside.parts):
            yield hashlib.sha256(f"{inside.as_posix()}\0".encode() + each.read_bytes()).digest()
