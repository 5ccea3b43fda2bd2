"""Pages that compare and decide: their blocks run, and their numbers are those of the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cdk_distributed_map.plan import express_children, invocations, standard_children
from distmap import limits
from tests.docs.literate import blocks_of
from tests.docs.site import DOCS

pytestmark = pytest.mark.checkout

MOVING, DECIDE = DOCS / "moving.md", DOCS / "decide.md"
# They need packages of others.
ONLY_READ = {"before/flow.py", "before/lithops_map.py"}


@pytest.mark.parametrize("title", [block.title for block in blocks_of(MOVING) if block.title])
def test_what_you_have_and_what_it_becomes_run(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {block.title: block.code for block in blocks_of(MOVING) if block.title}
    assert ast.parse(files[title]).body
    if title not in ONLY_READ:
        (tmp_path / "worker").mkdir()
        (tmp_path / "worker" / "handler.py").write_text(files["worker/handler.py"], encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        exec(compile(files[title], title, "exec"), {})  # noqa: S102 - our own text


def test_no_block_is_left_out() -> None:
    assert {block.language for block in blocks_of(MOVING)} == {"python", "yaml"}
    assert blocks_of(DECIDE) == []


def test_costs_are_those_of_the_prices() -> None:
    text = DECIDE.read_text(encoding="utf-8")
    million, batches = 1_000_000, 5_000
    children = [standard_children(batches), standard_children(million), express_children(million, seconds=0.05)]
    shown = " | ".join(f"{cost.step_functions:.2f} USD" for cost in children)
    assert f"| Step Functions | {shown} |" in text
    functions = [invocations([10_000], memory_mb=512).functions * batches]
    functions += [invocations([50], memory_mb=512).functions * million] * 2
    assert f"| Lambda, arm64 | {' | '.join(f'{cost:.2f} USD' for cost in functions)} |" in text
    rates = f"about {limits.STANDARD_DISPATCH_PER_SECOND} | about {limits.EXPRESS_DISPATCH_PER_SECOND:,} |"
    assert rates in text
