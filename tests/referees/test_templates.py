"""cfn-lint over every template, twice: as it is, and with its definitions as plain text.

Its checks of state machines do nothing where a definition has references in it.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.referee, pytest.mark.checkout]

NO_FINDING = 0
FINDINGS = {2, 4, 6, 8, 10, 12, 14}  # its exit code adds up error, warning and information


def lint(folder: Path, templates: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what cfn-lint finds."""
    arguments = []
    for name, template in templates.items():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(template))
        arguments += ["--template", str(file)]
    command = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == NO_FINDING or done.returncode in FINDINGS, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def with_literal_definitions(template: dict[str, Any], definitions: dict[str, Any], stack: str) -> dict[str, Any]:
    result = copy.deepcopy(template)
    for logical_id, resource in result["Resources"].items():
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            resource["Properties"]["DefinitionString"] = json.dumps(definitions[f"{stack}/{logical_id}"])
    return result


@pytest.mark.slow
def test_cfn_lint_finds_nothing(
    templates: dict[str, dict[str, Any]],
    definitions: dict[str, dict[str, Any]],
    tmp_path: Path,
    judge: Callable[[str, Iterable[Any]], None],
    new_finding: Callable[..., Any],
) -> None:
    judged = dict(templates)
    for stack, template in templates.items():
        judged[f"{stack}-literal"] = with_literal_definitions(template, definitions, stack)
    findings = []
    for found in lint(tmp_path, judged):
        stack = Path(found["Filename"]).stem
        path = "/".join(str(part) for part in found["Location"]["Path"])
        findings.append(new_finding(found["Rule"]["Id"], f"{stack}/{path}", found["Message"]))
    judge("cfn-lint", findings)


@pytest.mark.slow
def test_cfn_lint_sees_a_broken_definition_and_a_broken_property(
    templates: dict[str, dict[str, Any]], definitions: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    broken = copy.deepcopy(definitions)
    for name, definition in broken.items():
        if name.startswith("Ranges/"):
            definition["StartAt"] = "Nowhere"
    template = with_literal_definitions(templates["Ranges"], broken, "Ranges")
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["MemorySize"] = 64
    rules = {found["Rule"]["Id"] for found in lint(tmp_path, {"broken": template})}
    assert {"E3034", "E3601"} <= rules
