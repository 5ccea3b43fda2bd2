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

import pytest
from aws_cdk import aws_lambda as lambda_
from packaging.tags import cpython_tags

from cdk_distributed_map import Bundling, Capture, Combiner, ItemSource, Worker
from cdk_distributed_map.bundling import install
from cdk_distributed_map.bundling.errors import BundlingError
from cdk_distributed_map.bundling.packages import packages_for
from cdk_distributed_map.bundling.target import Target
from distmap import limits
from tests.bundling.assets import QUICK, asset, bundle, code, fails, names
from tests.bundling.wheelhouse import AARCH64, X86_64, add_wheel, elf
from tests.construct.lab import Lab

ARM = Target(python=(3, 13), machine="aarch64")
# What `make test` asks pip elsewhere, or uv in the same test, `make test-all` asks pip once more.
BOTH = [pytest.param("pip", marks=pytest.mark.slow), "uv"]


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
        items=ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler", bundling=QUICK)),
        combine=Combiner.python(str(lab.code), handler="handler.handler", bundling=QUICK),
    )

    assert (asset(lab, "PCapture") / "plain").is_dir()
    assert asset(lab, "PCombine") == asset(lab, "PCapture")


@pytest.mark.parametrize("installer", BOTH)
def test_the_hash_is_that_of_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installer: str, wheels: Path
) -> None:
    add_wheel(wheels, "plain", "2.0")
    add_wheel(wheels, "other")
    found = []
    for at, version in enumerate(["1.0", "1.0", "2.0"]):
        monkeypatch.setenv("DISTMAP_CACHE", str(tmp_path / f"cache{at}"))
        by = Bundling.wheels(installer=(installer, "pip", "uv")[at])
        lab = Lab(tmp_path / str(at))
        # Another folder, day, order of files and of requirements, and other habits of the file system.
        for name in ("a.py", "b.py")[:: (1, -1, 1)[at]]:
            (lab.code / name).write_text(name)
            (lab.code / name).chmod((0o644, 0o600, 0o644)[at])
            os.utime(lab.code / name, (at * 1e9, at * 1e9))
        lines = ["other==1.0", f"plain=={version}"][:: (1, -1, 1)[at]]
        found.append(bundle(lab, "\n".join(lines), bundling=by).name)

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
        return packages_for(["plain==1.0"], ARM, identity="x", file=file, installer="uv").digest

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(get, range(4)))) == 1
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("by", ["pip", "uv"])
def test_progress_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setattr(install, "_PROGRESS_SECONDS", 0.01)
    said: list[str] = []
    packages_for(["plain==1.0"], ARM, identity="x", file=tmp_path / "requirements.txt", installer=by, say=said.append)

    assert said[0].startswith("bundling the packages of ")
    assert said[-1].startswith("bundled 1 packages, ")
    assert {text.partition(" ")[0] for text in said[1:-1]} <= {"asking", "looking", "downloading", "unpacking"}
    assert said[1].endswith(" (0 s)")


def test_nothing_is_left_of_a_failed_bundle(lab: Lab, cache: Path) -> None:
    fails(lab, "plain==1.0\nabsent==1.0")

    assert list(cache.iterdir()) == []


# -- the function's own Python, architecture and glibc


@pytest.mark.parametrize(
    ("machine", "installer"),
    [
        pytest.param("aarch64", "pip", id="aarch64-pip", marks=pytest.mark.slow),
        pytest.param("aarch64", "uv", id="aarch64-uv"),
        pytest.param("x86_64", "pip", id="x86_64-pip"),
        pytest.param("x86_64", "uv", id="x86_64-uv"),
    ],
)
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
ASKED = [pytest.param(*case, id=case[1], marks=() if at == 1 else pytest.mark.slow) for at, case in enumerate(FITTING)]


