"""Reading a cloud assembly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.embedded.assembly import AssemblyError, read_assembly


def names(folder: Path) -> list[str]:
    return [stack.name for stack in read_assembly(folder)]


def test_stacks_come_after_those_they_depend_on(assembly: Any) -> None:
    assembly.stack("A", {}, after=("B",)).stack("B", {}, after=("C",)).stack("C", {})
    assert names(assembly.write()) == ["C", "B", "A"]


def test_stages_are_read_too(assembly: Any) -> None:
    assembly.stack("Top", {})
    assembly.nested("Stage").stack("Inner", {}).write()
    stacks = read_assembly(assembly.write())
    assert [stack.name for stack in stacks] == ["Top", "Inner"]
    assert stacks[1].template.parent.name == "assembly-Stage"


def test_assets_are_those_of_the_stack(assembly: Any) -> None:
    (stack,) = read_assembly(assembly.stack("A", {}).write())
    code, template = sorted(stack.assets, key=lambda asset: asset.zipped, reverse=True)
    assert (code.key, code.zipped, template.zipped) == ("code.zip", True, False)
    assert template.key.startswith("A-")  # a key goes with the content: a stack that changed is another file
    assert template.key.endswith(".json")


def test_fails_when_the_folder_is_no_assembly(tmp_path: Path) -> None:
    with pytest.raises(AssemblyError, match=r"is not a cloud assembly.*run cdk synth first"):
        read_assembly(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]"], ids=["broken", "array"])
def test_fails_when_the_manifest_is_not_an_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(AssemblyError, match=r"manifest\.json (is not JSON|must hold an object)"):
        read_assembly(tmp_path)


def test_fails_when_an_asset_is_an_image(assembly: Any) -> None:
    folder = assembly.stack("A", {}).write()
    manifest = json.loads((folder / "A.assets.json").read_text())
    manifest["dockerImages"] = {"image": {}}
    (folder / "A.assets.json").write_text(json.dumps(manifest))
    with pytest.raises(AssemblyError, match="container images, which do not run locally"):
        read_assembly(folder)


def test_fails_when_an_asset_is_built_by_a_command(assembly: Any) -> None:
    built = {"built": {"source": {"executable": ["make"]}, "key": "x"}}
    with pytest.raises(AssemblyError, match="built by a command"):
        read_assembly(assembly.stack("A", {}, files=built).write())
