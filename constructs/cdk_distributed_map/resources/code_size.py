"""What a function's code and its layers come to: Lambda has one limit for all of them together."""

from __future__ import annotations

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
    sizes = {
        "its code": _unzipped(function),
        **{f"the layer {layer.node.path!r}": _unzipped(layer) for layer in layers},
    }
    total = sum(sizes.values())
    if total > limits.MAX_CODE_BYTES:
        parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)
        raise ValueError(
            f"{function.node.path!r} has {total:,} bytes of code with its layers ({parts}), Lambda takes at "
            f"most {limits.MAX_CODE_BYTES:,} unzipped: leave out what isn't needed, as with exclude=[...] or "
            "bundling=Bundling.wheels(exclude=[...]), take a layer away, or use Worker.image(...)"
        )


def _unzipped(construct: IConstruct) -> int:
    """Return the bytes of what a function or a layer is deployed from, 0 where that isn't known."""
    asset, stage = construct.node.try_find_child("Code"), Stage.of(construct)
    staged = getattr(asset, "asset_path", None)
    # Without staging, it is what it was made from, with what is left out.
    if staged is None or stage is None or construct.node.try_get_context("aws:cdk:disable-asset-staging"):
        return 0
    path = Path(stage.outdir, staged)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    return sum(file.lstat().st_size for file in files_of(path))
