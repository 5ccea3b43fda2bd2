"""Unpacks code and layers into a cache, by hash: the same code once, which is checked before it is used again."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_BYTECODE: Final = "__pycache__"
_PIECE: Final = 1024 * 1024


class CodeError(ValueError):
    """A zip file of code cannot be unpacked."""


def unpack(archives: Sequence[bytes], cache: Path) -> Path:
    """Return the folder that holds what the archives hold, the later over the earlier as Lambda merges layers.

    One that is there already and holds anything else is replaced: functions can write into the folder of their code,
    and whatever clears caches may have taken a part of it.

    Args:
        archives: Zip files.
        cache: Folder of the cache.

    Raises:
        CodeError: An archive is broken, or has an entry that points out of its folder.
    """
    digest = hashlib.sha256()
    for archive in archives:
        digest.update(hashlib.sha256(archive).digest())
    folder = cache / "code" / digest.hexdigest()[:32]
    if folder.is_dir() and _holds(folder, archives):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for archive in archives:
            _extract(archive, building)
        building.chmod(0o755)
        if folder.is_dir():
            # Whoever runs from it finds the same files there as before.
            folder.rename(f"{building}.altered")
        building.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        # Somebody else was faster.
    finally:
        for left in (building, f"{building}.altered"):
            shutil.rmtree(left, ignore_errors=True)
    return folder


def _holds(folder: Path, archives: Sequence[bytes]) -> bool:
    """Tell whether a folder holds what archives hold, and nothing else but Python's own bytecode."""
    expected: set[str] = set()
    for archive in reversed(archives):
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as opened:
                for entry in reversed(opened.infolist()):
                    name = os.path.normpath(entry.filename)
                    if entry.is_dir() or name in expected:
                        continue
                    expected.add(name)
                    if not _is_entry(folder / name, entry, opened):
                        return False
        except (OSError, zipfile.BadZipFile):
            return False
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != _BYTECODE]
        within = Path(parent).relative_to(folder)
        linked = [each for each in folders if Path(parent, each).is_symlink()]
        if not {str(within / each) for each in [*names, *linked]} <= expected:
            return False
    return True


def _is_entry(file: Path, entry: zipfile.ZipInfo, opened: zipfile.ZipFile) -> bool:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return file.is_symlink() and os.readlink(file) == opened.read(entry).decode()  # noqa: PTH115 - as it was written
    found = file.lstat()
    if (
        not stat.S_ISREG(found.st_mode)
        or found.st_size != entry.file_size
        or stat.S_IMODE(found.st_mode) != _mode(entry)
    ):
        return False
    checksum = 0
    with file.open("rb") as source:
        while piece := source.read(_PIECE):
            checksum = zlib.crc32(piece, checksum)
    return checksum == entry.CRC


def _mode(entry: zipfile.ZipInfo) -> int:
    return (stat.S_IMODE(entry.external_attr >> 16) or 0o644) | stat.S_IRUSR


def _extract(archive: bytes, folder: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            for entry in opened.infolist():
                _extract_entry(opened, entry, folder)
    except zipfile.BadZipFile as error:
        message = f"the function's code is not a zip file: {error}"
        raise CodeError(message) from error


def _extract_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    mode = entry.external_attr >> 16
    target = folder / entry.filename
    # Earlier entries may have been links, so the parent is resolved as it is by now.
    inside = Path(os.path.normpath(target.parent)).resolve()
    if not inside.is_relative_to(folder.resolve()) or ".." in Path(entry.filename).parts:
        message = f"the function's code has an entry that points out of its folder: {entry.filename!r}"
        raise CodeError(message)
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    if stat.S_ISLNK(mode):
        link = opened.read(entry).decode()
        if not (target.parent / link).resolve().is_relative_to(folder.resolve()):
            message = f"the function's code has a link that points out of its folder: {entry.filename!r} to {link!r}"
            raise CodeError(message)
        target.symlink_to(link)
        return
    with opened.open(entry) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    target.chmod(_mode(entry))
