"""Every block of the documentation of the Lambda side is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from distmap.wire import Run

pytestmark = pytest.mark.checkout

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "runtime.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
POWERTOOLS = [code for code in PYTHON if "aws_lambda_powertools" in code]
OWN = [code for code in PYTHON if code not in POWERTOOLS]


def execute(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "documentation"}
    exec(compile(code, str(DOCUMENT), "exec"), namespace)  # noqa: S102 - our own text
    return namespace


@pytest.mark.parametrize("code", OWN, ids=range(len(OWN)))
def test_a_block_runs(code: str) -> None:
    assert callable(execute(code)["handler"])


@pytest.mark.parametrize("code", POWERTOOLS, ids=["idempotency", "streaming"])
def test_a_recipe_for_powertools_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compile(code, str(DOCUMENT), "exec")
    if find_spec("aws_lambda_powertools") is None:
        pytest.skip("aws-lambda-powertools is not installed")
    monkeypatch.setenv("POWERTOOLS_IDEMPOTENCY_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert callable(execute(code)["handler"])


def test_a_recipe_has_three_lines_of_its_own() -> None:
    idempotency, streaming = POWERTOOLS
    # What is not there without Powertools: the import, the decorator, and the call with the key.
    assert len(re.findall(r"powertools|idempotent_function\(|item_key\(\)", idempotency)) == 3
    assert len(re.findall(r"powertools|S3Object\(", streaming)) == 2


def test_the_keys_and_the_batch_input_are_as_the_documentation_says(run_nowhere: Run) -> None:
    (code,) = [code for code in OWN if "item_key" in code]
    batch = {"BatchInput": {"distmap": {"run": run_nowhere}, "factor": 3}, "Items": [{"index": 4, "value": 0}]}
    result = execute(code)["handler"](batch)["batchItemResults"][0]["result"]
    assert result == {"key": f"{run_nowhere['id']}/4", "index": 4, "factor": 3}


def test_the_log_line_has_the_fields_of_a_real_one(
    log_lines: Callable[[], list[dict[str, Any]]], lambda_context: Callable[[float], Any], run_nowhere: Run
) -> None:
    (documented,) = [json.loads(text) for language, text in BLOCKS if language == "json"]
    (code,) = [code for code in OWN if "ZeroDivisionError" in code]
    items = [{"index": 7, "value": 5}, {"index": 8, "value": 0}]
    log_lines()
    handler = execute(code)["handler"]
    log_lines()
    handler({"BatchInput": {"distmap": {"run": run_nowhere}}, "Items": items}, lambda_context(900))
    (line,) = log_lines()
    assert list(line) == list(documented)
    same = ("level", "message", "mapRun", "batch", "items", "succeeded", "failed", "unprocessed", "errors")
    assert {name: line[name] for name in same} == {name: documented[name] for name in same}
