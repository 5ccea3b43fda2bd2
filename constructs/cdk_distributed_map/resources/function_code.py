"""The code of functions: the user's folder, and the packages that it asks for."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from aws_cdk import BundlingOptions, IgnoreMode, IgnoreStrategy, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.normal import digest, files_of
from cdk_distributed_map.bundling.packages import on_standard_error, packages_for, sweep
from cdk_distributed_map.bundling.requirement_files import Requirements, find
from cdk_distributed_map.bundling.target import Target
from cdk_distributed_map.caches import cache_folder
from cdk_distributed_map.settings import code_folder, synthesis_warnings
from cdk_distributed_map.settings.bundling import ByCommand, InDocker, NoBundling, Wheels
from cdk_distributed_map.settings.functions import (
    DEFAULT_ARCHITECTURE,
    DEFAULT_RUNTIME,
    PythonFunction,
    is_arm,
    python_of,
)
from distmap import limits

_DOCKER_SECONDS: Final = 30
_ABANDONED_SECONDS: Final = 24 * 3600


def code_of(scope: Construct, declared: PythonFunction) -> lambda_.Code:
    """Return the code of a function, with its packages.

    Args:
        scope: Where the function is made.
        declared: The function.

    Raises:
        ValueError: The packages can't be bundled, or are more than Lambda takes.
    """
    folder, bundling = declared.folder, declared.bundling
    if isinstance(bundling, NoBundling) or not Stack.of(scope).bundling_required:
        return code_folder.asset(folder, declared.exclude)
    target = target_of(declared)
    match bundling:
        case InDocker():
            return _in_docker(declared, bundling)
        case ByCommand():
            return _by_command(scope, declared, bundling, target)
        case Wheels():
            requirements = find(Path(folder), bundling.requirements, beside=Path(declared.beside))
            if requirements is None and bundling.asked:
                raise ValueError(
                    f"bundling is Bundling.wheels(), but folder {folder!r} asks for no package: list them in a "
                    "requirements.txt there, or leave bundling out"
                )
            return (
                code_folder.asset(folder, declared.exclude)
                if requirements is None
                else _wheels(scope, declared, requirements)
            )
        case _:
            raise TypeError(f"bundling must come from Bundling's factories, got {bundling!r}")


def target_of(declared: PythonFunction) -> Target:
    """Return what a function runs on."""
    machine = "aarch64" if is_arm(declared.architecture) else "x86_64"
    return Target(python=python_of(DEFAULT_RUNTIME if declared.runtime is None else declared.runtime), machine=machine)


def _wheels(scope: Construct, declared: PythonFunction, requirements: Requirements) -> lambda_.Code:
    bundling, target = declared.bundling, target_of(declared)
    assert isinstance(bundling, Wheels)  # noqa: S101 - as it was called for
    packages = packages_for(
        requirements.lines,
        target,
        identity=requirements.identity,
        file=requirements.file,
        # Who made the lock knows best from which indexes it came, and is there, since the lock was read.
        installer="uv" if bundling.installer is None and requirements.file.name == "uv.lock" else bundling.installer,
        exclude=bundling.exclude,
        say=on_standard_error,
    )
    synthesis_warnings.inexact_requirements(scope, requirements.file.name, requirements.inexact(packages.versions))
    # Before the user's own patterns, so that one of those may take a file back.
    left_out = [f"/{name}" for name in requirements.left_out]
    sources = dict(_shipped(declared.folder, [*left_out, *declared.exclude]))
    _check_apart(sources, packages.folder, requirements.file)
    size = packages.bytes + sum(path.stat().st_size for path in sources.values())
    if size > limits.MAX_CODE_BYTES:
        raise ValueError(
            f"folder {declared.folder!r} has {size:,} bytes of code with its packages, Lambda takes at most "
            f"{limits.MAX_CODE_BYTES:,} unzipped, layers included; the largest is {_largest(packages.folder)}: leave "
            "out what isn't needed with bundling=Bundling.wheels(exclude=[...]), or use Worker.image(...)"
        )
    output = _new_folder(scope)
    _link_all(packages.folder, output)
    for name, path in sources.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, output / name)
    # By the packages' own content, which no machine and no time of day changes.
    hashed = hashlib.sha256(repr((target, packages.digest)).encode())
    for name, path in sources.items():
        runs = bool(path.stat().st_mode & 0o100)
        hashed.update(f"{name}\0{runs}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return lambda_.Code.from_asset(str(output), asset_hash=hashed.hexdigest())


def _shipped(folder: str, exclude: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield what of a folder is shipped, by its path from there.

    Raises:
        BundlingError: A link leads nowhere, or to a folder that it is in.
    """
    patterns = code_folder.patterns(folder, exclude)
    ignored = IgnoreStrategy.git(folder, patterns)
    # Environments and caches have thousands of files, and each question goes to Node.
    taken_back = any(pattern.startswith("!") for pattern in patterns)
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if taken_back or f"{name}/" not in code_folder.LEFT_OUT)
        for name in sorted([*names, *(name for name in folders if Path(place, name).is_symlink())]):
            path = Path(place, name)
            if ignored.ignores(str(path)):
                if name in folders:
                    folders.remove(name)  # where it leads, too, is left out
                continue
            if path.is_symlink():
                _check_link(path, folder)
            if not path.is_dir():
                yield path.relative_to(folder).as_posix(), path


def _check_link(path: Path, folder: str) -> None:
    leads = Path(os.path.realpath(path))
    nowhere = not leads.exists()
    if nowhere or Path(os.path.realpath(path.parent)).is_relative_to(leads):
        where = "nowhere" if nowhere else "to a folder that it is in"
        name = path.relative_to(folder).as_posix()
        raise BundlingError(
            f"{name} in folder {folder!r} is a link that leads {where}: remove it, or exclude=[{name!r}]"
        )


