"""Wheels of compiled packages as the package index of this machine has them: for the function's machine, not for this.

Where no index can be reached, these tests skip and say so: the wheelhouse of the other tests stands for one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map import Bundling
from cdk_distributed_map.bundling.errors import BundlingError
from tests.bundling.assets import bundle
from tests.bundling.wheelhouse import AARCH64, X86_64
from tests.construct.lab import Lab

REQUIREMENTS = "numpy==2.2.6\npydantic==2.11.7\n"
MACHINES = {"arm64": (lambda_.Architecture.ARM_64, AARCH64), "x86_64": (lambda_.Architecture.X86_64, X86_64)}


def bundle_or_skip(lab: Lab, installer: str, architecture: lambda_.Architecture) -> Path:
    try:
        return bundle(lab, REQUIREMENTS, architecture=architecture, bundling=Bundling.wheels(installer=installer))
    except BundlingError as error:
        if "can't reach a package index" in str(error):
            pytest.skip(f"no package index can be reached from here: {error}")
        raise


@pytest.mark.slow
@pytest.mark.usefixtures("package_index")
@pytest.mark.parametrize("name", MACHINES)
def test_compiled_packages_are_for_the_machine_of_the_function(tmp_path: Path, name: str) -> None:
    architecture, number = MACHINES[name]
    folders = [bundle_or_skip(Lab(tmp_path / by), by, architecture) for by in ("uv", "pip")]

    assert folders[0].name == folders[1].name
    compiled = [path for path in folders[0].rglob("*.so*") if path.is_file()]
    assert {"numpy", "numpy.libs", "pydantic_core"} <= {path.relative_to(folders[0]).parts[0] for path in compiled}
    heads = [path.read_bytes()[:20] for path in compiled]
    assert {(head[:4], int.from_bytes(head[18:20], "little")) for head in heads} == {(b"\x7fELF", number)}
    # Of Python 3.13, the worker's, whatever Python this is.
    assert {name for path in compiled for name in path.name.split(".") if name.startswith("cpython-")} <= {
        f"cpython-313-{'aarch64' if number == AARCH64 else 'x86_64'}-linux-gnu"
    }
    assert (folders[0] / "numpy-2.2.6.dist-info" / "METADATA").is_file()
