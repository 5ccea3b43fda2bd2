"""What a function finds around it: Lambda's environment, and nothing of this machine's."""

from __future__ import annotations

import io
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.caches import cache_folder
from cdk_distributed_map.local.functions import UnsupportedRuntimeError
from cdk_distributed_map.local.functions.function_code import CodeError, unpack
from cdk_distributed_map.local.functions.pythons import OLDEST, declared, find, python_for


def answer(result: Any) -> Any:
    return json.loads(result.payload)


def archive(entries: dict[str, str], modes: dict[str, int] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, text in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            opened.writestr(info, text)
    return buffer.getvalue()


def test_the_environment_is_lambdas_and_the_functions(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "x")
    lab.configure(environment={"TABLE": "t", "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com"}, role="role")
    variables = answer(lab.call("environment"))
    assert variables["TABLE"] == "t"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == "environment"
    assert variables["AWS_SESSION_TOKEN"] == "role"
    assert variables["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert not {"AWS_PROFILE", "SECRET_OF_THIS_MACHINE", "AWS_ENDPOINT_URL_S3"} & variables.keys()


def test_nothing_in_a_function_leads_to_the_real_aws(lab: Any) -> None:
    lab.configure(environment={"AWS_ENDPOINT_URL": "https://example.com", "AWS_CONFIG_FILE": "/etc/aws"})
    variables = answer(lab.call("environment"))
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert variables["AWS_CONFIG_FILE"] == variables["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    assert variables["AWS_EC2_METADATA_DISABLED"] == "true"


def test_the_path_is_that_of_lambda(lab: Any, tmp_path: Path, code: Path) -> None:
    layers = tmp_path / "opt"
    (layers / "python").mkdir(parents=True)
    lab.configure(layers=layers)
    path, folder, _ = answer(lab.call("path"))
    assert path[0] == folder == str(code)
    assert path[1:3] == [str(layers / "python/lib/python3.11/site-packages"), str(layers / "python")]


def test_boto3_is_there_and_the_users_own_comes_first(lab: Any, code: Path) -> None:
    assert "runtime" in answer(lab.call("import_boto3"))
    (code / "boto3.py").write_text("")
    assert answer(lab.call("import_boto3")) == str(code / "boto3.py")


@pytest.mark.parametrize("module", ["pytest", "ministack", "aws_cdk", "pip"])
def test_other_packages_of_this_environment_are_not_there(lab: Any, module: str) -> None:
    error = answer(lab.call("import_module", json.dumps(module).encode()))
    assert error["errorType"] == "ModuleNotFoundError"


def test_layers_are_merged_in_their_order(lab: Any, tmp_path: Path) -> None:
    first = archive({"python/shared.py": "name = 1", "python/one.py": ""})
    second = archive({"python/shared.py": "name = 2"})
    folder = unpack([first, second], tmp_path)
    assert (folder / "python/shared.py").read_text() == "name = 2"
    lab.configure(layers=folder)
    assert answer(lab.call("import_module", b'"one"')) == str(folder / "python" / "one.py")


def test_code_is_unpacked_once_with_its_modes(tmp_path: Path) -> None:
    zipped = archive({"run.sh": "#!"}, {"run.sh": stat.S_IFREG | 0o755})
    folder = unpack([zipped], tmp_path)
    assert (folder / "run.sh").stat().st_mode & 0o111
    before = (folder / "run.sh").stat().st_ino
    assert unpack([zipped], tmp_path) == folder
    assert (folder / "run.sh").stat().st_ino == before


def _change(file: Path) -> None:
    file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize(
    "alter",
    [
        lambda folder: _change(folder / "a.py"),
        lambda folder: (folder / "a.py").write_text("longer than it was before"),
        lambda folder: (folder / "a.py").unlink(),
        lambda folder: (folder / "in" / "b").chmod(0o644),
        lambda folder: (folder / "sitecustomize.py").write_text("import evil"),
        lambda folder: (folder / "added").symlink_to("/etc"),
        lambda folder: shutil.rmtree(folder / "in"),
    ],
    ids=["changed", "longer", "gone", "mode", "added", "link added", "folder gone"],
)
def test_code_that_was_altered_in_the_cache_is_unpacked_again(tmp_path: Path, alter: Callable[[Path], object]) -> None:
    zipped = [archive({"a.py": "one", "in/b": "two"}, {"in/b": 0o755}), archive({"c": "three"})]
    folder = unpack(zipped, tmp_path)
    (folder / "__pycache__").mkdir()
    assert unpack(zipped, tmp_path) == folder
    assert (folder / "__pycache__").is_dir()
    alter(folder)
    assert unpack(zipped, tmp_path) == folder
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert files == {"a.py": "one", "in/b": "two", "c": "three"}
    assert stat.S_IMODE((folder / "in" / "b").stat().st_mode) == 0o755
    assert not (folder / "added").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "entries",
    [{"../out.py": ""}, {"a/../../out.py": ""}],
    ids=["parent", "parent of a folder"],
)
def test_fails_when_an_entry_points_out_of_its_folder(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(CodeError, match="points out of its folder"):
        unpack([archive(entries)], tmp_path)
    assert not (tmp_path / "out.py").exists()


def test_fails_when_a_link_points_out_of_its_folder(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="link that points out"):
        unpack([archive({"link": "/etc"}, {"link": stat.S_IFLNK | 0o777})], tmp_path)


def test_fails_when_the_code_is_no_zip_file(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match="not a zip file"):
        unpack([b"text"], tmp_path)


@pytest.mark.parametrize("runtime", ["nodejs24.x", "python", "provided.al2023", ""])
def test_fails_when_a_runtime_is_not_python(runtime: str) -> None:
    with pytest.raises(UnsupportedRuntimeError, match="do not run locally"):
        declared(runtime)


def test_the_python_a_function_declares_is_used_where_it_is(lab: Any) -> None:
    others = [(3, minor) for minor in range(OLDEST[1], 15) if (3, minor) != sys.version_info[:2]]
    installed = [version for version in others if find(version) is not None]
    if not installed:
        pytest.skip("this machine has one Python")
    lab.configure(runtime=f"python3.{installed[0][1]}", timeout=20)
    _, _, version = answer(lab.call("path"))
    assert tuple(version) == installed[0]
    assert lab.warnings == []


def test_another_python_is_used_with_a_warning_where_it_is_not(lab: Any) -> None:
    lab.configure(runtime="python3.9", timeout=20)
    version = answer(lab.call("path"))[2]
    nearest, _ = python_for("python3.9")
    assert tuple(version) == nearest.version
    used = ".".join(map(str, nearest.version))
    assert lab.warnings == [f"python3.9 cannot be run on this machine: its functions run on Python {used} instead"]


@pytest.mark.parametrize("home", ["file", "nobody's"], ids=str)
def test_code_is_unpacked_elsewhere_where_home_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").write_text("")
    for name in ("DISTMAP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", (lambda: tmp_path / "file") if home == "file" else no_home)
    folder = cache_folder()
    (folder / "probe").write_text("")
    assert tmp_path not in folder.parents
