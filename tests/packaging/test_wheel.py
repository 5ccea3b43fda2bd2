"""The wheel alone, in a bare environment, synthesizes what the checkout does; and it holds what it should."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
OWN_LAMBDAS = {"distmap", "account_run", "capture_input"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the package from the wheel, and its dependencies from this environment.

    A path in a .pth file doesn't bring the .pth files that lie there, so the editable install stays out of reach.
    """
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def synthesize(python: Path, app: Path, out: Path, *, context: dict[str, Any], path: str) -> None:
    done = subprocess.run(
        [str(python), app.name],
        cwd=app.parent,
        env={**os.environ, "PATH": path, "CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "end-of-life" not in done.stderr


def templates_in(folder: Path) -> dict[str, Any]:
    return {file.name: json.loads(file.read_text()) for file in folder.glob("*.template.json")}


def assets_in(folder: Path) -> set[str]:
    manifests = [json.loads(file.read_text()) for file in folder.glob("*.assets.json")]
    return {
        asset
        for manifest in manifests
        for asset, about in manifest["files"].items()
        if not about["source"]["path"].endswith(".template.json")
    }


# Where the environment is activated, its Node.js is on the PATH. Nothing of the machine's is.
ACTIVATED = str(Path(sys.executable).parent)


@pytest.mark.slow
def test_package_comes_from_the_wheel(bare_python: Path, tmp_path: Path) -> None:
    code = "import cdk_distributed_map, distmap; print(cdk_distributed_map.__file__); print(distmap.__file__)"
    done = subprocess.run(
        [str(bare_python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env={}
    )
    for line in done.stdout.splitlines():
        assert line.startswith(str(bare_python.parents[1])), line


@pytest.mark.slow
def test_readme_example_is_synthesized_as_from_the_checkout(bare_python: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for title, code in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', readme, re.MULTILINE | re.DOTALL):
        file = tmp_path / title
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    synthesize(bare_python, tmp_path / "app.py", tmp_path / "wheel.out", context={}, path=ACTIVATED)
    synthesize(Path(sys.executable), tmp_path / "app.py", tmp_path / "checkout.out", context={}, path=ACTIVATED)
    assert templates_in(tmp_path / "wheel.out") == templates_in(tmp_path / "checkout.out") != {}
    assets = assets_in(tmp_path / "wheel.out")
    assert len(assets) == 3, "the worker, the account function and the runtime layer"
    for asset in assets:
        assert (tmp_path / "wheel.out" / f"asset.{asset}").is_dir()


@pytest.mark.slow
def test_node_of_the_wheel_is_found_without_a_path_where_the_package_is_imported_first(
    bare_python: Path, tmp_path: Path
) -> None:
    app = tmp_path / "app.py"
    app.write_text("from cdk_distributed_map import ItemSource\nimport aws_cdk as cdk\ncdk.App().synth()\n")
    synthesize(bare_python, app, tmp_path / "cdk.out", context={}, path="")


@pytest.mark.slow
def test_example_app_is_synthesized_as_from_the_checkout(
    bare_python: Path,
    tmp_path: Path,
    example_assembly: Path,
    example_templates: dict[str, Any],
) -> None:
    # All that the judged and deployed templates were made of; what the wheel brings itself isn't copied.
    shutil.copy(ROOT / "app.py", tmp_path)
    for folder in (ROOT / "lambdas").iterdir():
        if folder.is_dir() and folder.name not in OWN_LAMBDAS:
            shutil.copytree(folder, tmp_path / "lambdas" / folder.name)
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    of_the_cli = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}
    out = tmp_path / "cdk.out"
    context, path = {**flags, **of_the_cli}, os.environ["PATH"]
    synthesize(bare_python, tmp_path / "app.py", out, context=context, path=path)
    assert templates_in(out) == {f"{stack}.template.json": each for stack, each in example_templates.items()}
    assert assets_in(out) == assets_in(example_assembly)


def test_wheel_holds_the_package_and_its_lambdas_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    (metadata,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {name.partition("/")[0] for name in names} == {"cdk_distributed_map", "distmap", metadata}
    assert {
        "cdk_distributed_map/__init__.py",
        "cdk_distributed_map/py.typed",
        *(f"cdk_distributed_map/schemas/{path.name}" for path in (ROOT / "docs" / "schemas").iterdir()),
        "cdk_distributed_map/lambdas/account_run/handler.py",
        "cdk_distributed_map/lambdas/capture_input/handler.py",
        "distmap/__init__.py",
        "distmap/py.typed",
        f"{metadata}/licenses/LICENSE",
    } <= names
    inside = {name.split("/")[2] for name in names if name.startswith("cdk_distributed_map/lambdas/")}
    assert inside == {"account_run", "capture_input"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc") or "/test_" in name]


def test_wheel_holds_every_module_of_the_checkout(wheel: Path) -> None:
    """Byte for byte, and whatever else is there: what tests find out about the sources holds for the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    for root, folder in ((ROOT / "constructs", "cdk_distributed_map"), (ROOT / "lambdas", "distmap")):
        files = [each for each in (root / folder).rglob("*") if each.is_file() and "__pycache__" not in each.parts]
        assert any(file.suffix == ".py" for file in files)
        differ = [file for file in files if held.get(file.relative_to(root).as_posix()) != file.read_bytes()]
        assert differ == []


def test_sdist_holds_what_the_tests_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"app.py", "cdk.json", "package.json", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert {".ci/run", "tests/conftest.py", "lambdas/distmap/wire.py", "docs/generate.py"} <= names
    assert not [name for name in names if name.startswith((".venv", "node_modules", "cdk.out"))]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_metadata_declares_the_pythons_that_are_supported(metadata: Message) -> None:
    assert metadata["Requires-Python"] == ">=3.11"
    declared = {each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if ":: Python :: 3." in each}
    assert declared == {"3.11", "3.12", "3.13", "3.14"}
    assert metadata["License-Expression"] == "Apache-2.0"


def test_base_install_is_the_cdk_and_what_the_command_needs(metadata: Message) -> None:
    every = metadata.get_all("Requires-Dist", [])
    base = {re.split(r"[<>=]", each)[0] for each in every if "extra ==" not in each}
    assert base == {"aws-cdk-lib", "constructs", "boto3", "click", "jinja2", "rich"}
    # The extra is kept for those who asked for it, and brings nothing.
    assert "cli" in metadata.get_all("Provides-Extra", [])
    assert not [each for each in every if "extra == 'cli'" in each or 'extra == "cli"' in each]


def closure(names: set[str]) -> dict[str, distributions.Distribution]:
    """Return distributions of this environment, and all that they need without an extra."""
    found: dict[str, distributions.Distribution] = {}
    pending = list(names)
    while pending:
        name = canonicalize_name(pending.pop())
        if name in found:
            continue
        found[name] = distributions.distribution(name)
        needed = [Requirement(each) for each in found[name].requires or []]
        pending += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def command_python(wheel: Path, metadata: Message, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the package and what it says it needs, but for the CDK, which the command starts without."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    base = {Requirement(each) for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each}
    for each in closure({each.name for each in base} - {"aws-cdk-lib", "constructs"}).values():
        for top in {file.parts[0] for file in each.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            if not (site / top).exists():
                (site / top).symlink_to(str(each.locate_file(top)))
    return python


def run_bare(python: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1", "HOME": str(cwd)}
    return subprocess.run(
        [str(python), *arguments],
        cwd=cwd,
        env={"PATH": "", **keys, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_command_works_with_the_base_install(command_python: Path, tmp_path: Path) -> None:
    told = run_bare(command_python, str(command_python.with_name("distmap")), "--help", cwd=tmp_path)
    assert (told.returncode, "Run a Distributed Map pipeline" in told.stdout) == (0, True), told.stderr
    # Every module of the command and the client, as each command imports its own.
    code = """
import importlib, pkgutil
import cdk_distributed_map.cli, cdk_distributed_map.runs, cdk_distributed_map.plan
for package in (cdk_distributed_map.cli, cdk_distributed_map.runs, cdk_distributed_map.plan):
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "__main__":
            importlib.import_module(f"{package.__name__}.{module.name}")
import boto3, click, jinja2, rich
"""
    told = run_bare(command_python, "-c", code, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    command = [str(command_python.with_name("distmap")), "list", "Squares", "--region", "nowhere-1"]
    told = run_bare(command_python, *command, "--endpoint-url", "nonsense", cwd=tmp_path)
    assert (told.returncode, "an endpoint is a URL such as" in told.stderr) == (1, True), told.stderr


@pytest.mark.slow
def test_local_says_how_to_get_what_it_needs_whatever_boto3_there_is(command_python: Path, tmp_path: Path) -> None:
    distmap = str(command_python.with_name("distmap"))
    told = run_bare(command_python, distmap, "local", "status", cwd=tmp_path)
    assert told.returncode == 1
    assert "run `distmap local install`, which creates a separate environment" in told.stderr
    assert "cdk-distributed-map[local]" in told.stderr
    assert run_bare(command_python, distmap, "local", "--help", cwd=tmp_path).returncode == 0
    # Where this is that environment, it isn't handed over to itself for ever.
    own = command_python.parents[1]
    (own / "distmap-installed").touch()
    again = run_bare(command_python, distmap, "local", "status", cwd=tmp_path, DISTMAP_LOCAL_ENVIRONMENT=str(own))
    assert (again.returncode, again.stderr) == (1, told.stderr)


@pytest.mark.slow
def test_local_runs_in_the_environment_of_its_own(command_python: Path, bare_python: Path, tmp_path: Path) -> None:
    distmap = str(command_python.with_name("distmap"))
    own = {"DISTMAP_LOCAL_ENVIRONMENT": str(bare_python.parents[1])}
    (bare_python.parents[1] / "distmap-installed").touch()
    told = run_bare(command_python, distmap, "local", "status", cwd=tmp_path, **own)
    assert (told.returncode, told.stderr) == (1, "nothing is running\n")


@pytest.mark.slow
def test_local_makes_an_environment_of_its_own(command_python: Path, wheel: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    environment = {"DISTMAP_LOCAL_ENVIRONMENT": str(own), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    distmap = str(command_python.with_name("distmap"))
    arguments = [distmap, "local", "install", "--from", str(wheel), "--json"]
    told = run_bare(command_python, *arguments, cwd=tmp_path, **environment)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {"environment": str(own), "installed": True}
    assert list(own.glob("lib/python*/site-packages/cdk_distributed_map"))
    no_wheel = tmp_path / "no.whl"
    no_wheel.touch()
    arguments[4] = str(no_wheel)
    told = run_bare(command_python, *arguments, cwd=tmp_path, **environment)
    assert (told.returncode, "pip could not install it" in told.stderr) == (1, True), told.stderr


def test_fails_when_the_environment_of_its_own_could_not_be_made(command_python: Path, tmp_path: Path) -> None:
    environment = {"DISTMAP_LOCAL_ENVIRONMENT": str(tmp_path / "own"), "PIP_NO_INDEX": "1"}
    distmap = str(command_python.with_name("distmap"))
    arguments = [distmap, "local", "install", "--from", str(tmp_path / "no.whl"), "--json"]
    told = run_bare(command_python, *arguments, cwd=tmp_path, **environment)
    assert (told.returncode, "--from takes a wheel or a folder" in told.stderr) == (1, True), told.stderr
    assert not json.loads(told.stdout)["installed"]
    assert not (tmp_path / "own").exists(), "what can't be installed leaves an environment that there is as it is"
    told = run_bare(command_python, distmap, "local", "status", cwd=tmp_path, **environment)
    assert (told.returncode, "run `distmap local install`" in told.stderr) == (1, True), told.stderr
