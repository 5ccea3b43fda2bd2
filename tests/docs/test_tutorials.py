"""Each tutorial is walked through as it stands: files are written, commands run, and they come to what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.literate import TERMINAL, blocks_of, reprinted, run_page, same_each_time
from tests.docs.site import DOCS, ROOT

pytestmark = pytest.mark.checkout

TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
NAMES = [path.stem for path in TUTORIALS]
REPRINT = "REPRINT"
"""Variable that has the pages say what is printed now, to be looked at like a snapshot."""
DISTMAP = str(Path(sys.executable).parent / "distmap")


def environment(home: Path) -> dict[str, str]:
    """The environment of this checkout, as if it were a user's own, and without AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **TERMINAL, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


@pytest.mark.slow
@pytest.mark.deploy
@pytest.mark.parametrize("page", TUTORIALS, ids=NAMES)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / page.stem
    folder.mkdir()
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    here = environment(tmp_path)
    try:
        printed = run_page(page, folder, here)
    finally:
        subprocess.run([DISTMAP, "local", "down"], cwd=folder, env=here, check=False, capture_output=True)
    assert [block.exit_code for block in printed] == [0] * len(printed), [block.output for block in printed]
    if REPRINT in os.environ:
        page.write_text(reprinted(page, printed), encoding="utf-8")
        return
    for block in printed:
        if block.documented is not None:
            assert same_each_time(block.output) == same_each_time(block.documented)


@pytest.mark.parametrize("page", TUTORIALS, ids=NAMES)
def test_the_files_of_a_tutorial_are_python_that_compiles(page: Path) -> None:
    blocks = blocks_of(page)
    assert {block.language for block in blocks} <= {"csv", "json", "mermaid", "python", "sh", "text"}
    assert [block.code for block in blocks if block.language not in {"mermaid", "sh", "text"} and not block.title] == []
    for block in blocks:
        if block.language == "python":
            compile(block.code, block.title, "exec")
