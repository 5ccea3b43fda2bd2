"""Runs the tests that can differ there on the built wheel, with the sources out of reach. Arguments go to pytest.

The sdist is built first and the wheel from it, as an index would get them. The tests and what they read are copied
away from the checkout, and nothing but the wheel can give them the package.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHERE = """
import importlib.util, sys, sysconfig
site = sysconfig.get_path("purelib")
for name in ("cdk_distributed_map", "distmap"):
    found = importlib.util.find_spec(name).origin
    print(f"    {name}: {found}")
    if not found.startswith(site):
        sys.exit(f"{name} must come from {site}")
"""


def main(arguments: list[str]) -> int:
    """Build, install and test; return pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="distmap-wheel-") as name:
        folder = Path(name)
        print("==> building the sdist, and the wheel from it", flush=True)
        run([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)])
        (wheel,) = (folder / "dist").glob("*.whl")
        print(f"==> installing {wheel.name} into a new environment (a minute)", flush=True)
        run([sys.executable, "-m", "venv", str(folder / "venv")])
        python = folder / "venv" / "bin" / "python"
        run([str(python), "-m", "pip", "install", "--quiet", "--no-compile", f"{wheel}[node,test]"])
        project = folder / "project"
        for part in ("tests", "docs"):
            shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / part, project)
        # Tests that look for the capture handler in its place get the wheel's.
        (packaged,) = (folder / "venv").glob("lib/python*/site-packages/cdk_distributed_map/lambdas")
        shutil.copytree(packaged, project / "lambdas")
        environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("PYTHONPATH", None)
        # Of what is installed, only what the tests load is compiled: once, as they load it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        print("==> testing", flush=True)
        run([str(python), "-c", WHERE], cwd=project, env=environment)
        command = [str(python), "-m", "pytest", "-m", "wheel and not checkout", *arguments]
        return subprocess.run(command, cwd=project, env=environment, check=False).returncode


def run(command: list[str], **options: object) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]  # options are keywords of run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
