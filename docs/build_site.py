"""Builds the documentation site of this version into a folder that any static host takes: ``make docs``.

Beside the folder of the version stand those of others, a list of them all for the menu, and a page that leads to the
newest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEADS = """\
<!doctype html>
<meta charset="utf-8">
<title>distmap</title>
<meta http-equiv="refresh" content="0; url={0}/index.html">
"""


def build(site: Path) -> Path:
    """Build the version of this checkout; return its folder.

    Raises:
        SystemExit: MkDocs has warned of something, or failed.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    name = ".".join(version.split(".")[:2])
    # The theme speaks of a version of MkDocs that the pinned ranges don't allow.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site / name)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    names = [each.name for each in site.iterdir() if (each / "index.html").is_file()]
    names.sort(key=lambda each: [int(part) for part in each.split(".")], reverse=True)
    versions = [{"version": each, "title": each, "aliases": ["latest"] if each == names[0] else []} for each in names]
    (site / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
    (site / "index.html").write_text(LEADS.format(names[0]), encoding="utf-8")
    return site / name


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "site", help="folder of all versions (default: site)")
    parser.add_argument("--fresh", action="store_true", help="remove what is in that folder first")
    arguments = parser.parse_args()
    if arguments.fresh:
        shutil.rmtree(arguments.into, ignore_errors=True)
    sys.stdout.write(f"{build(arguments.into)}/index.html\n")
