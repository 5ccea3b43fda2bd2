"""Which Node.js a function runs on: the one of this machine, or that of the extra ``node``."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdk_distributed_map.local.functions.pythons import UnsupportedRuntimeError

OLDEST: Final = 20
"""Oldest Node.js that the runtime client here is written for."""
_ASK_SECONDS: Final = 20


@dataclass(frozen=True)
class Node:
    """A Node.js of this machine.

    Args:
        major: Its major version.
        executable: Where it is.
    """

    major: int
    executable: Path


def declared(runtime: str) -> int | None:
    """Return the major version that a runtime such as ``nodejs22.x`` stands for, None where it isn't Node.js."""
    match = re.fullmatch(r"nodejs(\d+)\.x", runtime)
    return None if match is None else int(match[1])


def node_for(runtime: str) -> tuple[Node, str | None]:
    """Return the Node.js for a runtime, and a warning where it isn't the version declared.

    Raises:
        UnsupportedRuntimeError: This machine has none that starts.
    """
    found = find()
    if found is None:
        message = (
            f"functions of runtime {runtime!r} need Node.js {OLDEST} or later on this machine, and none starts: "
            "install it, or the extra 'node' of this package"
        )
        raise UnsupportedRuntimeError(message)
    if found.major == declared(runtime):
        return found, None
    return found, f"{runtime} is not on this machine: its functions run on Node.js {found.major} instead"


@functools.cache
def find() -> Node | None:
    """Return the Node.js beside this Python (the extra ``node`` puts it there) or on the path."""
    beside = Path(sys.executable).with_name("node.exe" if sys.platform == "win32" else "node")
    for candidate in (str(beside), shutil.which("node")):
        major = None if candidate is None else _ask(candidate)
        if candidate is not None and major is not None and major >= OLDEST:
            return Node(major, Path(candidate))
    return None


def _ask(candidate: str) -> int | None:
    try:
        answer = subprocess.run(
            [candidate, "--version"], capture_output=True, text=True, timeout=_ASK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.", answer.stdout)
    return None if match is None else int(match[1])
