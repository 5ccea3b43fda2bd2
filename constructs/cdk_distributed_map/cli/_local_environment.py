"""A separate environment for ``distmap local``, where the one of this command can't have what it needs.

The embedded AWS needs one exact release of botocore, so the extra ``local`` can't be installed beside another boto3.
It is then installed into an environment below the cache, and the command hands itself over to that.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cdk_distributed_map.cli import _exit

VARIABLE: Final = "DISTMAP_LOCAL_ENVIRONMENT"
"""Names the environment's folder. Default: one for each release of this package and of Python below the cache."""
_NEEDED: Final = ("ministack", "awslambdaric", "jsonata")
_PACKAGE: Final = "cdk-distributed-map"
_INSTALLED: Final = "distmap-installed"  # a file that says that pip has ended well


def missing() -> list[str]:
    """Return the requirements of the local AWS that aren't installed here."""
    return [name for name in _NEEDED if find_spec(name) is None]


def folder() -> Path:
    """Return where the environment is, or would be."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "distmap" / f"local-{version(_PACKAGE)}-python{sys.version_info[0]}.{sys.version_info[1]}"


def python() -> Path | None:
    """Return the interpreter of the environment, None where there is none that is whole, or where this is it."""
    if not (folder() / _INSTALLED).exists() or folder().resolve() == Path(sys.prefix).resolve():
        return None
    return _interpreter()


def _interpreter() -> Path | None:
    path = folder() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return path if path.exists() else None


def hand_over(interpreter: Path, arguments: Sequence[str]) -> int:
    """Run ``distmap local`` there, and return its exit code."""
    # What is set for this environment's Python isn't for that one.
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    command = [str(interpreter), "-m", "cdk_distributed_map.cli", "local", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def install(requirement: str | None, say: Callable[[str], None]) -> int:
    """Make the environment, or bring it up to date, and return an exit code.

    Args:
        requirement: What to install, as pip takes it: a wheel or a folder. Default: this release from the index.
        say: Called with what happens.
    """
    if requirement is not None and not Path(requirement).exists():
        say(f"there is nothing at {requirement}: --from takes a wheel or a folder of this package")
        return _exit.ERROR
    what = f"{_PACKAGE}[local]=={version(_PACKAGE)}" if requirement is None else f"{requirement}[local]"
    say(f"installing {what} into {folder()} (a minute or two)")
    (folder() / _INSTALLED).unlink(missing_ok=True)
    failed = subprocess.run([sys.executable, "-m", "venv", str(folder())], check=False).returncode
    interpreter = _interpreter()
    if failed or interpreter is None:
        say("Python could not create a virtual environment: see its output above")
        return _exit.ERROR
    command = [str(interpreter), "-m", "pip", "install", "--disable-pip-version-check", what]
    # What pip says of its progress goes to standard error: standard output is for the answer.
    if subprocess.run(command, stdout=2, check=False).returncode:
        say("pip could not install it: see its output above; --from takes a wheel or a folder of this package")
        return _exit.ERROR
    (folder() / _INSTALLED).touch()
    say("installed: from now on `distmap local` runs there")
    return _exit.SUCCESS


def advice(names: Sequence[str]) -> str:
    """Return what to do where something isn't installed."""
    return (
        f"the local AWS needs {', '.join(names)}, not installed here: run `distmap local install`, which creates "
        "a separate environment for it and works with any boto3; or pip install "
        f"'{_PACKAGE}[local]', which needs the one botocore that its embedded AWS (ministack) is made for"
    )
