"""The code of functions: what is left out of it, how much there may be, and that it is found from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cdk_distributed_map
from cdk_distributed_map import Capture, Combiner, ItemSource, Worker
from cdk_distributed_map.settings.code_folder import LEFT_OUT
from distmap import limits

if TYPE_CHECKING:
    from tests.construct.lab import Lab

USUAL = [
    *(".DS_Store", ".env", ".env.local", ".git/HEAD", ".mypy_cache/x", ".pytest_cache/v", ".ruff_cache/x"),
    *(".venv/bin/python", "__pycache__/handler.cpython-313.pyc", "cdk.out/tree.json", "old.pyc", ".coverage"),
    *("package/.DS_Store", "package/__pycache__/a.pyc", "node_modules/a/index.js", "venv/pyvenv.cfg", ".idea/x.xml"),
]
KEPT = ["handler.py", "package/__init__.py", "package/data.json", "environment.py", "requirements.txt"]


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    """One that stages its assets in a folder of its own, for it is looked into."""
    return new_lab()


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        if name != "handler.py":
            folder.joinpath(name).write_text("")


def shipped(lab: Lab, make: Callable[..., Any] | None = None, **options: Any) -> set[str]:
    """Return the files of the worker's asset."""
    lab.pipeline(worker=lab.python_worker(**options) if make is None else make(lab))
    return shipped_by(lab)


def shipped_by(lab: Lab) -> set[str]:
    handlers = Path(lab.app.synth().directory).glob("asset.*/handler.py")
    folders = {path.parent for path in handlers if "account_run" not in path.read_text()}
    assert len(folders) == 1
    (folder,) = folders
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_usual_names_are_left_out(lab: Lab) -> None:
    fill(lab.code, [*USUAL, *KEPT])

    assert shipped(lab) == set(KEPT)


def test_what_is_left_out_does_not_move_the_hash(new_lab: Callable[..., Lab]) -> None:
    hashes = []
    for names in ([], USUAL):
        lab = new_lab()
        fill(lab.code, names)
        lab.pipeline(worker=lab.python_worker())
        (function,) = (
            each for key, each in lab.resources("AWS::Lambda::Function").items() if key.startswith("PWorker")
        )
        hashes.append(function["Properties"]["Code"]["S3Key"])

    assert hashes[0] == hashes[1]


def test_more_is_left_out_and_taken_back(lab: Lab) -> None:
    fill(lab.code, ["tests/test_it.py", "package/tests/test_it.py", "notes.md", ".env", "keep.md", *KEPT])

    assert shipped(lab, exclude=["tests/", "*.md", "!keep.md", "!.env"]) == {*KEPT, "keep.md", ".env"}


def test_ignore_files_of_the_folder_count(lab: Lab) -> None:
    fill(lab.code, ["big.bin", "package/big.bin", "tests/a.py", "package/tests/a.py", *KEPT])
    (lab.code / ".lambdaignore").write_text("# what isn't shipped\n\n*.bin\n")
    (lab.code / ".dockerignore").write_text("tests\n")

    assert shipped(lab) == {*KEPT, "package/tests/a.py"}


def test_what_git_ignores_is_shipped(lab: Lab) -> None:
    fill(lab.code, ["vendored/library.py", *KEPT])
    (lab.code / ".gitignore").write_text("vendored/\n")

    assert shipped(lab) == {*KEPT, "vendored/library.py"}


@pytest.mark.parametrize(
    "options",
    [
        lambda folder: {
            "items": ItemSource.captured(Capture.python(folder, handler="handler.handler", exclude=["x/"]))
        },
        lambda folder: {"combine": Combiner.python(folder, handler="handler.handler", exclude=["x/"])},
    ],
    ids=["capture", "combine"],
)
def test_every_function_leaves_the_same_out(lab: Lab, options: Callable[[str], dict[str, Any]]) -> None:
    fill(lab.code, ["x/y", *USUAL, *KEPT])
    lab.pipeline(**options(str(lab.code)))
    assets = Path(lab.app.synth().directory).glob("asset.*/package")

    found = {path.relative_to(each.parent).as_posix() for each in assets for path in each.parent.rglob("*")}
    assert {name for name in found if name in {*USUAL, *KEPT, "x/y"}} == set(KEPT)


def test_fails_when_the_handler_itself_is_left_out(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"exclude leaves out handler.py, .*got \['\*.py'\]: .*'!handler.py'"):
        lab.python_worker(exclude=["*.py"])


def test_patterns_are_documented() -> None:
    assert len(set(LEFT_OUT)) == len(LEFT_OUT)


# -- size


def grow(folder: Path, name: str, size: int) -> None:
    folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
    with folder.joinpath(name).open("wb") as file:
        file.truncate(size)  # sparse: it takes no space


def test_fails_when_the_code_is_more_than_lambda_takes(lab: Lab) -> None:
    grow(lab.code, "models/large.bin", limits.MAX_CODE_BYTES)
    with pytest.raises(ValueError, match=r"folder .* at most 262,144,000 unzipped.*models/large.bin: .*exclude"):
        lab.python_worker()


def test_what_is_left_out_counts_for_nothing(lab: Lab) -> None:
    grow(lab.code, ".venv/lib/large.so", limits.MAX_CODE_BYTES)

    lab.python_worker()
    with pytest.raises(ValueError, match="large"):
        lab.python_worker(exclude=["!.venv/"])


# -- places

ELSEWHERE = """
import os, sys
import aws_cdk as cdk
from cdk_distributed_map import Capture, DistributedMapPipeline, ItemSource, Worker

os.makedirs("away")
worker = Worker.python("code", handler="handler.handler")
os.chdir("away")
app = cdk.App(outdir="out", analytics_reporting=False)
stack = cdk.Stack(app, "Stack")
DistributedMapPipeline(stack, "P", items=ItemSource.captured(Capture.ranges()), worker=worker)
assert app.synth().get_stack_by_name("Stack").template["Resources"]
"""


def test_code_is_found_where_the_program_has_gone_elsewhere(lab: Lab, tmp_path: Path) -> None:
    tmp_path.joinpath("code").symlink_to(lab.code)
    paths = [str(Path(cdk_distributed_map.__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("asset.*/python/distmap/wire.py"))


def test_without_staging_the_runtime_stays_where_it_is_named(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(context={"aws:cdk:disable-asset-staging": True, "aws:cdk:enable-asset-metadata": True})
    lab.pipeline(worker=Worker.python(str(lab.code), handler="handler.handler"))
    (layer,) = lab.resources("AWS::Lambda::LayerVersion").values()

    assert Path(layer["Metadata"]["aws:asset:path"], "python", "distmap", "wire.py").is_file()