@pytest.mark.parametrize(("runtime", "tag", "fits"), ASKED)
def test_wheels_fit_the_runtime(lab: Lab, wheels: Path, runtime: lambda_.Runtime, tag: str, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    add_wheel(wheels, "native", tag=tag, files={"native/core.so": elf(AARCH64)})
    if fits:
        assert (bundle(lab, "native==1.0", runtime=runtime, bundling=None) / "native" / "core.so").is_file()
    else:
        assert f"for Python {runtime.name.removeprefix('python')} on arm64" in fails(lab, "native", runtime=runtime)


@pytest.mark.parametrize("installer", BOTH)
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


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("minor", [11, 14])
def test_packages_are_for_the_python_of_the_function(tmp_path: Path, wheels: Path, installer: str, minor: int) -> None:
    add_wheel(wheels, "choosy", python=f"==3.{minor}.*")
    file = tmp_path / "requirements.txt"
    for version, fits in ((minor, True), (minor - 1, False)):
        target = Target(python=(3, version), machine="aarch64")
        if fits:
            packages = packages_for(["choosy"], target, identity="x", file=file, installer=installer)
            assert packages.versions == ("choosy==1.0",)
        else:
            with pytest.raises(
                BundlingError, match=rf"choosy.* needs Python ==3\.{minor}\.\*, and .*Python 3\.{version}"
            ):
                packages_for(["choosy"], target, identity="x", file=file, installer=installer)


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
    "itself": ("requirements.txt", "-e .", "asks for '.', its own folder"),
    "sources": (
        "pyproject.toml",
        '[project]\nname="x"\ndependencies=["y"]\n[tool.uv.sources]\ny={workspace=true}',
        "uv's own words.*root of its workspace: run 'uv lock'",
    ),
    "repository": ("requirements.txt", "git+https://user:secret@example.com/x.git", "a repository"),
    "runtime": ("requirements.txt", "cdk_distributed-map>=0.1", "a layer of every function already"),
    "dynamic": ("pyproject.toml", '[project]\nname="x"\ndynamic=["dependencies"]', "'dynamic'"),
    "poetry": ("pyproject.toml", '[tool.poetry.dependencies]\nplain="*"', "poetry lock"),
    "no-toml": ("pyproject.toml", "[", "is no TOML"),
    "old-poetry": ("poetry.lock", '[metadata]\nlock-version = "2.0"', "version 2.0.*Poetry 2"),
    "pdm": ("pdm.lock", "", "pdm export"),
    "conda": ("environment.yml", "", "Bundling.none()"),
    "pip-tools": ("requirements.in", "plain", "pip-compile requirements.in"),
    "setup": ("setup.py", "setup(install_requires=['plain'])", "requirements.txt or a pyproject.toml"),
    "gone": ("requirements.txt", "-r gone.txt", "requirements.txt has '-r gone.txt', but .*gone.txt isn't there"),
    "gone-limits": ("requirements.txt", "-c gone.txt\nplain", "has '-c gone.txt', but .*gone.txt isn't there"),
    "address": ("requirements.txt", "-c https://example.com/c.txt\nplain", "isn't read from there: put that file"),
    "built": ("requirements.txt", "--no-binary plain\nplain", "built on this machine: leave it out"),
}


@pytest.mark.parametrize(("name", "text", "expected"), REFUSED.values(), ids=REFUSED)
def test_fails_when_a_file_asks_for_what_no_wheel_answers(lab: Lab, name: str, text: str, expected: str) -> None:
    (lab.code / name).write_text(text)
    message = fails(lab)

    assert expected.replace(".*", "") in message or all(part in message for part in expected.split(".*"))
    assert "secret" not in message


def test_fails_when_requirements_are_in_another_encoding(lab: Lab) -> None:
    (lab.code / "requirements.txt").write_bytes("plain==1.0  # caf\xe9".encode("latin-1"))

    assert "requirements.txt is no UTF-8: " in (message := fails(lab))
    assert message.endswith(": save it as UTF-8")


@pytest.mark.parametrize(("target", "where"), [("gone", "nowhere"), ("..", "to a folder that it is in")])
def test_fails_when_a_link_can_not_be_followed(lab: Lab, target: str, where: str) -> None:
    (lab.code / "data").mkdir()
    (lab.code / "data" / "link").symlink_to(target)

    assert f"data/link in folder {str(lab.code)!r} is a link that leads {where}" in fails(lab, "plain", bundling=QUICK)


