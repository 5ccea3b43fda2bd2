"""Has pip or uv fetch wheels, and says in a developer's words why they couldn't."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.target import Target, ThisMachine

PIP: Final = "pip"
UV: Final = "uv"
_PIP_FOR_TARGET: Final = Path(__file__).with_name("pip_for_target.py")
_LAST_LINES: Final = 12
# What would send packages elsewhere, or have them built here, if it is in somebody's environment or configuration.
_NOT_WANTED: Final = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_BINARY", "PIP_REQUIREMENT", "UV_NO_BINARY")
_WAYS_OUT: Final = (
    "build it for Lambda in a container with bundling=Bundling.docker(), or take it from a layer with layers=[...] and "
    "leave it out of {file}"
)
_OFFLINE: Final = re.compile(
    r"NewConnectionError|NameResolutionError|name resolution|Max retries exceeded|ProxyError|ConnectTimeout|"
    r"Connection (?:refused|broken)|network is unreachable|dns error|error sending request|Failed to fetch|"
    r"client error \(Connect\)|connectivity is disabled|[Cc]ould not connect",
)
_MISSING: Final = (
    re.compile(r"No matching distribution found for ([A-Za-z0-9][\w.\-]*(?:\[[^\]]*\])?\s*[^\s;,(]*)"),
    re.compile(r"([A-Za-z0-9][\w.\-]*\S*) has no (?:usable )?wheels"),
    re.compile(r"only ([A-Za-z0-9][\w.\-]*)\S* is available and \S+ has no"),
    re.compile(r"([A-Za-z0-9][\w.\-]*) was not found in the (?:package registry|provided package locations)"),
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
        beside = Path(sys.executable).with_name("uv")
        uv = shutil.which("uv") or (str(beside) if beside.is_file() else None)
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

    Raises:
        BundlingError: A package has no wheel that fits, the index can't be reached, or the installer refuses.
    """
    listed = work / "requirements.txt"
    if constraints:
        (work / "constraints.txt").write_text("\n".join(constraints) + "\n", encoding="utf-8")
        lines = [*lines, f"--constraint {work / 'constraints.txt'}"]
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        _command(installer, target, listed, into),
        cwd=file.parent,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise BundlingError(_why(installer, done.stdout, target, file))


def _command(installer: Installer, target: Target | ThisMachine, listed: Path, into: Path) -> list[str]:
    wheels_alone = ["--only-binary", ":all:", "--target", str(into), "--requirement", str(listed)]
    if installer.kind == UV:
        place = ["--python", sys.executable] if isinstance(target, Target) else ["--python", target.executable]
        if isinstance(target, Target):
            place += ["--python-platform", target.uv_platform(), "--python-version", target.version]
        return [*installer.command, "pip", "install", "--no-progress", "--link-mode", "copy", *place, *wheels_alone]
    common = ["--no-compile", "--ignore-installed", "--no-warn-script-location", "--progress-bar", "off"]
    if isinstance(target, ThisMachine):
        return [*installer.command, "-m", "pip", "--python", target.executable, "install", *common, *wheels_alone]
    place = ["--implementation", "cp", "--python-version", target.version]
    for platform in target.platforms():
        place += ["--platform", platform]
    markers = json.dumps(target.markers())
    return [*installer.command, str(_PIP_FOR_TARGET), markers, "install", *common, *place, *wheels_alone]


def _environment() -> dict[str, str]:
    """Return the environment of an installer: indexes, proxies and credentials are those that the user set for it."""
    inherited = {key: value for key, value in os.environ.items() if key not in _NOT_WANTED}
    if inherited.get("PIP_RETRIES") == "0":
        inherited["PIP_RETRIES"] = "1"  # without any, pip doesn't say that it reached no index
    return {
        **inherited,
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
    }


def _why(installer: Installer, output: str, target: Target | ThisMachine, file: Path) -> str:
    said = without_secrets(output)
    folded = re.sub(r"[\s│╰─▶]+", " ", said)
    if _OFFLINE.search(said):
        where = "PIP_NO_INDEX=1 PIP_FIND_LINKS" if installer.kind == PIP else "UV_OFFLINE=1 UV_FIND_LINKS"
        return (
            f"{installer.kind} can't reach a package index for {file}: synthesize once with a connection, after which "
            f"the packages are in the cache; or give a folder of wheels as {where}=<folder>"
        )
    if "HASHES" in said or "hash mismatch" in said.lower():
        return f"a package that {file} asks for isn't the one whose hash it has:\n{_end(said)}"
    missing = next((found[1].strip() for pattern in _MISSING if (found := pattern.search(folded))), None)
    if missing is not None:
        return (
            f"{missing}, which {file} asks for, has no wheel for {target} in the package index, if there is such a "
            f"version: {_WAYS_OUT.format(file=file.name)}"
        )
    return f"{installer.kind} can't install what {file} asks for on {target}:\n{_end(said)}"


def without_secrets(text: str) -> str:
    """Return a text without the credentials of addresses in it."""
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1****@", text)


def _end(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-_LAST_LINES:])
