"""Packages that a function's folder asks for are in its code: of the right kind, once, and always the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import aws_lambda as lambda_
from packaging.tags import cpython_tags

from cdk_distributed_map import Bundling, Capture, Combiner, ItemSource, Worker
from cdk_distributed_map.bundling.packages import packages_for
from cdk_distributed_map.bundling.target import Target
from distmap import limits
from tests.bundling.wheelhouse import AARCH64, X86_64, add_wheel, elf
from tests.construct.lab import Lab

ARM = Target(python=(3, 13), machine="aarch64")
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


def test_packages_are_beside_the_handler(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    folder = bundle(lab, "# what it needs\nplain==1.0  # the only one\n", bundling=None)

    info = "plain-1.0.dist-info"
    files = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    assert names(folder) == {"handler.py", "plain/__init__.py", *files}
    recorded = {line.split(",")[0] for line in (folder / info / "RECORD").read_text().splitlines()}
    assert recorded == {"plain/__init__.py", *files}
    said = capfd.readouterr().err
    assert "bundling the packages of" in said
    assert "for Python 3.13 on arm64 Linux with glibc 2.34, with pip" in said
    assert "bundled 1 packages" in said


def test_capture_and_combine_have_theirs(lab: Lab) -> None:
    (lab.code / "requirements.txt").write_text("plain==1.0")
    lab.pipeline(
        items=ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
        combine=Combiner.python(str(lab.code), handler="handler.handler"),
    )

    assert (asset(lab, "PCapture") / "plain").is_dir()
    assert asset(lab, "PCombine") == asset(lab, "PCapture")


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_the_hash_is_that_of_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str, wheels: Path
) -> None:
    add_wheel(wheels, "plain", "2.0")
    found = []
    for at, version in enumerate(["1.0", "1.0", "2.0"]):
        monkeypatch.setenv("DISTMAP_CACHE", str(tmp_path / f"cache{at}"))
        by = Bundling.wheels(installer=(installer, "pip", "uv")[at])
        found.append(bundle(Lab(tmp_path / str(at)), f"plain=={version}", bundling=by).name)

    assert found[0] == found[1] != found[2]


def test_nothing_is_fetched_twice(lab: Lab, tmp_path: Path, wheels: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = bundle(lab)
    shutil.rmtree(wheels)
    capfd.readouterr()
    other = Lab(tmp_path / "other")
    (other.code / "more.py").write_text("")
    second = bundle(other)

    assert names(second) == names(first) | {"more.py"}
    assert "bundl" not in capfd.readouterr().err


def test_what_is_missing_in_the_cache_is_fetched_again(lab: Lab, tmp_path: Path, cache: Path) -> None:
    first = bundle(lab)
    (gone,) = cache.rglob("plain/__init__.py")
    gone.unlink()

    assert names(bundle(Lab(tmp_path / "other"))) == names(first)


def test_several_at_once_get_the_same(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"

    def get(_: int) -> str:
        return packages_for(["plain==1.0"], ARM, identity="x", file=file, installer="uv", quiet=True).digest

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(get, range(4)))) == 1
    assert len(list(cache.iterdir())) == 1


def test_nothing_is_left_of_a_failed_bundle(lab: Lab, cache: Path) -> None:
    fails(lab, "plain==1.0\nabsent==1.0")

    assert list(cache.iterdir()) == []


# -- the function's own Python, architecture and glibc


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_wheels_are_of_the_architecture(lab: Lab, wheels: Path, machine: str, installer: str) -> None:
    for name, number in (("aarch64", AARCH64), ("x86_64", X86_64)):
        tag = f"cp313-cp313-manylinux_2_17_{name}.manylinux2014_{name}"
        add_wheel(wheels, "native", tag=tag, files={"native/core.so": elf(number)})
    architecture = lambda_.Architecture.ARM_64 if machine == "aarch64" else lambda_.Architecture.X86_64
    folder = bundle(lab, "native", architecture=architecture, bundling=Bundling.wheels(installer=installer))

    number = {"aarch64": AARCH64, "x86_64": X86_64}[machine]
    assert int.from_bytes((folder / "native" / "core.so").read_bytes()[18:20], "little") == number


FITTING = [
    (lambda_.Runtime.PYTHON_3_13, "cp313-cp313-manylinux_2_34_aarch64", True),
    (lambda_.Runtime.PYTHON_3_13, "cp313-cp313-manylinux_2_35_aarch64", False),
    (lambda_.Runtime.PYTHON_3_13, "cp312-abi3-manylinux_2_28_aarch64", True),
    (lambda_.Runtime.PYTHON_3_13, "cp312-cp312-manylinux_2_28_aarch64", False),
    (lambda_.Runtime.PYTHON_3_13, "cp313-cp313-musllinux_1_2_aarch64", False),
    (lambda_.Runtime.PYTHON_3_12, "cp312-cp312-manylinux_2_31_aarch64", True),
    (lambda_.Runtime.PYTHON_3_11, "cp311-cp311-manylinux_2_26_aarch64", True),
    (lambda_.Runtime.PYTHON_3_11, "cp311-cp311-manylinux_2_28_aarch64", False),
    (lambda_.Runtime.PYTHON_3_11, "cp311-cp311-manylinux2014_aarch64", True),
]


@pytest.mark.parametrize(("runtime", "tag", "fits"), FITTING, ids=[tag for _, tag, _ in FITTING])
def test_tags_are_those_of_the_runtime(runtime: lambda_.Runtime, tag: str, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    major, minor = runtime.name.removeprefix("python").split(".")
    target = Target(python=(int(major), int(minor)), machine="aarch64")
    assert (tag in map(str, cpython_tags(target.python, platforms=target.platforms()))) is fits


# By pip itself: a second or two each, for what the tags say already.
ASKED = [
    pytest.param(*case, id=case[1], marks=() if at in {0, 1} else pytest.mark.slow) for at, case in enumerate(FITTING)
]


@pytest.mark.parametrize(("runtime", "tag", "fits"), ASKED)
def test_wheels_fit_the_runtime(lab: Lab, wheels: Path, runtime: lambda_.Runtime, tag: str, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    add_wheel(wheels, "native", tag=tag, files={"native/core.so": elf(AARCH64)})
    if fits:
        assert (bundle(lab, "native==1.0", runtime=runtime, bundling=None) / "native" / "core.so").is_file()
    else:
        assert f"for Python {runtime.name.removeprefix('python')} on arm64" in fails(lab, "native", runtime=runtime)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_markers_are_about_the_function(lab: Lab, wheels: Path, installer: str) -> None:
    for name in ("arm", "intel", "new", "old", "windows"):
        add_wheel(wheels, name)
    add_wheel(
        wheels,
        "asking",
        requires=[
            "arm; platform_machine == 'aarch64'",
            "intel; platform_machine == 'x86_64'",
            "new; python_version >= '3.13'",
            "old; python_version < '3.13'",
            "windows; sys_platform == 'win32'",
        ],
    )
    folder = bundle(lab, "asking", bundling=Bundling.wheels(installer=installer))

    assert {path.name for path in folder.iterdir() if path.is_dir() and "." not in path.name} == {
        "asking",
        "arm",
        "new",
    }


def test_fails_when_a_module_is_compiled_for_another_machine(lab: Lab, wheels: Path) -> None:
    add_wheel(wheels, "built", files={"built/core.so": elf(X86_64)})

    message = fails(lab, "built==1.0", bundling=QUICK)
    assert "built/core.so" in message
    assert "compiled for another machine than Python 3.13 on arm64" in message


# -- refusals


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_fails_when_a_package_has_no_wheel(lab: Lab, wheels: Path, installer: str) -> None:
    add_wheel(wheels, "native", tag="cp313-cp313-macosx_11_0_arm64")
    message = fails(lab, "plain==1.0\nnative==1.0", bundling=Bundling.wheels(installer=installer))

    assert message.startswith("native==1.0, which")
    for part in ("has no wheel for Python 3.13 on arm64", "Bundling.docker()", "a layer with layers=["):
        assert part in message


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_fails_when_the_index_is_out_of_reach(lab: Lab, monkeypatch: pytest.MonkeyPatch, installer: str) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:1/simple")
    monkeypatch.setenv("UV_INDEX_URL", "http://user:secret@127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    message = fails(lab, "absent==1.0", bundling=Bundling.wheels(installer=installer))

    assert "can't reach a package index" in message
    assert "synthesize once with a connection" in message
    assert "FIND_LINKS=<folder>" in message
    assert "secret" not in message


def test_fails_when_a_hash_is_another(lab: Lab) -> None:
    message = fails(lab, f"plain==1.0 --hash=sha256:{'0' * 64}")

    assert "isn't the one whose hash it has" in message


REFUSED: dict[str, tuple[str, str, str]] = {
    "editable": ("requirements.txt", "-e .", "without -e"),
    "repository": ("requirements.txt", "git+https://user:secret@example.com/x.git", "a repository"),
    "runtime": ("requirements.txt", "cdk_distributed-map>=0.1", "a layer of every function already"),
    "dynamic": ("pyproject.toml", '[project]\nname="x"\ndynamic=["dependencies"]', "'dynamic'"),
    "poetry": ("pyproject.toml", '[tool.poetry.dependencies]\nplain="*"', "poetry lock"),
    "no-toml": ("pyproject.toml", "[", "is no TOML"),
    "old-poetry": ("poetry.lock", '[metadata]\nlock-version = "2.0"', "version 2.0.*Poetry 2"),
    "pdm": ("pdm.lock", "", "pdm export"),
    "conda": ("environment.yml", "", "Bundling.none()"),
}


@pytest.mark.parametrize(("name", "text", "expected"), REFUSED.values(), ids=REFUSED)
def test_fails_when_a_file_asks_for_what_no_wheel_answers(lab: Lab, name: str, text: str, expected: str) -> None:
    (lab.code / name).write_text(text)
    message = fails(lab)

    assert expected.replace(".*", "") in message or all(part in message for part in expected.split(".*"))
    assert "secret" not in message


def test_fails_when_two_files_say_what_is_needed(lab: Lab) -> None:
    (lab.code / "pylock.toml").write_text('lock-version = "1.0"\n')

    assert "Bundling.wheels(requirements='pylock.toml')" in fails(lab, "plain==1.0")


def test_fails_when_wheels_are_asked_for_and_no_package_is(lab: Lab) -> None:
    assert "asks for no package" in fails(lab, bundling=Bundling.wheels())


def test_fails_when_the_named_file_is_not_there(lab: Lab) -> None:
    assert "requirements names 'other.txt'" in fails(lab, bundling=Bundling.wheels(requirements="other.txt"))


def test_fails_when_code_and_packages_have_the_same_file(lab: Lab) -> None:
    (lab.code / "plain").mkdir()
    (lab.code / "plain" / "__init__.py").write_text("MINE = True\n")

    assert "plain/__init__.py" in fails(lab, "plain==1.0", bundling=QUICK)


def test_fails_when_a_package_would_hide_a_module(lab: Lab) -> None:
    (lab.code / "plain.py").write_text("MINE = True\n")

    assert "plain.py and plain of a package" in fails(lab, "plain==1.0", bundling=QUICK)


def test_fails_when_there_is_more_than_lambda_takes(lab: Lab, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_wheel(wheels, "large", files={"large/data.bin": bytes(100_000)})
    monkeypatch.setattr(limits, "MAX_CODE_BYTES", 100_000)
    message = fails(lab, "large==1.0", bundling=QUICK)

    assert "bytes of code with its packages, Lambda takes at most 100,000 unzipped" in message
    assert "the largest is large with 100," in message


def test_parts_of_packages_can_be_left_out(lab: Lab, wheels: Path) -> None:
    add_wheel(wheels, "large", files={"large/tests/test_it.py": b"", "large/core.py": b""})
    folder = bundle(lab, "large==1.0", bundling=Bundling.wheels(exclude=["*/tests/*.py", "METADATA"]))

    assert (folder / "large" / "core.py").is_file()
    assert not (folder / "large" / "tests").is_dir() or names(folder / "large" / "tests") == set()
    assert (folder / "large-1.0.dist-info" / "METADATA").is_file()
    assert "test_it" not in (folder / "large-1.0.dist-info" / "RECORD").read_text()


def test_inexact_requirements_are_said(lab: Lab) -> None:
    bundle(lab, "plain")

    (text,) = lab.warnings("distmap:InexactRequirements")
    assert "requirements.txt doesn't say which version of 'plain'" in text


# -- other ways


def test_no_bundling_leaves_the_folder_as_it_is(lab: Lab) -> None:
    assert names(bundle(lab, "absent==1.0", bundling=Bundling.none())) == {"handler.py", "requirements.txt"}


def test_the_tests_of_the_folder_stay_out(lab: Lab) -> None:
    (lab.code / "tests").mkdir()
    (lab.code / "tests" / "test_handler.py").write_text("")

    assert "tests/test_handler.py" not in names(bundle(lab))


WRITES = (
    "import os, pathlib; p = pathlib.Path(os.environ['DISTMAP_OUTPUT']); (p / 'handler.py').write_text('x');"
    "(p / 'says').write_text(os.environ['DISTMAP_PYTHON'] + os.environ['DISTMAP_ARCHITECTURE'])"
)


def test_a_command_fills_the_code(lab: Lab) -> None:
    folder = code(lab, bundling=Bundling.command([sys.executable, "-c", WRITES]))

    assert names(folder) == {"handler.py", "says"}
    assert (folder / "says").read_text() == "3.13arm64"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"),
        ([sys.executable, "-c", "pass"], "wrote nothing"),
        (["no-such-command"], "can't be run"),
    ],
    ids=["fails", "nothing", "absent"],
)
def test_fails_when_a_command_does_not_do_it(lab: Lab, words: list[str], expected: str) -> None:
    assert expected in fails(lab, bundling=Bundling.command(words))


@pytest.mark.parametrize("docker", ["no-such-docker", "false"])
def test_fails_when_docker_does_not_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch, docker: str) -> None:
    monkeypatch.setenv("CDK_DOCKER", docker)

    assert "leave bundling out for wheels" in fails(lab, "plain==1.0", bundling=Bundling.docker())


IN_DOCKER = """
import aws_cdk as cdk
from cdk_distributed_map import Bundling, DistributedMapPipeline, ItemSource, Worker

