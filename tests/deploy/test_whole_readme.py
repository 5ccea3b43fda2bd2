"""The README from its first block to its last, in an environment that has nothing yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.literate import clean_environment, run_page, same_each_time

pytestmark = [pytest.mark.deploy, pytest.mark.checkout]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
START = "distmap local up"


@pytest.mark.slow
def test_the_whole_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    """From an empty folder, in an environment that has nothing yet, to a ledger."""
    (tmp_path / "distmap").symlink_to(ROOT)
    environment = clean_environment(f"{sys.base_prefix}/bin{os.pathsep}/usr/bin{os.pathsep}/bin", tmp_path)
    # The account is another local AWS, and whoever deploys to it says yes.
    account = {
        "npx cdk bootstrap": f'{START} > local.txt\neval "$(distmap local env)"\nexport CDK_REQUIRE_APPROVAL=never'
    }
    try:
        printed = run_page(README, tmp_path, environment, before=account)
    finally:
        project = tmp_path / "squares"
        end = [str(project / ".venv" / "bin" / "distmap"), "local", "down"]
        subprocess.run(end, cwd=project, env=environment, check=False, capture_output=True)
    _, local, on_aws = printed
    assert [block.exit_code for block in printed] == [0, 0, 0], "\n".join(block.output for block in printed)
    assert "it adds up: 1,000 + 0 + 0 + 0 + 0 = 1,000 of 1,000 captured" in on_aws.output
    assert local.documented is not None
    assert same_each_time(local.output) == same_each_time(local.documented)
