"""Packages that a function has for Lambda's machine and not for this one: fetched once more, in the same versions.

Lambda runs Linux, by default on arm64, and the Python that a function declares; this machine may be anything else. A
compiled module of another machine can't be imported, so what stands for it here goes before it on the function's path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.here import misfits, packages_here
from cdk_distributed_map.bundling.target import ThisMachine
from cdk_distributed_map.local.functions.config import FunctionConfig
from cdk_distributed_map.local.functions.pythons import Python
from cdk_distributed_map.local.functions.results import ServiceError


class PackagesHere:
    """Finds what of a function's packages has to be had for this machine as well.

    Args:
        warn: Called with what is done about a function.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._known: dict[tuple[Path, Path | None, Path], asyncio.Task[Path | None]] = {}

    async def folder(self, config: FunctionConfig, python: Python) -> Path | None:
        """Return the folder of such packages, None where all that a function has runs here.

        Raises:
            ServiceError: They can't be had.
        """
        key = (config.code, config.layers, python.executable)
        if key not in self._known:
            # One task, however many processes start at once: what failed stays failed while the code is the same.
            self._known[key] = asyncio.create_task(asyncio.to_thread(self._find, config, python))
        return await asyncio.shield(self._known[key])

    def _find(self, config: FunctionConfig, python: Python) -> Path | None:
        layers = [] if config.layers is None else [config.layers]
        try:
            return fetch(config.name, config.code, layers, python, say=self._warn)
        except BundlingError as error:
            message = (
                f"{error}; or install the Python of {config.runtime} on this machine, and give the function its "
                "architecture; then start the local AWS again"
            )
            raise ServiceError("InvalidRuntimeException", message, status=502) from error


def fetch(name: str, code: Path, layers: Sequence[Path], python: Python, *, say: Callable[[str], None]) -> Path | None:
    """Return a folder with the packages of a function that don't run here, None where all do.

    Args:
        name: The function, for what is said.
        code: Folder of its code.
        layers: Folders of its layers.
        python: What runs it.
        say: Called with what is done, and every few seconds with how far it is.

    Raises:
        BundlingError: They can't be had.
    """
    version = f"python{python.version[0]}.{python.version[1]}"
    within = (Path("python", "lib", version, "site-packages"), Path("python"))
    found = misfits([code, *(layer / each for layer in layers for each in within)], python.version)
    if not found.foreign:
        return None
    machine = ThisMachine(python=python.version, executable=str(python.executable))
    names = ", ".join(found.foreign)
    say(f"{name} has {names} for Lambda alone: they are fetched once more, for {machine}")
    try:
        return packages_here(found, machine, code / "requirements.txt", say=say)
    except BundlingError as error:
        raise BundlingError(
            f"the function {name} has packages that are compiled for another machine ({names}), and they can't be had "
            f"for {machine}: {error}"
        ) from error