def _check_apart(sources: Mapping[str, Path], packages: Path, file: Path) -> None:
    """Check that no file of the user's is one of a package's, and no module hides another.

    Raises:
        BundlingError: One is.
    """
    modules = {_module(path.name): path.name for path in packages.iterdir() if path.is_dir() or path.suffix == ".py"}
    for name, path in sources.items():
        in_package = packages / name
        if in_package.is_file() and in_package.read_bytes() == path.read_bytes():
            continue
        top, _, below = name.partition("/")
        hidden = modules.get(_module(top)) if not below else None
        if in_package.is_file() or (hidden is not None and top.endswith(".py")):
            other = name if in_package.is_file() else hidden
            raise BundlingError(
                f"the folder's {name} and {other} of a package that {file} asks for can't both be there: rename yours, "
                "or take the package out of one of the two"
            )


def _module(name: str) -> str:
    return name.removesuffix(".py")


def _largest(folder: Path) -> str:
    sizes: dict[str, int] = {}
    for path in files_of(folder):
        top = path.relative_to(folder).parts[0]
        sizes[top] = sizes.get(top, 0) + path.lstat().st_size
    name = max(sizes, key=lambda top: sizes[top])
    return f"{name} with {sizes[name]:,}"


def _link_all(source: Path, target: Path) -> None:
    """Put all of a folder into another one, without copying where the file system can do without."""

    def link(here: str, there: str) -> None:
        try:
            os.link(here, there)
        except OSError:
            shutil.copy2(here, there)

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def _in_docker(declared: PythonFunction, bundling: InDocker) -> lambda_.Code:
    runtime = DEFAULT_RUNTIME if declared.runtime is None else declared.runtime
    if bundling.words is None and not Path(declared.folder, "requirements.txt").is_file():
        raise ValueError(
            f"bundling is Bundling.docker() without a command, and folder {declared.folder!r} has no requirements.txt: "
            "write one, or give the command"
        )
    _check_docker()
    architecture = DEFAULT_ARCHITECTURE if declared.architecture is None else declared.architecture
    usual = "pip install --no-compile --requirement requirements.txt --target /asset-output && cp -R . /asset-output"
    return lambda_.Code.from_asset(
        declared.folder,
        exclude=code_folder.patterns(declared.folder, declared.exclude),
        ignore_mode=IgnoreMode.GIT,
        bundling=BundlingOptions(
            image=runtime.bundling_image if bundling.image is None else bundling.image,
            command=["bash", "-c", usual] if bundling.words is None else list(bundling.words),
            platform=architecture.docker_platform,
        ),
    )


@functools.cache
def _check_docker() -> None:
    """Check that Docker answers, as the CDK will want it to: CDK_DOCKER names another that does its work.

    Raises:
        BundlingError: It isn't there, or doesn't answer.
    """
    docker = os.environ.get("CDK_DOCKER", "docker")
    remedy = "start it, or leave bundling out for wheels, which need no Docker"
    try:
        process = subprocess.run(
            [docker, "version"], capture_output=True, text=True, timeout=_DOCKER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundlingError(f"bundling is Bundling.docker(), but {docker} can't be run: {error}: {remedy}") from error
    if process.returncode != 0:
        lines = (process.stderr.strip() or process.stdout.strip()).splitlines()
        raise BundlingError(f"bundling is Bundling.docker(), but {docker} doesn't answer: {lines[-1:]}: {remedy}")


def _by_command(scope: Construct, declared: PythonFunction, bundling: ByCommand, target: Target) -> lambda_.Code:
    output = _new_folder(scope)
    variables = {
        "DISTMAP_OUTPUT": str(output),
        "DISTMAP_PYTHON": target.version,
        "DISTMAP_ARCHITECTURE": "arm64" if target.machine == "aarch64" else "x86_64",
    }
    words = " ".join(bundling.words)
    try:
        # What it says goes where the synthesis says things, not into what a program may read.
        process = subprocess.run(
            bundling.words, cwd=declared.folder, env={**os.environ, **variables}, stdout=2, check=False
        )
    except OSError as error:
        raise BundlingError(f"the command {words!r} of Bundling.command(...) can't be run: {error}") from error
    if process.returncode != 0:
        raise BundlingError(
            f"the command {words!r} of Bundling.command(...) ended with {process.returncode} in {declared.folder}: see "
            "what it said above"
        )
    size = sum(path.stat().st_size for path in files_of(output))
    if size == 0:
        raise BundlingError(
            f"the command {words!r} of Bundling.command(...) wrote nothing into the folder that DISTMAP_OUTPUT names: "
            "write the function's code and its packages there"
        )
    if size > limits.MAX_CODE_BYTES:
        raise ValueError(
            f"the command {words!r} wrote {size:,} bytes of code, Lambda takes at most {limits.MAX_CODE_BYTES:,} "
            "unzipped, layers included: leave out what isn't needed, or use Worker.image(...)"
        )
    return lambda_.Code.from_asset(str(output), asset_hash=digest(output))


def _new_folder(scope: Construct) -> Path:
    """Return a new folder for a function's code, beside the cache, so that files of packages can be linked.

    It is there while the program runs; without staging, where the CDK names it to whoever deploys, for a day at least.
    """
    if scope.node.try_get_context("aws:cdk:disable-asset-staging"):
        return Path(tempfile.mkdtemp(dir=_place()))
    return Path(tempfile.mkdtemp(dir=_while_running().name))


@functools.cache
def _while_running() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=_place())


def _place() -> Path:
    folder = cache_folder() / "assembled"
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder, _ABANDONED_SECONDS)
    return folder
