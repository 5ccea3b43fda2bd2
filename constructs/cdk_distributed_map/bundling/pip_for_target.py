"""Run pip as if it ran on the machine that the packages are for.

``pip --platform`` chooses wheels for another machine, but asks this one about environment markers: a requirement such
as ``greenlet; platform_machine == "aarch64"`` would be left out on a Mac, and one for ``python_version < "3.13"`` be
decided by the Python that runs pip. So would be whether a package's ``Requires-Python`` is met. Arguments: the markers
of the target as JSON, then pip's own.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int:
    """Run pip with the markers of the target."""
    environment = json.loads(sys.argv[1])
    try:
        markers = importlib.import_module("pip._vendor.packaging.markers")
        original = markers.default_environment
        pythons = importlib.import_module("pip._internal.resolution.resolvelib.candidates").RequiresPythonCandidate
        for_this = pythons.__init__
        run = importlib.import_module("pip._internal.cli.main").main
    except (ImportError, AttributeError):
        sys.stderr.write("distmap: this pip doesn't let itself be told what it installs for\n")
        return 3
    vars(markers)["default_environment"] = lambda: {**original(), **environment}
    version = tuple(int(part) for part in environment["python_full_version"].split("."))
    pythons.__init__ = lambda self, _: for_this(self, version)
    return int(run(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
