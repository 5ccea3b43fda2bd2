"""Twenty thousand items under every fault, by the benchmark that does the same with a million."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.checkout
def test_runs_heal_themselves_and_agree_with_their_workers_item_by_item() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "account.py"), "--proof", "--items", "20000"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [line.split("|")[2].strip() for line in done.stdout.splitlines()[-5:]] == [
        "SUCCEEDED",
        "SUCCEEDED",
        "FAILED",
        "SUCCEEDED",
        "SUCCEEDED",
    ]
