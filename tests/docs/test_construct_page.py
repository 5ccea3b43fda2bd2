"""Every block of docs/construct.md is executed, in order, as one app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.literate import blocks_of
from tests.docs.site import DOCS

pytestmark = pytest.mark.checkout

PAGE = DOCS / "construct.md"
HANDLER = "from distmap import process_items\n\n\n@process_items\ndef handler(item):\n    return item\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page, and functions that it mentions."""
    files = {"worker/handler.py": HANDLER, "capture/handler.py": "from yours import handler\n"}
    files |= {block.title: block.code for block in blocks_of(PAGE) if block.title}
    for name, code in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_run_in_order_and_synthesize(project: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks_of(PAGE):
        if block.language == "python" and not block.title:
            exec(compile(block.code, "construct.md", "exec"), namespace)  # noqa: S102 - our own text
    template = namespace["app"].synth().get_stack_by_name("Squares").template
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert {"AWS::StepFunctions::StateMachine", "AWS::Lambda::Function", "AWS::S3::Bucket"} <= kinds


def test_no_block_is_left_out() -> None:
    assert {block.language for block in blocks_of(PAGE)} == {"python"}


def test_ids_of_the_table_are_those_that_are_made() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("## What it creates")[1].split("\n## ")[0]
    assert {"PayloadBucket", "Worker", "Account", "StateMachine"} <= set(re.findall(r"`(\w+)`", table))
