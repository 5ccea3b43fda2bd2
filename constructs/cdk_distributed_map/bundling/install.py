"""Has pip or uv fetch wheels."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.locks import find_uv
from cdk_distributed_map.bundling.own_packages import built
from cdk_distributed_map.bundling.sayings import doing_what, why, why_not_built
from cdk_distributed_map.bundling.target import Target, ThisMachine

_LOG: Final = "log.txt"
_PROGRESS_SECONDS: Final = 3
PIP: Final = "pip"
UV: Final = "uv"
_WITH_PATH: Final = frozenset({"--constraint", "--find-links", "-f"})
_PIP_FOR_TARGET: Final = Path(__file__).with_name("pip_for_target.py")
# What would send packages elsewhere, or have them built here, if it is in somebody's environment or configuration.
_NOT_WANTED: Final = (
    "PIP_DRY_RUN",
    "PIP_EDITABLE",
    "PIP_NO_BINARY",
    "PIP_NO_DEPS",
    "PIP_PREFIX",
    "PIP_REPORT",
    "PIP_REQUIREMENT",
    "PIP_ROOT",
    "PIP_TARGET",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
)


@dataclass(frozen=True, kw_only=True)
class Installer:
    """What fetches wheels.

    Args:
        kind: ``pip`` or ``uv``.
        command: How it is started.
    """

    kind: str
    command: tuple[str, ...]


def find_installer(named: str | None) -> Installer:
    """Return the installer: pip of this environment where it has one, else uv.

    Args:
        named: ``pip`` or ``uv``. Default: whichever is there, pip first.

    Raises:
        BundlingError: There is none.
    """
    if named in {None, PIP} and importlib.util.find_spec("pip") is not None:
        return Installer(kind=PIP, command=(sys.executable,))
    if named in {None, UV}:
        uv = find_uv()
        if uv is not None:
            return Installer(kind=UV, command=(uv,))
    wanted = "neither pip nor uv is" if named is None else f"{named} isn't"
    raise BundlingError(
        f"{wanted} there to fetch packages: run '{sys.executable} -m ensurepip' or install uv, or use "
        "bundling=Bundling.docker()"
    )


def install(
    installer: Installer,
    lines: Sequence[str],
    target: Target | ThisMachine,
    *,
    into: Path,
    file: Path,
    work: Path,
    constraints: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> None:
    """Install wheels into a folder.

    Args:
        installer: What fetches them.
        lines: What is asked for, in the grammar of a requirements.txt.
        target: What runs them.
        into: Folder for the packages.
        file: What asks for them, for errors; paths in its lines begin at its folder.
        work: Folder for what is only needed meanwhile.
        constraints: Versions of what is needed in turn.
        progress: Called every few seconds with what is being fetched. Default: nothing is reported.

    Raises:
        BundlingError: A package has no wheel that fits, the index can't be reached, or the installer refuses.
    """
    lines = list(built(lines, file.parent, lambda path: _build(installer, path, file, work / "built", progress)))
    listed = work / "requirements.txt"
    if constraints:
        (work / "constraints.txt").write_text("\n".join(constraints) + "\n", encoding="utf-8")
        lines = [*lines, f"--constraint {work / 'constraints.txt'}"]
    quoted = (_quoted(line) for line in lines) if installer.kind == PIP else lines
    listed.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    code, output = _run(_command(installer, target, listed, into, work / _LOG), file.parent, progress)
    if code != 0:
        raise BundlingError(why(installer.kind, _not_fetched(work) + output, target, file))


def _quoted(line: str) -> str:
    """Return a line whose option has a path as pip reads it; uv reads up to the end of the line."""
    option, _, path = line.partition(" ")
    return f"{option} {shlex.quote(path)}" if option in _WITH_PATH else line


def _build(installer: Installer, path: Path, file: Path, work: Path, progress: Callable[[str], None] | None) -> Path:
    """Build a package of the user's own, and return its wheel."""
    into = work / str(len(list(work.iterdir())) if work.is_dir() else 0)
    into.mkdir(parents=True)
    if installer.kind == UV:
        command = [
            *installer.command,
            "build",
            "--wheel",
            "--python",
            sys.executable,
            "--out-dir",
            str(into),
            str(path),
        ]
    else:
        options = ["--no-deps", "--ignore-requires-python", "--progress-bar", "off", "--wheel-dir", str(into)]
        command = [*installer.command, "-m", "pip", "wheel", *options, str(path)]
    code, output = _run(command, file.parent, progress)
    found = list(into.glob("*.whl"))
    if code != 0 or len(found) != 1:
        raise BundlingError(why_not_built(installer.kind, output, path, file))
    return found[0]


def _run(command: list[str], folder: Path, progress: Callable[[str], None] | None) -> tuple[int, str]:
    """Return how an installer ended and all that it said, and say now and then what it is doing."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    said: list[str] = []
    ended = threading.Event()
    start = time.monotonic()

    def tell() -> None:
        while progress is not None and not ended.wait(_PROGRESS_SECONDS):
            progress(f"{doing_what(said)} ({time.monotonic() - start:.0f} s)")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        with process:
            said.extend(process.stdout or ())  # line by line, as they come
        return process.returncode, "".join(said)
    except BaseException:
        process.kill()  # interrupted
        raise
    finally:
        ended.set()
        teller.join()


def _not_fetched(work: Path) -> str:
    """Return what pip keeps to itself: that an index refused it, or wasn't there."""
    log = work / _LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return "".join(f"{line}\n" for line in lines if "Could not fetch URL" in line)


def _command(installer: Installer, target: Target | ThisMachine, listed: Path, into: Path, log: Path) -> list[str]:
    wheels_alone = ["--only-binary", ":all:", "--target", str(into), "--requirement", str(listed)]
    if installer.kind == UV:
        place = ["--python", sys.executable] if isinstance(target, Target) else ["--python", target.executable]
        if isinstance(target, Target):
            place += ["--python-platform", target.uv_platform(), "--python-version", target.version]
        return [*installer.command, "pip", "install", "--no-progress", "--link-mode", "copy", *place, *wheels_alone]
    common = [
        "--no-compile",
        "--ignore-installed",
        "--no-warn-script-location",
        # What is installed here has nothing to do with it, and to read all of that takes most of the time.
        "--no-warn-conflicts",
        "--progress-bar",
        "off",
        "--log",
        str(log),
    ]
    # Another Python of this machine isn't had to run this pip either: it may be too new for it.
    place = ["--implementation", "cp", "--python-version", target.version]
    if isinstance(target, Target):
        for platform in target.platforms():
            place += ["--platform", platform]
    markers = json.dumps(target.markers())
    return [*installer.command, str(_PIP_FOR_TARGET), markers, "install", *common, *place, *wheels_alone]


def _environment() -> dict[str, str]:
    """Return the environment of an installer: indexes, proxies and credentials are those that the user set for it."""
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_WANTED}
    return {
        **inherited,
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # else it says nothing until the end
        "NO_COLOR": "1",
    }
