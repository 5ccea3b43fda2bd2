"""The packages of a function, from a cache: fetched once, whole or not at all, however many ask at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.install import find_installer, install
from cdk_distributed_map.bundling.normal import check_machine, digest, files_of, normalize
from cdk_distributed_map.bundling.target import Target, ThisMachine
from cdk_distributed_map.caches import cache_folder

_FORMAT: Final = "1"
"""Changes where the same wheels are laid out in another way."""
_UNUSED_SECONDS: Final = 30 * 24 * 3600
_ABANDONED_SECONDS: Final = 24 * 3600
_FILES: Final = "files"
_SAYS: Final = "packages.json"


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Packages that were fetched.

    Args:
        folder: Where they are.
        digest: Stands for their content.
        versions: Names and versions, as in ``name==version``.
        bytes: Their size.
    """

    folder: Path
    digest: str
    versions: tuple[str, ...]
    bytes: int


def packages_for(
    lines: Sequence[str],
    target: Target | ThisMachine,
    *,
    identity: str,
    file: Path,
    installer: str | None = None,
    exclude: Sequence[str] = (),
    constraints: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> Packages:
    """Return packages, from the cache where they are in it.

    Args:
        lines: What is asked for, in the grammar of a requirements.txt.
        target: What runs them.
        identity: Stands for what the lines say.
        file: What asks for them, for errors.
        installer: ``pip`` or ``uv``. Default: whichever is there.
        exclude: Patterns of files or folders that aren't kept.
        constraints: Versions of what is needed in turn, already part of the identity.
        say: Called with what is done, and every few seconds with how far it is. Default: nothing is reported.

    Raises:
        BundlingError: They can't be had.
    """
    asked = "\n".join([_FORMAT, identity, repr(target), *exclude])
    place = cache_folder() / "packages" / hashlib.sha256(asked.encode()).hexdigest()[:32]
    found = _read(place)
    if found is not None:
        return found
    by = find_installer(installer)
    start = time.monotonic()
    if say is not None:
        say(f"bundling the packages of {os.path.relpath(file)} for {target}, with {by.kind} ...")
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent, _UNUSED_SECONDS)
    work = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        files = work / _FILES
        files.mkdir()
        install(by, lines, target, into=files, file=file, work=work, constraints=constraints, progress=say)
        for path in list(files_of(files)):
            if _excluded(path.relative_to(files), exclude):
                path.unlink()
        normalize(files)
        if isinstance(target, Target):
            check_machine(files, target, file)
        _write(work)
        if place.exists():  # something of it was missing
            place.rename(work / "incomplete")
        try:
            work.rename(place)
        except OSError:
            if _read(place) is None:  # else somebody else was faster
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(place / "incomplete", ignore_errors=True)
    found = _read(place)
    assert found is not None  # noqa: S101 - it was just written
    if say is not None:
        seconds = time.monotonic() - start
        say(f"bundled {len(found.versions)} packages, {found.bytes / 1024**2:.1f} MB, in {seconds:.1f} s")
    return found


def _excluded(path: Path, patterns: Sequence[str]) -> bool:
    """Tell whether a pattern fits a file or a folder that it is in; one with a slash first begins at the top."""
    if path.parts[0].endswith(".dist-info"):
        return False
    whole = [Path("/", each) for each in (path, *path.parents[:-1])]
    return any(each.match(pattern) for pattern in patterns for each in whole)


def _write(work: Path) -> None:
    files = work / _FILES
    for each in set(work.iterdir()) - {files}:
        if each.is_dir():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink()
    said = {
        "digest": digest(files),
        "versions": sorted(_versions(files)),
        "count": sum(1 for _ in files_of(files)),
        "bytes": sum(path.lstat().st_size for path in files_of(files)),
    }
    (work / _SAYS).write_text(json.dumps(said, indent=1), encoding="utf-8")


def _read(place: Path) -> Packages | None:
    """Return what is in the cache, None where it isn't, or where something of it has been taken away."""
    try:
        said = json.loads((place / _SAYS).read_text(encoding="utf-8"))
        sizes = [path.lstat().st_size for path in files_of(place / _FILES)]
        if (len(sizes), sum(sizes)) != (said["count"], said["bytes"]):
            return None
        os.utime(place)
    except (OSError, ValueError, KeyError):
        return None
    return Packages(folder=place / _FILES, digest=said["digest"], versions=tuple(said["versions"]), bytes=said["bytes"])


def _versions(files: Path) -> list[str]:
    return ["==".join(info.name.removesuffix(".dist-info").rsplit("-", 1)) for info in files.glob("*.dist-info")]


def sweep(folder: Path, seconds: float) -> None:
    """Remove what hasn't been used for a while: made long ago by a process that was killed, or asked for no more."""
    now = time.time()
    for each in folder.iterdir():
        limit = _ABANDONED_SECONDS if each.name.startswith(".new-") else seconds
        try:
            if now - each.stat().st_mtime > limit:
                shutil.rmtree(each, ignore_errors=True)
        except OSError:
            continue  # somebody else removed it


def on_standard_error(text: str) -> None:
    """Say something where a synthesis says things: standard output may be what a program reads."""
    sys.stderr.write(f"distmap: {text}\n")
    sys.stderr.flush()
