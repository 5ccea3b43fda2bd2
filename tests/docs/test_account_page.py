"""What docs/account.md says of the account is so: its blocks run, its tables name what is there, its tests exist."""

from __future__ import annotations

import re
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import DistributedMapPipeline, ItemShape, ItemSource, Rerun, Worker
from distmap.wire import FailedItem
from tests.docs.links import DOCS, functions_of, linked_tests

pytestmark = pytest.mark.checkout

TEXT = (DOCS / "account.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: title=[^\n]*)?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PROOFS = linked_tests(TEXT)


def execute(word: str) -> dict[str, Any]:
    """Run the block with a word in it."""
    (code,) = [code for language, code in BLOCKS if language == "python" and word in code]
    namespace: dict[str, Any] = {}
    exec(compile(code, "account.md", "exec"), namespace)  # noqa: S102 - our own text
    return namespace


def members(heading: str) -> set[str]:
    """Return the names in the first column of the table below a heading."""
    section = TEXT.split(f"\n### {heading}\n")[1].split("\n#")[0].split("```")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize(("test", "path"), PROOFS, ids=[test for test, _ in PROOFS])
def test_the_test_that_is_linked_exists(test: str, path: str) -> None:
    assert test in functions_of(path)


def test_rounds_are_declared_as_documented() -> None:
    declared = execute("Rerun(")["rerun"]
    assert isinstance(declared, Rerun)
    assert (declared.rounds, declared.permanent_errors) == (2, ["KeyError"])


def test_the_alarm_is_made() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    pipeline = DistributedMapPipeline(
        stack,
        "Map",
        items=ItemSource.state_array("$.items"),
        worker=Worker.states(lambda scope: sfn.Pass(scope, "Work"), item_shape=ItemShape.BARE),
    )
    alarm = execute("create_alarm")["alarm_of_unfinished_items"](stack, pipeline)
    assert alarm.node.path == "Stack/Unfinished"


def test_the_line_of_a_failed_item_is_documented_and_is_the_table_of_athena() -> None:
    assert members("failures.jsonl") == FailedItem.__annotations__.keys()
    (sql,) = [code for language, code in BLOCKS if language == "sql"]
    columns = re.findall(r"`(\w+)` \w+", sql.split("PARTITIONED")[0])
    assert set(columns) == FailedItem.__annotations__.keys()


def test_every_block_is_executed_or_looked_at() -> None:
    assert {language for language, _ in BLOCKS} == {"mermaid", "python", "sql"}
    assert len([code for language, code in BLOCKS if language == "python"]) == 3
