"""Packages that were bundled for Lambda's machine run here in the same versions, or it is said why they can't."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.bundling.here import Misfits, packages_here
from cdk_distributed_map.bundling.target import ThisMachine
from cdk_distributed_map.local.functions import ServiceError
from cdk_distributed_map.local.server import LocalAws
from tests.bundling.wheelhouse import AARCH64, X86_64, add_wheel, elf
from tests.local.assemblies import BUCKET, Writer, function, role
from tests.local.functions.lab import Lab

OTHER = {"x86_64": ("aarch64", AARCH64)}.get(platform.machine(), ("x86_64", X86_64))
RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
USES = "import native, plain\ndef versions(event, context): return [native.VERSION, native.WHERE, plain.VERSION]\n"


def call(lab: Lab) -> Any:
    lab.define("versions", handler="uses.versions", runtime=RUNTIME)
    return json.loads(lab.call("versions").payload)


@pytest.fixture
def wheels(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheelhouse; in the code there are its packages for another machine."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("DISTMAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    there = f"cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}"
    init = {"native/core.so": elf(OTHER[1]), "native/__init__.py": b"raise ImportError('of another machine')\n"}
    add_wheel(folder, "native", "2.0", tag=f"{there}-manylinux_2_17_{OTHER[0]}", files=init, requires=["plain"])
    add_wheel(folder, "plain", "1.0")
    add_wheel(folder, "plain", "3.0")
    for name in ("native-2.0", "plain-1.0"):
        (wheel,) = folder.glob(f"{name}-*")
        zipfile.ZipFile(wheel).extractall(code)
    (code / "uses.py").write_text(USES)
    return folder


def test_packages_are_had_for_this_machine_too(lab: Lab, wheels: Path) -> None:
    init = {"native/__init__.py": b"VERSION, WHERE = '2.0', 'here'\n"}
    add_wheel(wheels, "native", "2.0", files=init, requires=["plain"])
    answer = call(lab)

    assert answer == ["2.0", "here", "1.0"]


def test_packages_for_another_python_of_this_machine_are_not_fetched_by_it(wheels: Path) -> None:
    needs = 'newer; python_version >= "4"'
    add_wheel(wheels, "native", "2.0", tag="cp314-none-any", requires=[needs, 'older; python_version < "3.14"'])
    add_wheel(wheels, "newer")
    # So new a Python might not run the pip of this one, and this one isn't even there.
    machine = ThisMachine(python=(3, 14), executable=str(wheels / "python3.14"))

    got = packages_here(Misfits(foreign=("native==2.0",), all=("native==2.0",)), machine, wheels / "requirements.txt")

    assert got.joinpath("native").is_dir()
    assert not got.joinpath("newer").exists()


def test_fails_when_they_can_not_be_had(lab: Lab, wheels: Path) -> None:
    with pytest.raises(ServiceError, match=r"(?s)compiled for another machine \(native==2.0\).*install the Python of"):
        call(lab)


def test_a_deployment_that_is_watched_fetches_them_and_says_so(
    local: LocalAws, assembly: Writer, wheels: Path, code: Path
) -> None:
    add_wheel(wheels, "native", "2.0", files={"native/__init__.py": b"VERSION, WHERE = '2.0', 'here'\n"})
    shutil.copytree(code, assembly.folder / "asset.layer" / "python")
    layer = {"Content": {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": "layer.zip"}}
    uses = function("unused", Runtime=RUNTIME, Layers=[{"Ref": "Layer"}], FunctionName="uses", Handler="uses.versions")
    resources = {"Role": role(), "Layer": {"Type": "AWS::Lambda::LayerVersion", "Properties": layer}, "Uses": uses}
    assembly.stack(
        "Watched",
        resources,
        files={"layer": {"source": {"path": "asset.layer", "packaging": "zip"}, "key": "layer.zip"}},
    )
    lines: list[str] = []
    local.deploy(assembly.write(), progress=lines.append)

    told = [line for line in lines if "native" in line or "bundl" in line]
    assert told[0].startswith("Watched: Uses has native==2.0 for Lambda alone: they are fetched once more, for Python ")
    assert "bundling the packages of" in told[1]
    assert re.fullmatch(r"Watched: bundled 1 packages, \d\.\d MB, in \d+\.\d s", told[-1])
    shutil.rmtree(wheels)  # the call finds what was fetched
    answer = local.client("lambda").invoke(FunctionName="uses", Payload=b"{}")["Payload"].read()
    assert json.loads(answer) == ["2.0", "here", "1.0"]


def test_a_deployment_says_what_can_not_be_had(local: LocalAws, assembly: Writer, wheels: Path, code: Path) -> None:
    assert wheels.is_dir()
    shutil.copytree(code, assembly.folder / "asset.code", dirs_exist_ok=True)
    assembly.stack("Lacking", {"Role": role(), "Uses": function("unused", Runtime=RUNTIME)})
    lines: list[str] = []
    local.deploy(assembly.write(), progress=lines.append)

    assert re.match(r"Lacking: the function Uses has packages that are compiled for another machine", lines[-1])
    assert lines[-1].endswith(": its calls fail")
