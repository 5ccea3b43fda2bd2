"""Prints the oldest aws-cdk-lib and constructs that pyproject.toml allows, as requirements for pip."""

import re
import sys
import tomllib
from pathlib import Path

CDK = ("aws-cdk-lib", "constructs")
PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main() -> None:
    """Print each of the two pinned to its lower bound."""
    dependencies = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    pinned = [
        re.sub(r">=([0-9.]+).*", r"==\1", dependency) for dependency in dependencies if dependency.startswith(CDK)
    ]
    sys.stdout.write(" ".join(pinned) + "\n")


if __name__ == "__main__":
    main()