app = cdk.App(outdir="../out", analytics_reporting=False)
bundling = Bundling.docker(image=cdk.DockerImage.from_registry("builder"), command=["make"])
worker = Worker.python(".", handler="handler.handler", bundling=bundling)
DistributedMapPipeline(cdk.Stack(app, "S"), "P", items=ItemSource.state_array(), worker=worker)
app.synth()
"""


def test_docker_is_run_as_the_cdk_does(lab: Lab, tmp_path: Path) -> None:
    stand_in = tmp_path / "docker"
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"with open({str(tmp_path / 'calls')!r}, 'a') as calls: calls.write(json.dumps(sys.argv[1:]) + chr(10))\n"
        "for each in sys.argv:\n"
        "    if each.endswith(':/asset-output') or ':/asset-output:' in each:\n"
        "        pathlib.Path(each.split(':')[0], 'handler.py').write_text('built')\n"
    )
    stand_in.chmod(0o755)
    (lab.code / "app.py").write_text(IN_DOCKER)
    # In a process of its own: Node has the environment that it was started with.
    variables = {**os.environ, "CDK_DOCKER": str(stand_in)}
    subprocess.run([sys.executable, str(lab.code / "app.py")], cwd=lab.code, env=variables, check=True)

    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    (run,) = (call for call in calls if call[0] == "run")
    assert run[-2:] == ["builder", "make"]
    assert "linux/arm64" in run
    assert "built" in {path.read_text() for path in (tmp_path / "out").glob("asset.*/handler.py")}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Bundling.wheels(installer="conda"), "must be 'pip' or 'uv', got 'conda'"),
        (lambda: Bundling.command([]), "at least one word"),
        (lambda: Bundling.docker(command=[]), "at least one word"),
        (lambda: Worker.python(".", handler="a.b", bundling="docker"), "bundling must be a Bundling"),  # type: ignore[arg-type]
    ],
    ids=["installer", "command", "docker", "kind"],
)
def test_fails_when_bundling_is_none_of_its_kinds(make: Callable[[], object], expected: str) -> None:
    with pytest.raises((ValueError, TypeError), match=expected):
        make()
