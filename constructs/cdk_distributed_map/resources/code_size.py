"""What a function's code and its layers come to: Lambda has one limit for all of them together."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Sequence
from pathlib import Path

from aws_cdk import Stage
from aws_cdk import aws_lambda as lambda_
from constructs import IConstruct

from cdk_distributed_map.bundling.normal import files_of
from distmap import limits


def check_code_size(function: lambda_.Function, layers: Sequence[lambda_.ILayerVersion]) -> None:
    """Check that Lambda takes the code of a function together with its layers, as far as this app has them.

    Raises:
        ValueError: They are more than 250 MB unzipped.
    """
    stage = Stage.of(function)
    # Without staging, it is what it was made from, with what is left out.
    if stage is None or function.node.try_get_context("aws:cdk:disable-asset-staging"):
        return
    outdir = stage.outdir
    code, *others = (_unzipped(construct, outdir) for construct in (function, *layers))
    total = code + sum(others)
    if total > limits.MAX_CODE_BYTES:
        names = ["its code", *(f"the layer {layer.node.path!r}" for layer in layers)]
        sizes = dict(zip(names, [code, *others], strict=True))
        parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)
        raise ValueError(
            f"{function.node.path!r} has {total:,} bytes of code with its layers ({parts}), Lambda takes at "
            f"most {limits.MAX_CODE_BYTES:,} unzipped: leave out what isn't needed, as with exclude=[...] or "
            "bundling=Bundling.wheels(exclude=[...]), take a layer away, or use Worker.image(...)"
        )


def _unzipped(construct: IConstruct, outdir: str) -> int:
    """Return the bytes of what a function or a layer is deployed from, 0 where that isn't known."""
    staged = getattr(construct.node.try_find_child("Code"), "asset_path", None)
    return 0 if staged is None else _bytes_of(Path(outdir, staged))


@functools.cache
def _bytes_of(path: Path) -> int:
    """Return the bytes of what is staged, under a name that is a hash of it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    return sum(file.lstat().st_size for file in files_of(path))
