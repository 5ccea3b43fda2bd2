"""The code of a worker as it is deployed, with its packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map import Bundling
from tests.construct.lab import Lab

# A start of pip takes a second of a processor, one of uv a tenth: what is the same with both is tested with uv.
QUICK = Bundling.wheels(installer="uv")


def bundle(lab: Lab, requirements: str = "plain==1.0\n", **options: Any) -> Path:
    """Return the folder of the worker's code, whose packages uv fetches unless the test names something else."""
    (lab.code / "requirements.txt").write_text(requirements)
    return code(lab, **{"bundling": QUICK, **options})


def code(lab: Lab, **options: Any) -> Path:
    lab.pipeline(worker=lab.python_worker(**options))
    return asset(lab)


def asset(lab: Lab, prefix: str = "PWorker") -> Path:
    functions = lab.resources("AWS::Lambda::Function")
    (function,) = (each for key, each in functions.items() if key.startswith(prefix))
    name = function["Properties"]["Code"]["S3Key"].removesuffix(".zip")
    return Path(lab.app.synth().directory, f"asset.{name}")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def fails(lab: Lab, requirements: str | None = None, **options: Any) -> str:
    if requirements is not None:
        (lab.code / "requirements.txt").write_text(requirements)
    with pytest.raises((ValueError, TypeError)) as caught:
        lab.pipeline(worker=lab.python_worker(**options))
    return str(caught.value)
