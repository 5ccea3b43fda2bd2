"""The container image of a function: the user's folder with the runtime module beside its Dockerfile, or an image."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from aws_cdk import IgnoreStrategy
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk_distributed_map.settings.functions import is_arm
from cdk_distributed_map.settings.images import RUNTIME_FOLDER, ImageFunction

_LEFT_OUT = (".git", ".venv", "cdk.out", "__pycache__", "node_modules")
"""What no image is built of, beside what the folder's .dockerignore names. The CDK's output would hold itself."""


def image_of(scope: Construct, declared: ImageFunction, *, runtime: Path) -> lambda_.DockerImageCode:
    """Return the image of a function, built when it is deployed where a folder is declared.

    Args:
        scope: Where the function is made.
        declared: The function.
        runtime: Folder of the module ``distmap``.
    """
    if not isinstance(declared.image, str):
        return declared.image
    # Without staging, the folder is named to whoever deploys, and must outlast the program.
    parent = None if scope.node.try_get_context("aws:cdk:disable-asset-staging") else _contexts().name
    return lambda_.DockerImageCode.from_image_asset(
        str(_context(Path(declared.image), runtime, parent)),
        platform=ecr_assets.Platform.LINUX_ARM64 if is_arm(declared.architecture) else ecr_assets.Platform.LINUX_AMD64,
        exclude=["**/__pycache__"],
    )


def _context(folder: Path, runtime: Path, parent: str | None) -> Path:
    """Copy a folder, with the runtime module in it, to where it stays while the program runs.

    A context of its own for the module would keep the folder as it is, but is named by its path on this machine, and
    its content doesn't count in the image's hash: a new version of the module would not be deployed.
    """
    target = Path(tempfile.mkdtemp(dir=parent))
    ignore_file = folder / ".dockerignore"
    patterns = ignore_file.read_text(encoding="utf-8-sig").splitlines() if ignore_file.is_file() else []
    ignored = IgnoreStrategy.docker(str(folder), patterns) if patterns else None

    def left_out(place: str, names: list[str]) -> set[str]:
        return {name for name in names if name in _LEFT_OUT or _ignores(ignored, Path(place, name))}

    shutil.copytree(folder, target, ignore=left_out, symlinks=True, dirs_exist_ok=True)
    for needed in ("Dockerfile", ".dockerignore"):
        # Docker reads both whatever is ignored.
        if (folder / needed).is_file() and not (target / needed).exists():
            shutil.copy2(folder / needed, target / needed)
    shutil.copytree(runtime, target / RUNTIME_FOLDER, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    if patterns:
        with (target / ".dockerignore").open("a", encoding="utf-8") as file:
            file.write(f"\n!{RUNTIME_FOLDER}\n")
    return target


def _ignores(ignored: IgnoreStrategy | None, path: Path) -> bool:
    # A folder that is ignored may hold a file that is taken back: what is in it decides.
    return ignored is not None and not path.is_dir() and ignored.ignores(str(path))


@functools.cache
def _contexts() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of contexts, which is removed when the program ends."""
    return tempfile.TemporaryDirectory(prefix="distmap-images-")
