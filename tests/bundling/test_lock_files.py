"""Every file that says which packages are needed is read: locks exactly, with their hashes and markers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cdk_distributed_map import Bundling
from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.requirement_files import find
from tests.bundling.assets import code, fails
from tests.bundling.wheelhouse import add_wheel
from tests.construct.lab import Lab

POETRY = """
[[package]]
name = "plain"
version = "1.0"
groups = ["main", "dev"]
markers = "python_version >= '3.11'"
files = [{file = "plain-1.0-py3-none-any.whl", hash = "sha256:aa"}, {file = "plain-1.0.tar.gz", hash = "sha256:bb"}]

[[package]]
name = "tool"
version = "1.0"
groups = ["dev"]
files = []

[[package]]
name = "extra"
version = "1.0"
optional = true
groups = ["main"]
markers = "extra == 'x'"
files = []

[metadata]
lock-version = "2.1"
"""
PYLOCK = """
lock-version = "1.0"
created-by = "t"

[[packages]]
name = "plain"
version = "1.0"
marker = "python_version >= '3.11'"
wheels = [{name = "plain-1.0-py3-none-any.whl", hashes = {sha256 = "aa"}}]
sdist = {name = "plain-1.0.tar.gz", hashes = {sha256 = "bb"}}
"""
PIPFILE_LOCK = {
    "default": {
        "plain": {"version": "==1.0", "hashes": ["sha256:aa", "sha256:bb"], "markers": "python_version >= '3.11'"}
    },
    "develop": {"tool": {"version": "==1.0"}},
}
UV_PROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["plain"]\n'
UV = """
version = 1
revision = 3
requires-python = ">=3.11"

[[package]]
name = "p"
version = "1"
source = { virtual = "." }
dependencies = [{ name = "plain" }]

[package.metadata]
requires-dist = [{ name = "plain" }]

