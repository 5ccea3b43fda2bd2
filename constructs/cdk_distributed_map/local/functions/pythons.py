"""Which Python a function runs on: the one it declares where this machine has it, else the nearest."""

from __future__ import annotations

import functools
import glob
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OLDEST: Final = (3, 10)
"""Oldest Python that AWS's runtime client still supports."""
NEWEST: Final = (3, 16)
_ASK: Final = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)"
_ASK_SECONDS: Final = 20


@dataclass(frozen=True)
class Python:
    """A Python of this machine.

    Args:
        version: Major and minor.
        executable: Where it is.
    """

    version: tuple[int, int]
    executable: Path

    @property
    def is_ours(self) -> bool:
        """Whether it is the version this process runs on, so that our compiled modules fit it."""
        return self.version == sys.version_info[:2]


class UnsupportedRuntimeError(ValueError):
    """A function wants a runtime that this machine doesn't have."""


def declared(runtime: str) -> tuple[int, int]:
    """Return the version a runtime such as ``python3.13`` stands for.

    Raises:
        UnsupportedRuntimeError: The runtime isn't Python.
    """
    match = re.fullmatch(r"python(\d+)\.(\d+)", runtime)
    if match is None:
        message = (
            f"functions of runtime {runtime!r} do not run locally, only those of Python and Node.js: python3.13, for "
            "example"
        )
        raise UnsupportedRuntimeError(message)
    return int(match[1]), int(match[2])


def python_for(runtime: str) -> tuple[Python, str | None]:
    """Return the Python for a runtime, and a warning where it isn't the one declared.

    Raises:
        UnsupportedRuntimeError: The runtime isn't Python.
    """
    wanted = declared(runtime)
    found = find(wanted) if wanted >= OLDEST else None
    if found is not None:
        return found, None
    others = [python for minor in range(OLDEST[1], NEWEST[1]) if (python := find((3, minor))) is not None]
    nearest = min(others, key=lambda python: (abs(python.version[1] - wanted[1]), -python.version[1]))
    used = ".".join(map(str, nearest.version))
    return nearest, f"{runtime} cannot be run on this machine: its functions run on Python {used} instead"


@functools.cache
def find(version: tuple[int, int]) -> Python | None:
    """Return a Python of that version, None where the machine has none that starts."""
    if version == sys.version_info[:2]:
        return Python(version, _own())
    for candidate in _candidates(version):
        found = _ask(candidate)
        if found is not None and found.version == version:
            return found
    return None


def _own() -> Path:
    # The interpreter behind a virtual environment: with -S it is the same, and starts with one file less to read.
    base = getattr(sys, "_base_executable", None) or sys.executable
    return Path(base)


def _candidates(version: tuple[int, int]) -> list[list[str]]:
    name = f"python{version[0]}.{version[1]}"
    dotted = f"{version[0]}.{version[1]}"
    places: list[list[str]] = []
    on_path = shutil.which(name)
    if on_path is not None:
        places.append([on_path])
    # Some users of containers have none.
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - that of pathlib raises
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", home / ".local" / "share" / "uv" / "python"))
    for pattern in (
        pyenv / "versions" / f"{dotted}.*" / "bin" / name,
        uv / f"cpython-{dotted}.*" / "bin" / name,
        Path("/opt/homebrew/bin") / name,
        Path("/usr/local/bin") / name,
    ):
        places += [[match] for match in sorted(glob.glob(str(pattern)), reverse=True)]  # noqa: PTH207 - absolute patterns
    launcher = shutil.which("py")
    if launcher is not None and sys.platform == "win32":
        places.append([launcher, f"-{dotted}"])
    return places


def _ask(candidate: list[str]) -> Python | None:
    # What is found may be a shim for a version that isn't chosen, so it has to be started once.
    try:
        answer = subprocess.run(
            [*candidate, "-S", "-c", _ASK], capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
        major, minor, executable = answer.stdout.strip().split(" ", 2)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python((int(major), int(minor)), Path(executable))


def native_client_fits(python: Python) -> bool:
    """Say whether the native module of AWS's runtime client, as installed beside us, works in a Python."""
    return sys.platform == "linux" and python.is_ours and bool(sysconfig.get_config_var("SOABI"))
