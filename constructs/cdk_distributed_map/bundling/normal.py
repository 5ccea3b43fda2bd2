"""Makes what was installed the same, whoever installed it and where, and looks whether it fits the target."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.target import ELF_MACHINES, Target

_OF_THE_INSTALLER: Final = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""Files of a ``*.dist-info`` that say who installed it and from where."""
_COMPILED: Final = (".so", ".dylib", ".pyd", ".dll")


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file of a folder, in a stable order."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))


def normalize(folder: Path) -> None:
    """Take out what differs between installations of the same wheels: scripts, bytecode, and who installed them."""
    # Scripts begin with the path of an interpreter of this machine.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for cache in list(folder.rglob("__pycache__")):
        shutil.rmtree(cache, ignore_errors=True)
    for info in folder.glob("*.dist-info"):
        for name in _OF_THE_INSTALLER:
            (info / name).unlink(missing_ok=True)
        _write_record(folder, info)
    for path in files_of(folder):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _write_record(folder: Path, info: Path) -> None:
    """Write the RECORD of a package anew, of what is left of it: https://peps.python.org/pep-0376/#record."""
    record = info / "RECORD"
    if not record.is_file():
        return
    names = {row[0] for row in csv.reader(io.StringIO(record.read_text(encoding="utf-8"))) if row}
    rows = [_row(folder, name) for name in sorted(names) if (folder / name).is_file() and ".." not in Path(name).parts]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [*(row for row in rows if row[0] != f"{info.name}/RECORD"), [f"{info.name}/RECORD", "", ""]]
    )
    record.write_text(text.getvalue(), encoding="utf-8")


def _row(folder: Path, name: str) -> list[str]:
    content = (folder / name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return [name, f"sha256={digest}", str(len(content))]


def digest(folder: Path) -> str:
    """Return what stands for the content of a folder: names, whether a file may be run, and bytes."""
    found = hashlib.sha256()
    for path in files_of(folder):
        name, runs = path.relative_to(folder).as_posix(), bool(path.stat().st_mode & 0o100)
        found.update(f"{name}\0{runs}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def check_machine(folder: Path, target: Target, file: Path) -> None:
    """Check that every compiled module is for the target: a package built on this machine isn't.

    Raises:
        BundlingError: One isn't.
    """
    for path in files_of(folder):
        if path.suffix not in _COMPILED and ".so." not in path.name:
            continue
        with path.open("rb") as opened:
            head = opened.read(20)
        # https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
        if head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") == ELF_MACHINES[target.machine]:
            continue
        if head[:4] != b"\x7fELF" and path.suffix in {".pyd", ".dll"}:
            continue  # some wheels hold those of Windows as data
        raise BundlingError(
            f"{path.relative_to(folder)}, of what {file} asks for, is compiled for another machine than {target}: give "
            "its wheel for that, build it in a container with bundling=Bundling.docker(), or take it from a layer and "
            f"leave it out of {file.name}"
        )