[[package]]
name = "plain"
version = "1.0"
source = { registry = "https://packages.example.com/simple" }
wheels = [{ url = "https://packages.example.com/plain-1.0-py3-none-any.whl", hash = "sha256:aa" }]
"""
EXACTLY = ["plain==1.0 ; python_version >= '3.11' --hash=sha256:aa --hash=sha256:bb"]
FILES: dict[str, tuple[dict[str, str], list[str]]] = {
    "poetry.lock": ({"poetry.lock": POETRY, "pyproject.toml": '[project]\ndependencies=["plain"]'}, EXACTLY),
    "pylock.toml": ({"pylock.toml": PYLOCK}, EXACTLY),
    "Pipfile.lock": ({"Pipfile.lock": json.dumps(PIPFILE_LOCK), "Pipfile": '[packages]\nplain="*"'}, EXACTLY),
    "Pipfile": (
        {"Pipfile": '[packages]\nplain = "*"\nother = {version = ">=1", extras = ["a"]}\n[dev-packages]\ntool = "*"'},
        ["plain", "other[a]>=1"],
    ),
    "pyproject.toml": ({"pyproject.toml": '[project]\ndependencies=["plain>=1", "other"]'}, ["plain>=1", "other"]),
    "pyproject.toml-of-tools": (
        {"pyproject.toml": "[tool.ruff]\nline-length=120", "requirements.txt": "plain==1.0"},
        ["plain==1.0"],
    ),
    "pyproject.toml-that-leaves-it-to-requirements.txt": (
        {"pyproject.toml": '[project]\nname="x"\ndynamic=["dependencies"]', "requirements.txt": "plain==1.0"},
        ["plain==1.0"],
    ),
    "setup.cfg-of-tools": ({"setup.cfg": "[flake8]\n", "requirements.txt": "plain==1.0"}, ["plain==1.0"]),
    "requirements.txt": (
        {
            "requirements.txt": "-r more.txt\nplain==1.0 \\\n  --hash=sha256:aa  # why\n\n",
            "more.txt": "other  # comment\n-r requirements.txt\n",
        },
        ["other", "plain==1.0    --hash=sha256:aa"],
    ),
}


@pytest.mark.parametrize(("files", "expected"), FILES.values(), ids=FILES)
def test_a_file_is_read(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = find(tmp_path, None)

    assert found is not None
    assert list(found.lines) == expected
    assert [each for each in found.inexact(["plain==1.0"]) if each.startswith("plain==")] == []


# -- from a lock to the function's code

RIGHT, WRONG = "right hash", "wrong hash"


def locked(kind: str, digest: str) -> dict[str, str]:
    """Return the files of a lock that has the wheel by its hash."""
    files = {
        "requirements.txt": {"requirements.txt": "plain==1.0 --hash=sha256:aa\n"},
        "poetry.lock": {"poetry.lock": POETRY},
        "pylock.toml": {"pylock.toml": PYLOCK},
        "Pipfile.lock": {"Pipfile.lock": json.dumps(PIPFILE_LOCK), "Pipfile": ""},
        "uv.lock": {"uv.lock": UV, "pyproject.toml": UV_PROJECT},
    }[kind]
    other = "b" * 64
    # The wheel's own comes last: it may begin as what the other stands for.
    return {
        name: text.replace(":bb", f":{other}")
        .replace('"bb"', f'"{other}"')
        .replace(":aa", f":{digest}")
        .replace('"aa"', f'"{digest}"')
        for name, text in files.items()
    }


# With pip where that says something else; its start takes a second.
END_TO_END = [
    *((kind, "uv") for kind in ("requirements.txt", "poetry.lock", "pylock.toml", "Pipfile.lock", "uv.lock")),
    ("requirements.txt", "pip"),
    pytest.param("poetry.lock", "pip", marks=pytest.mark.slow),
    pytest.param("Pipfile.lock", "pip", marks=pytest.mark.slow),
    pytest.param("uv.lock", "pip", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "installer"), END_TO_END)
def test_a_lock_is_bundled_by_its_hashes(tmp_path: Path, wheels: Path, kind: str, installer: str) -> None:
    digest = add_wheel(wheels, "plain", scripts={"plain": "plain:main"})
    add_wheel(wheels, "plain", "2.0")
    for name, given in ((RIGHT, digest), (WRONG, "0" * 64)):
        lab = Lab(tmp_path / name)
        for file, text in locked(kind, given).items():
            (lab.code / file).write_text(text)
        by = Bundling.wheels(installer=installer)
        if name == RIGHT:
            expected = {"handler.py", "plain", "plain-1.0.dist-info"}
            assert {path.name for path in code(lab, bundling=by).iterdir()} == expected
            assert lab.warnings("distmap:InexactRequirements") == []
        else:
            assert "isn't the one whose hash it has" in fails(lab, bundling=by)


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("kind", ["Pipfile", "pyproject.toml"])
def test_what_is_not_locked_is_bundled_and_said(lab: Lab, wheels: Path, kind: str, installer: str) -> None:
    add_wheel(wheels, "plain", "2.0")
    text = {"Pipfile": '[packages]\nplain = "<2"', "pyproject.toml": '[project]\ndependencies = ["plain<2"]'}[kind]
    (lab.code / kind).write_text(text)
    folder = code(lab, bundling=Bundling.wheels(installer=installer))

    assert {path.name for path in folder.iterdir()} == {"handler.py", "plain", "plain-1.0.dist-info"}
    (warning,) = lab.warnings("distmap:InexactRequirements")
    assert f"{kind} doesn't say which version of 'plain<2'" in warning


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])  # Windows' editors, and its PowerShell
def test_marks_of_encodings_and_other_ends_of_lines_are_no_part_of_it(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "requirements.txt").write_bytes("plain==1.0  # caf\xe9\r\nother \\\r\n  >= 2\r\n".encode(encoding))
    found = find(tmp_path, None)

    assert found is not None
    assert [line.split() for line in found.lines] == [["plain==1.0"], ["other", ">=", "2"]]


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "--index-url https://example.com\n"], ids=["empty", "comment", "option"]
)
def test_a_file_may_ask_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "requirements.txt").write_text(text)

    assert find(tmp_path, None) is None


def test_what_it_names_decides_too(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-c limits.txt\n./library\nplain")
    (tmp_path / "library").mkdir()
    identities = set()
    for name in ("limits.txt", "library/setup.py"):
        for text in ("plain<2", "plain<3"):
            (tmp_path / "limits.txt").touch()
            (tmp_path / name).write_text(text)
            found = find(tmp_path, None)
            assert found is not None
            identities.add(found.identity)

    assert len(identities) == 4


@pytest.fixture
def uv_project(tmp_path: Path, wheels: Path) -> Path:
    add_wheel(wheels, "tool")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["plain"]\n'
        '[dependency-groups]\ndev = ["tool"]\n'
    )
    uv = shutil.which("uv")
    assert uv is not None
    subprocess.run([uv, "lock", "--quiet"], cwd=folder, check=True)
    return folder


def test_a_lock_of_uv_is_read_by_uv(uv_project: Path) -> None:
    found = find(uv_project, None)

    assert found is not None
    (line,) = (line for line in found.lines if not line.startswith("-"))
    assert line.startswith("plain==1.0")


def test_fails_when_a_lock_of_uv_does_not_fit_its_project(uv_project: Path, wheels: Path) -> None:
    project = uv_project / "pyproject.toml"
    project.write_text(project.read_text().replace('["plain"]', '["plain", "tool"]'))

    with pytest.raises(BundlingError, match="run 'uv lock'"):
        find(uv_project, None)


def test_a_lock_for_a_newer_python_than_this_is_read(uv_project: Path) -> None:
    for file in uv_project.iterdir():
        file.write_text(file.read_text().replace(">=3.11", ">=3.99"))
    found = find(uv_project, None)

    assert found is not None
    assert [line[:10] for line in found.lines if not line.startswith("-")] == ["plain==1.0"]


def test_fails_when_uv_is_not_there(uv_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(BundlingError, match="uv's, which isn't on the PATH: install it"):
        find(uv_project, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('groups = ["main", "dev"]', 'groups = ["main"]\nsource = {type = "git", url = "x"}'),
    ],
    ids=["git"],
)
def test_fails_when_a_lock_has_a_repository(tmp_path: Path, change: Callable[[str], str]) -> None:
    (tmp_path / "poetry.lock").write_text(change(POETRY))

    with pytest.raises(BundlingError, match="plain from a repository"):
        find(tmp_path, None)


def test_a_member_of_a_workspace_is_read_from_its_lock(tmp_path: Path, wheels: Path) -> None:
    for name in ("tool", "setuptools"):
        add_wheel(wheels, name)
    built = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    head = '[project]\nname = "{}"\nversion = "1"\nrequires-python = ">=3.11"\n'
    texts = {
        "": head.format("root") + '[tool.uv.workspace]\nmembers = ["work/*", "my libs/*"]\nexclude = ["work/other"]\n',
        "work/squares": head.format("squares")
        + 'dependencies = ["plain", "shared"]\n[tool.uv.sources]\nshared = {workspace = true}\n',
        "work/other": head.format("other") + 'dependencies = ["tool"]\n',
        "my libs/shared": head.format("shared") + 'dependencies = ["tool"]\n' + built,
    }
    for place, text in texts.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "pyproject.toml").write_text(text)
    uv = shutil.which("uv")
    assert uv is not None
    subprocess.run([uv, "lock", "--quiet"], cwd=tmp_path, check=True)

    found = find(tmp_path / "work" / "squares", None)
    assert found is not None
    names = [line.partition(" --hash")[0] for line in found.lines if not line.startswith("-")]
    assert names == [str(tmp_path / "my libs" / "shared"), "plain==1.0", "tool==1.0"]
    apart = find(tmp_path / "work" / "other", None)
    assert apart is not None
    assert apart.lines == ("tool",)
