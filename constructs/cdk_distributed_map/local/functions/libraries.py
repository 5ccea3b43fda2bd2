"""The libraries Lambda's Python runtimes come with, as one folder: AWS's runtime client and boto3, and nothing else.

A function must not find the other packages of this environment, or it would work here and fail on AWS.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

ROOTS: Final = ("awslambdaric", "boto3")


class MissingLibraryError(RuntimeError):
    """A library that functions run with isn't installed."""


def libraries_folder(cache: Path) -> Path:
    """Return the folder, making it where needed; it is named after the versions in it.

    Raises:
        MissingLibraryError: The runtime client or boto3 isn't installed.
    """
    distributions = _closure(ROOTS)
    names = sorted(f"{d.metadata['Name']}=={d.version} {d.locate_file('')}" for d in distributions.values())
    folder = cache / "runtime" / hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent))
    for distribution in distributions.values():
        for top in _tops(distribution):
            _link(Path(str(distribution.locate_file(top))), building / top)
    try:
        building.rename(folder)
    except OSError:
        # Somebody else was faster.
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _closure(roots: tuple[str, ...]) -> dict[str, metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            message = f"functions need {name} to run locally: install cdk-distributed-map[local]"
            raise MissingLibraryError(message) from error
        needed = [text for text in found[key].requires or [] if not re.search(r"\bextra\s*==", text)]
        waiting += [re.split(r"[\s;<>=!~(\[]", text, maxsplit=1)[0] for text in needed]
    return found


def _tops(distribution: metadata.Distribution) -> set[str]:
    tops = {file.parts[0] for file in distribution.files or []}
    return {top for top in tops if top not in {"..", "__pycache__"} and not top.endswith(".pth")}


def _link(source: Path, target: Path) -> None:
    if not source.exists():
        return
    try:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError:
        # Windows lets only some users make links.
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
