"""Bundling the packages of a function: a synthesis the first time and the second, beside a container's.

python benchmarks/bundling.py

Wheels come from the package index, past the caches of pip and uv; without one, there is nothing to measure.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _measure import machine, progress, run, table

from cdk_distributed_map import Bundling

REQUIREMENTS = {
    "pydantic": "pydantic==2.11.7\n",
    "numpy, pandas, pydantic": "numpy==2.2.6\npandas==2.3.1\npydantic==2.11.7\n",
}
HANDLER = """
from distmap import process_items

@process_items
def handler(item, context):
    return item
"""
WAYS: dict[str, Callable[[], Bundling]] = {
    "nothing bundled": Bundling.none,
    "wheels, pip": lambda: Bundling.wheels(installer="pip"),
    "wheels, uv": lambda: Bundling.wheels(installer="uv"),
    "Docker": Bundling.docker,
}
NO_CACHES = {"PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}


def synthesize(folder: Path, way: str) -> None:
    """Synthesize a pipeline whose worker is bundled in one of the ways."""
    import aws_cdk as cdk  # noqa: PLC0415 - a candidate imports what it needs

    from cdk_distributed_map import DistributedMapPipeline, ItemSource, Worker  # noqa: PLC0415

    app = cdk.App(outdir=str(folder / "cdk.out"), analytics_reporting=False)
    worker = Worker.python(str(folder / "code"), handler="handler.handler", bundling=WAYS[way]())
    DistributedMapPipeline(cdk.Stack(app, "Stack"), "Pipeline", items=ItemSource.state_array(), worker=worker)
    app.synth()


def has_docker() -> bool:
    """Tell whether Docker answers."""
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "version"], capture_output=True, check=False).returncode == 0


def measure(name: str, way: str) -> list[str]:
    """Return a row of the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "code").mkdir()
        (folder / "code" / "handler.py").write_text(HANDLER)
        (folder / "code" / "requirements.txt").write_text(REQUIREMENTS[name])
        numbers = []
        for time in ("first", "second"):
            progress(f"{name}: {way}, the {time} time")
            environment = {**NO_CACHES, "DISTMAP_CACHE": str(folder / "cache")}
            measured = run([sys.executable, __file__, place, way], environment=environment)
            if not measured.ok:
                sys.stderr.write(f"{way} didn't bundle {name}: {measured.said}\n")
                raise SystemExit(0 if "can't reach a package index" in measured.said else 1)
            numbers.append(f"{measured.seconds:.1f} s")
        return [name, way, *numbers]


def main() -> None:
    """Measure and print the table."""
    ways = list(WAYS) if has_docker() else [way for way in WAYS if way != "Docker"]
    rows = [measure(name, way) for name in REQUIREMENTS for way in ways]
    sys.stdout.write(f"{machine()}\n\n{table(['packages', 'synthesis with', 'first time', 'second time'], rows)}\n")
    if "Docker" not in ways:
        sys.stdout.write("\nDocker doesn't answer on this machine, so that it isn't in the table.\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        synthesize(Path(sys.argv[1]), sys.argv[2])
    else:
        main()
