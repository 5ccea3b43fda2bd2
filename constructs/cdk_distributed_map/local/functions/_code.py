"""Unpacks code and layers into a cache, by hash: the same code is unpacked once."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path


class CodeError(ValueError):
    """A zip file of code cannot be unpacked."""


def unpack(archives: Sequence[bytes], cache: Path) -> Path:
    """Return the folder that holds what the archives hold, the later over the earlier as Lambda merges layers.

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
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for archive in archives:
            _extract(archive, building)
        building.chmod(0o755)
        building.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        # Somebody else was faster.
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


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
    target.chmod((stat.S_IMODE(mode) or 0o644) | stat.S_IRUSR)
