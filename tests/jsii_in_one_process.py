"""The kernel of jsii, reached without the process in between that only passes everything on."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path


def reach_it_directly() -> None:
    """Have this process, and those that it starts, talk to the kernel of jsii itself.

    The process that jsii puts between takes a quarter of what a synthesis takes, and tests synthesize all day.
    """
    package = importlib.util.find_spec("jsii")
    assert package is not None
    assert package.origin is not None
    folder = Path(tempfile.mkdtemp(prefix="distmap-jsii-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "lib").mkdir()
    # As jsii unpacks them for each process.
    for file in (Path(package.origin).parent / "_embedded" / "jsii").glob("lib__*.js"):
        shutil.copyfile(file, folder / "lib" / file.name.removeprefix("lib__"))
    main = folder / "main.js"
    shutil.copyfile(Path(__file__).with_suffix(".js"), main)
    os.environ.update({"JSII_RUNTIME": str(main), "NODE_PRESERVE_SYMLINKS": "1"})
