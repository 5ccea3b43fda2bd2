"""What docs/workers.md shows synthesizes as it stands, and says of starts and files what is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map import Overlap
from cdk_distributed_map.definition.job_states import ENVIRONMENT_CHARACTERS
from cdk_distributed_map.local.functions.settings import commands_of
from tests.docs.links import DOCS

pytestmark = pytest.mark.checkout

TEXT = (DOCS / "workers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The template of all blocks together."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "lengths").mkdir()
    (folder / "lengths" / "index.mjs").write_text("export const handler = async () => null;\n")
    namespace: dict[str, Any] = {}
    for language, code in BLOCKS:
        if language == "python":
            # Node, which reads the folder, may have been started elsewhere.
            whole = code.replace('"lengths")', f'"{folder / "lengths"}")')
            exec(compile(whole, "workers.md", "exec"), namespace)  # noqa: S102 - our own text
    made: dict[str, Any] = namespace["app"].synth().get_stack_by_name("Workers").template
    return made


def test_the_blocks_synthesize_together(template: dict[str, Any]) -> None:
    kinds = [resource["Type"] for resource in template["Resources"].values()]
    assert {"AWS::Scheduler::Schedule", "AWS::Events::Rule", "AWS::ECS::TaskDefinition"} <= set(kinds)
    text = json.dumps(template)
    for resource in ("aws-sdk:lambda:invoke", "ecs:runTask.sync", "batch:submitJob.sync"):
        assert resource in text


def test_the_files_that_are_linked_are_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", TEXT) if not link.startswith("http")]
    assert len(links) >= 5
    assert [link for link in links if not Path(DOCS, link).exists()] == []


def test_the_variable_of_commands_is_read_as_shown() -> None:
    (value,) = re.findall(r"^export DISTMAP_LOCAL_COMMANDS='(.*)'$", TEXT, re.MULTILINE)
    assert commands_of({"DISTMAP_LOCAL_COMMANDS": value}) == {"render": ["python3", "render.py"]}


def test_each_way_to_overlap_is_named_and_numbers_are_those_of_the_code() -> None:
    assert set(re.findall(r"^\| `Overlap\.(\w+)`", TEXT, re.MULTILINE)) == {each.name for each in Overlap}
    assert f"up to {ENVIRONMENT_CHARACTERS:,} characters" in TEXT
