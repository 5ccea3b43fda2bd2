"""Every block of the documentation of the Lambda side is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from distmap import PermanentError
from distmap.wire import Run
from tests.runtime.account_lab import Lab

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.checkout

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "runtime.md"
ACCOUNT = DOCUMENT.with_name("account.md")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
POWERTOOLS = [code for code in PYTHON if "aws_lambda_powertools" in code]
OWN = [code for code in PYTHON if code not in POWERTOOLS]


def execute(code: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": __name__}  # dataclasses look their module up
    exec(compile(code, str(DOCUMENT), "exec", dont_inherit=True), namespace)  # noqa: S102 - our own text
    return namespace


@pytest.mark.parametrize("code", OWN, ids=range(len(OWN)))
def test_an_example_of_the_document_runs(code: str) -> None:
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


def test_the_taker_of_failed_items_gets_those_that_are_elsewhere(
    s3: S3Client, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = [code for code in OWN if "itemAt" in code]
    line = json.dumps({"outcome": "FAILED", "error": "ValueError", "item": "large"}).encode()
    etag = s3.put_object(Bucket=bucket, Key="failures.jsonl", Body=b"another\n" + line + b"\n")["ETag"]
    at = {"bucket": bucket, "key": "failures.jsonl", "range": f"bytes=8-{7 + len(line)}", "etag": etag}
    here = {"key": "a/1", "outcome": "MISSING", "error": None, "item": "small"}
    records = [{"body": json.dumps(each)} for each in (here, {"key": "a/2", "outcome": "FAILED", "itemAt": at})]
    execute(code)["handler"]({"Records": records}, None)
    assert capsys.readouterr().out == "a/1 MISSING None small\na/2 FAILED ValueError large\n"


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


def broken(item: int) -> int:
    if item in {3, 4}:
        raise PermanentError(item)
    return item


def test_files_of_an_account_are_read_as_documented(
    s3: S3Client, run: Run, make_export: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pandas")
    this = Lab(s3, run, make_export, range(20), work=broken, toleratedFailureCount=2)
    this.finish()
    text = ACCOUNT.read_text(encoding="utf-8")
    (code,) = re.findall(r'^```python title="pandas"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    capsys.readouterr()

    exec(compile(code, str(ACCOUNT), "exec"), {"s3": s3, "bucket": run["bucket"], "run": run["name"]})  # noqa: S102 - our own text

    assert capsys.readouterr().out.split()[-5:] == ["FAILED", "PermanentError", "2", "dtype:", "int64"]
    table = text.split("\n### ledger.json\n")[1].split("\n#")[0]
    rows = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == this.stored("ledger.json").keys()
