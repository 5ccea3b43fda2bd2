"""``make demo`` is run whole: its totals are checked by itself against a plain loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.deploy, pytest.mark.checkout, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


def test_demo_ends_with_totals_that_are_right() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{ROOT / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "examples/demo.py"],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("it adds up: ") == 2
    assert "= 20,000 of 20,000 captured" in done.stdout
    assert "together $" in done.stdout
    assert "but a plain loop gives" not in done.stdout