@pytest.mark.parametrize("target", ["gone", ".."])
def test_links_that_are_excluded_are_not_followed(lab: Lab, target: str) -> None:
    (lab.code / "data").mkdir()
    (lab.code / "data" / "link").symlink_to(target)

    assert "plain/__init__.py" in names(bundle(lab, exclude=["data/link"]))


def test_links_are_followed(lab: Lab) -> None:
    shared = lab.code.parent / "shared"
    shared.mkdir()
    (shared / "rules.json").write_text("{}")
    (lab.code / "rules").symlink_to(shared)
    (lab.code / "same.json").symlink_to(shared / "rules.json")

    folder = bundle(lab)
    assert {"rules/rules.json", "same.json"} < names(folder)
    assert not any(path.is_symlink() for path in folder.rglob("*"))


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


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_fails_when_layers_make_it_more_than_lambda_takes(lab: Lab, tmp_path: Path, packed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    folder = tmp_path / "layer"
    (folder / "python").mkdir(parents=True)
    with (folder / "python" / "model.bin").open("wb") as sparse:
        sparse.truncate(limits.MAX_CODE_BYTES - 1000)
    place = shutil.make_archive(str(tmp_path / "packed"), "zip", folder) if packed else str(folder)
    layer = lambda_.LayerVersion(lab.stack, "Model", code=lambda_.Code.from_asset(place))

    message = fails(lab, layers=[layer])
    assert "bytes of code with its layers (its code " in message
    assert "the layer 'Stack/DistmapRuntime' " in message
    assert "the layer 'Stack/Model' 262,143,000), Lambda takes at most 262,144,000 unzipped" in message


EXCLUDED = {
    "name": ("*.pyi", {"large/core.pyi"}),
    "folder": ("tests/", {"large/tests/test_it.py", "large/sub/tests/data/a.txt"}),
    "path": ("large/tests", {"large/tests/test_it.py"}),
    "top": ("/large/sub", {"large/sub/tests/data/a.txt"}),
    "not at the top": ("/sub", set()),
    "stars": ("*/tests/*.py", {"large/tests/test_it.py"}),
    "double stars": ("**/tests/**", {"large/tests/test_it.py", "large/sub/tests/data/a.txt"}),
    "metadata": ("METADATA", set()),
}


@pytest.mark.parametrize(("pattern", "expected"), EXCLUDED.values(), ids=EXCLUDED)
def test_parts_of_packages_can_be_left_out(wheels: Path, tmp_path: Path, pattern: str, expected: set[str]) -> None:
    files = ("core.py", "core.pyi", "tests/test_it.py", "sub/tests/data/a.txt")
    add_wheel(wheels, "large", files={f"large/{name}": b"" for name in files})
    file = tmp_path / "requirements.txt"
    packages = packages_for(["large"], ARM, identity="x", file=file, installer="uv", exclude=[pattern])

    info = packages.folder / "large-1.0.dist-info"
    assert {f"large/{name}" for name in files} - names(packages.folder) == expected
    assert (info / "METADATA").is_file()
    assert not any(name in (info / "RECORD").read_text() for name in expected)


INEXACT = {
    "range": ("plain<2", None, "'plain<2':"),
    "needed": ("needing==1.0", None, "'plain':"),
    "both": ("needing", None, "'needing' and 1 more:"),
    "constrained": ("-c limits.txt\nneeding==1.0", "plain==1.0", None),
    "said": ("needing==1.0\nPlain==1.0", None, None),
}


@pytest.mark.parametrize(("text", "limits", "expected"), INEXACT.values(), ids=INEXACT)
def test_inexact_requirements_are_said(
    lab: Lab, wheels: Path, text: str, limits: str | None, expected: str | None
) -> None:
    add_wheel(wheels, "needing", requires=["plain"])
    if limits is not None:
        (lab.code / "limits.txt").write_text(limits)
    bundle(lab, text)

    said = lab.warnings("distmap:InexactRequirements")
    assert [f"requirements.txt doesn't say which version of {expected}" in each for each in said] == (
        [] if expected is None else [True]
    )


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
