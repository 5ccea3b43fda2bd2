"""Packages for this machine, of a function whose own are compiled for another one."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cdk_distributed_map.bundling.packages import packages_for
from cdk_distributed_map.bundling.target import ThisMachine


@dataclass(frozen=True, kw_only=True)
class Misfits:
    """Packages of a function, as far as they are installed with their ``*.dist-info``.

    Args:
        foreign: Those that can't run here, as ``name==version``.
        all: Every one.
    """

    foreign: tuple[str, ...]
    all: tuple[str, ...]


def misfits(folders: Sequence[Path], python: tuple[int, int]) -> Misfits:
    """Return the packages in folders that a Python of this machine can't import."""
    foreign, every = [], []
    for info in (info for folder in folders for info in sorted(folder.glob("*.dist-info"))):
        name = "==".join(info.name.removesuffix(".dist-info").rsplit("-", 1))
        every.append(name)
        tags = list(_tags(info / "WHEEL"))
        if tags and not any(_fits(tag, python) for tag in tags):
            foreign.append(name)
    return Misfits(foreign=tuple(sorted(foreign)), all=tuple(sorted(every)))


def packages_here(
    found: Misfits, machine: ThisMachine, file: Path, *, say: Callable[[str], None] | None = None
) -> Path:
    """Return a folder with those that don't fit, in the same versions, for this machine.

    Args:
        found: All of them.
        machine: What runs them.
        file: What asked for them, for errors.
        say: Called with what is done, and every few seconds with how far it is. Default: nothing is reported.

    Raises:
        BundlingError: They can't be had.
    """
    identity = hashlib.sha256(repr(found).encode()).hexdigest()
    # What they need in turn is there already, in a version that they go with.
    fetched = packages_for(
        found.foreign,
        machine,
        identity=identity,
        file=file,
        constraints=tuple(sorted(set(found.all) - set(found.foreign))),
        say=say,
    )
    return fetched.folder


def _tags(wheel: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the tags of a wheel: https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/."""
    if not wheel.is_file():
        return
    for line in wheel.read_text(encoding="utf-8").splitlines():
        if line.startswith("Tag:"):
            pythons, abis, platforms = line.removeprefix("Tag:").strip().split("-")
            for one in pythons.split("."):
                for abi in abis.split("."):
                    yield from ((one, abi, each) for each in platforms.split("."))


def _fits(tag: tuple[str, str, str], python: tuple[int, int]) -> bool:
    one, abi, place = tag
    own = f"cp{python[0]}{python[1]}"
    stable = abi == "abi3" and one.startswith("cp3") and one[3:].isdigit() and int(one[3:]) <= python[1]
    if not (one == own or stable or one in {"py3", f"py{python[0]}{python[1]}", "py2"}):
        return False
    linux = sys.platform == "linux" and place.startswith(("manylinux", "linux"))
    return place == "any" or (linux and place.endswith(f"_{platform.machine()}"))
