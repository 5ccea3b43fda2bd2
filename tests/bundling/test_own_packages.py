"""Packages of one's own, named by their paths, are built and bundled beside those of an index."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cdk_distributed_map import Bundling
from cdk_distributed_map.bundling.own_packages import own_package
from cdk_distributed_map.bundling.requirement_files import find
from tests.bundling.assets import QUICK, asset, bundle, code, fails
from tests.bundling.wheelhouse import add_wheel
from tests.construct.lab import Lab

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "shared-code"
version = "1.0"
"""
# A build backend of its own, so that none has to be fetched: https://peps.python.org/pep-0517/.
BACKEND = """
import pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "shared_code-1.0-{tag}.whl"
    info = "shared_code-1.0.dist-info"
    files = {{
        "shared_code/__init__.py": pathlib.Path("shared_code.py").read_text(),
        f"{{info}}/METADATA": "Metadata-Version: 2.1\\nName: shared-code\\nVersion: 1.0\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }}
    record = "".join(f"{{key}},,\\n" for key in files)
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as wheel:
        for key, value in {{**files, f"{{info}}/RECORD": record}}.items():
            wheel.writestr(key, value)
    return name
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return add_project(tmp_path / "code of many" / "shared")


def add_project(folder: Path, tag: str = "py3-none-any") -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND.format(tag=tag))
    (folder / "shared_code.py").write_text("SHARED = 1\n")
    return folder


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_folder_is_built(lab: Lab, shared: Path, wheels: Path, installer: str) -> None:
    digest = add_wheel(wheels, "other")
    # With hashes of others, which a folder can't have.
    text = f"-e {os.path.relpath(shared, lab.code)}  # ours\nother==1.0 --hash=sha256:{digest}\n"
    folder = bundle(lab, text, bundling=Bundling.wheels(installer=installer))

    assert (folder / "shared_code" / "__init__.py").read_text() == "SHARED = 1\n"
    assert (folder / "other").is_dir()
    assert not (folder / "shared_code-1.0.dist-info" / "direct_url.json").exists()
    assert lab.warnings("distmap:InexactRequirements") == []


def test_its_content_decides_what_is_deployed(lab: Lab, shared: Path, tmp_path: Path) -> None:
    text = f"shared-code @ {shared.as_uri()}"
    first = bundle(lab, text)
    (shared / "build").mkdir()
    (shared / "build" / "left.py").write_text("")
    same = bundle(Lab(tmp_path / "same"), text)
    (shared / "shared_code.py").write_text("SHARED = 2\n")
    other = bundle(Lab(tmp_path / "other"), text)

    assert first.name == same.name != other.name
    assert (other / "shared_code" / "__init__.py").read_text() == "SHARED = 2\n"


def test_a_wheel_is_taken_as_it_is(lab: Lab, tmp_path: Path) -> None:
    add_wheel(lab.code, "mine")
    folder = bundle(lab, "./mine-1.0-py3-none-any.whl\nplain==1.0\n", exclude=["*.whl"])

    assert (folder / "mine" / "__init__.py").is_file()
    assert (folder / "plain").is_dir()


def test_fails_when_it_has_compiled_parts(lab: Lab, tmp_path: Path) -> None:
    built = add_project(tmp_path / "built", tag="cp311-cp311-linux_x86_64")

    assert "has compiled parts, which would be for this machine" in fails(lab, str(built), bundling=QUICK)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_fails_when_it_can_not_be_built(lab: Lab, shared: Path, installer: str) -> None:
    (shared / "backend.py").write_text("raise RuntimeError('no such thing')\n")
    message = fails(lab, f"{shared}\n", bundling=Bundling.wheels(installer=installer))

    assert f"{installer} can't build {shared}, which {lab.code / 'requirements.txt'} asks for" in message
    assert "no such thing" in message


def test_fails_when_it_is_not_there(lab: Lab) -> None:
    assert f"{lab.code / '../nowhere'}, which isn't there" in fails(lab, "../nowhere")


LINES = {
    "relative": ("./lib", "lib"),
    "above": ("../lib ; python_version > '3.8'", "../lib"),
    "absolute": ("FOLDER/lib[fast]", "lib"),
    "address": ("lib[fast]@ file://FOLDER/a%20b ; python_version > '3.8'", "a b"),
    "without a dot": ("sub/lib", "sub/lib"),
    "wheel": ("lib-1.0-py3-none-any.whl --hash=sha256:aa", "lib-1.0-py3-none-any.whl"),
    "archive": ("dist/lib-1.0.tar.gz", "dist/lib-1.0.tar.gz"),
    "of an index": ("lib[fast]>=1 ; python_version > '3.8'", None),
    "elsewhere": ("lib @ https://example.com/lib-1.0-py3-none-any.whl", None),
    "option": ("--find-links ./lib", None),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_paths_are_told_from_names(tmp_path: Path, line: str, expected: str | None) -> None:
    (tmp_path / "sub" / "lib").mkdir(parents=True)
    found = own_package(tmp_path, line.replace("FOLDER", str(tmp_path)))

    assert found == (None if expected is None else tmp_path / expected)


# -- requirements as pip and uv read them

MANY = """
--find-links "../more wheels"
-r base/base.txt
-c 'limits of all.txt'
chosen[fast] \\
    >= 1.0  # a comment
