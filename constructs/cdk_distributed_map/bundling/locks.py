"""Lock files, as lines of a requirements.txt: exact versions, with the hashes and the markers that the lock has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.sayings import WAYS_OUT, without_secrets

_LOCK_SECONDS: Final = 120


def find_uv() -> str | None:
    """Return where uv is, None where it isn't: on the PATH, or in the environment that runs, activated or not."""
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.is_file() else None)


def _export(uv: str, folder: Path, how: str, without: str | None = None) -> subprocess.CompletedProcess[str]:
    left_out = ["--no-dev", "--no-emit-project", "--no-editable", "--no-annotate", "--no-header", "--quiet"]
    return subprocess.run(
        [uv, "export", how, "--no-python-downloads", "--emit-index-url", *left_out, "--project", str(folder)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != without},
        capture_output=True,
        text=True,
        timeout=_LOCK_SECONDS,
        check=False,
    )


def of_uv(file: Path, member: Path | None = None) -> Iterator[str]:
    """Yield what a uv.lock holds, by uv itself: it checks as well that the lock fits its pyproject.toml.

    Args:
        file: The lock.
        member: Folder of the member that is asked about, where it is that of a workspace.
    """
    folder = file.parent if member is None else member
    uv = find_uv()
    if uv is None:
        raise BundlingError(
            f"{file} is uv's, which isn't on the PATH: install it ('pip install uv'), or write a requirements.txt with "
            "'uv export --no-dev --no-emit-project --output-file requirements.txt' and name it with "
            "bundling=Bundling.wheels(requirements='requirements.txt')"
        )
    done = _export(uv, folder, "--locked")
    if done.returncode != 0 and "UV_FIND_LINKS" in os.environ:
        # Whoever bundles without a network has a folder of wheels that the lock needn't know.
        done = _export(uv, folder, "--locked", without="UV_FIND_LINKS")
    if done.returncode != 0 and "No interpreter found" in done.stderr:
        # A Python as new as the function's, only to check the lock, isn't worth a download.
        done = _export(uv, folder, "--frozen")
    if done.returncode != 0:
        said = without_secrets(done.stderr.strip())
        raise BundlingError(f"uv can't read {file}: {said}: run 'uv lock' in its folder")
    project = file.with_name("pyproject.toml").read_text(encoding="utf-8")
    for line in re.sub(r"\\\n", " ", done.stdout).splitlines():
        # The indexes of this machine's own configuration are known to whoever installs.
        elsewhere = line.startswith("-") and line.split()[-1].rstrip("/") not in project
        if line.strip() and not line.startswith("#") and not elsewhere:
            # Paths begin at the lock, which a member isn't beside.
            whole = re.sub(r"^\.\.?/[^;]*[^;\s]", lambda found: str((file.parent / found[0]).resolve()), line.strip())
            yield re.sub(r"\s+", " ", line.strip() if member is None else whole)


def of_poetry(file: Path, lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a poetry.lock holds for its main group; each package says that since version 2.1 of the format."""
    version = str(lock.get("metadata", {}).get("lock-version", "1.0"))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (2, 1):
        raise BundlingError(
            f"{file} is of version {version}, which doesn't say what each package is for: run 'poetry lock' with "
            "Poetry 2, or write a requirements.txt with 'poetry export --output requirements.txt'"
        )
    sources = (package.get("source", {}) for package in lock.get("package", []))
    yield from _indexes(source.get("url") for source in sources if source.get("type") == "legacy")
    for package in lock.get("package", []):
        if "main" not in package.get("groups", ["main"]):
            continue
        marker = package.get("markers", "")
        if isinstance(marker, Mapping):
            marker = marker.get("main", "")
        if re.search(r"\bextra\b", marker) or package.get("optional"):
            continue  # of an extra, which a function has no way to ask for
        source = package.get("source", {})
        if source.get("type") in {"directory", "file"}:
            yield _with_marker(f"{package['name']} @ {(file.parent / source['url']).resolve().as_uri()}", marker)
            continue
        _refuse_repository(file, package["name"], source.get("type"))
        yield _line(package["name"], package["version"], marker, [each["hash"] for each in package.get("files", [])])


def of_pipenv(file: Path, lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a Pipfile.lock holds for what isn't development."""
    yield from _indexes(_others(lock.get("_meta", {}).get("sources", [])))
    for name, package in lock.get("default", {}).items():
        if "path" in package or "file" in package:
            yield f"{name} @ {(file.parent / str(package.get('path', package.get('file')))).resolve().as_uri()}"
            continue
        _refuse_repository(file, name, next((key for key in ("git", "hg", "svn") if key in package), None))
        extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
        version = str(package["version"]).removeprefix("==")
        yield _line(f"{name}{extras}", version, package.get("markers", ""), package.get("hashes", []))


def of_pipfile(file: Path, declared: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a Pipfile without a lock asks for."""
    yield from _indexes(_others(declared.get("source", [])))
    for name, given in declared.get("packages", {}).items():
        package = {"version": given} if isinstance(given, str) else given
        if "version" not in package:
            raise BundlingError(f"{file} asks for {name} as {given!r}, which no index has: run 'pipenv lock'")
        extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
        version = "" if package["version"] == "*" else str(package["version"])
        yield _with_marker(f"{name}{extras}{version}", package.get("markers", ""))


def of_pylock(file: Path, lock: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a pylock.toml holds: https://packaging.python.org/en/latest/specifications/pylock-toml/."""
    for package in lock.get("packages", []):
        name, marker = package["name"], package.get("marker", "")
        if re.search(r"\b(extras|dependency_groups)\b", marker):
            continue
        if "directory" in package:
            yield _with_marker(f"{name} @ {(file.parent / package['directory']['path']).resolve().as_uri()}", marker)
            continue
        _refuse_repository(file, name, "vcs" if "vcs" in package else None)
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        hashes = [f"{kind}:{value}" for each in files for kind, value in sorted(each.get("hashes", {}).items())]
        yield _line(name, package["version"], marker, hashes)


def _others(sources: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the addresses of a Pipfile's sources but the public one, for which this machine may have a mirror."""
    yield from (source["url"] for source in sources if source.get("name") != "pypi")


def _indexes(addresses: Iterable[Any]) -> Iterator[str]:
    yield from (f"--extra-index-url {address}" for address in dict.fromkeys(addresses) if address)


def _refuse_repository(file: Path, name: str, kind: str | None) -> None:
    if kind in {"git", "hg", "svn", "url", "vcs"}:
        raise BundlingError(
            f"{file} has {name} from a repository or an address, for which no index has a wheel: build one and name "
            f"that file, or {WAYS_OUT.format(file=file.name)}"
        )


def _with_marker(text: str, marker: str) -> str:
    return f"{text} ; {marker}" if marker else text


def _line(name: str, version: str, marker: str, hashes: list[str]) -> str:
    options = "".join(f" --hash={each}" for each in sorted(set(hashes)))
    return _with_marker(f"{name}=={version}", marker) + options