absent ; python_version < "3.13"
"""


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_requirements_are_read_whole(lab: Lab, wheels: Path, installer: str) -> None:
    more = lab.code.parent / "more wheels"
    more.mkdir()
    add_wheel(more, "chosen", requires=["quick; extra == 'fast'", "slow; extra == 'other'"], extras=["fast", "other"])
    add_wheel(more, "chosen", "2.0")
    for name in ("quick", "based"):
        add_wheel(wheels, name)
    (lab.code / "base").mkdir()
    (lab.code / "base" / "base.txt").write_text("based\n")
    (lab.code / "limits of all.txt").write_text("chosen<2\n")
    folder = bundle(lab, MANY, bundling=Bundling.wheels(installer=installer))

    assert {path.name for path in folder.glob("*.dist-info")} == {
        "based-1.0.dist-info",
        "chosen-1.0.dist-info",
        "quick-1.0.dist-info",
    }


# -- where a handler is


def test_requirements_may_be_beside_the_handler(lab: Lab) -> None:
    (lab.code / "app" / "work").mkdir(parents=True)
    (lab.code / "app" / "work" / "items.py").write_text("from elsewhere import handler\n")
    (lab.code / "app" / "work" / "requirements.txt").write_text("plain==1.0\n")
    worker = lab.python_worker(bundling=QUICK, handler="app.work.items.handler")
    lab.pipeline(worker=worker)
    folder = asset(lab)

    assert (folder / "plain").is_dir()
    assert [path.name for path in (folder / "app" / "work").iterdir()] == ["items.py"]


def test_fails_when_both_the_folder_and_the_handler_have_some(lab: Lab) -> None:
    (lab.code / "app").mkdir()
    (lab.code / "app" / "items.py").write_text("from elsewhere import handler\n")
    (lab.code / "app" / "pyproject.toml").write_text("[project]\ndependencies = ['plain']\n")
    message = fails(lab, "plain==1.0", handler="app.items.handler")

    assert "has requirements.txt and app/pyproject.toml" in message
    assert "Bundling.wheels(requirements='requirements.txt')" in message


def test_the_file_may_be_elsewhere(lab: Lab) -> None:
    (lab.code.parent / "all.txt").write_text("plain==1.0\n")
    folder = code(lab, bundling=Bundling.wheels(installer="uv", requirements="../all.txt"))

    assert (folder / "plain").is_dir()
    assert find(lab.code, None) is None
