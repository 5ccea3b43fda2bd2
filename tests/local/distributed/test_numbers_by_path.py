"""Numbers of a Distributed Map that paths lead to, in the input or in a variable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench


def by_path(field: str, path: str, bucket: str) -> dict[str, Any]:
    """Return a definition that puts ``$.given`` into a variable, and a map with a field by path."""
    reader: dict[str, Any] = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": bucket, "Key": "file"},
    }
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "P"}
    state: dict[str, Any] = {
        "Type": "Map",
        "Label": "L",
        "ItemReader": reader,
        "ItemProcessor": {**processor, "States": {"P": {"Type": "Pass", "End": True}}},
        "End": True,
    }
    if field.startswith(("MaxItemsPer", "MaxInput")):
        state["ItemBatcher"] = {f"{field}Path": path}
    elif field == "MaxItems":
        reader["ReaderConfig"]["MaxItemsPath"] = path
    else:
        state[f"{field}Path"] = path
    keep = {"Type": "Pass", "Assign": {"given.$": "$.given"}, "Next": "Map"}
    return {"StartAt": "Keep", "States": {"Keep": keep, "Map": state}}


FIELDS = {
    "MaxConcurrency": [1, 2, 3],
    "ToleratedFailureCount": [1, 2, 3],
    "ToleratedFailurePercentage": [1, 2, 3],
    "MaxItems": [1, 2],
    "MaxItemsPerBatch": [{"Items": [1, 2]}, {"Items": [3]}],
    "MaxInputBytesPerBatch": [{"Items": [1, 2, 3]}],
}
GIVEN = {"MaxInputBytesPerBatch": 100}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", [True, False], ids=["text", "number"])
def test_a_variable_may_be_a_text_of_digits(bench: Bench, field: str, *, text: bool) -> None:
    bucket = bench.bucket({"file": b"[1, 2, 3]"})
    value = GIVEN.get(field, 2)
    assert bench.output(by_path(field, "$given", bucket), {"given": str(value) if text else value}) == FIELDS[field]


@pytest.mark.parametrize("field", FIELDS)
def test_fails_when_the_input_has_a_text(bench: Bench, field: str) -> None:
    found = bench.run(by_path(field, "$.given", bench.bucket({"file": b"[1]"})), {"given": "2"})
    assert found["error"] == "States.Runtime"
    assert f'The {field}Path field refers to value "2" which is not a valid' in found["cause"]


@pytest.mark.parametrize("given", ["", "-1", " 1", "1.5", "one", "\u0661", True, None])
def test_fails_when_a_variable_has_no_digits(bench: Bench, given: Any) -> None:
    found = bench.run(by_path("MaxItems", "$given", bench.bucket({"file": b"[1]"})), {"given": given})
    assert found["error"] == "States.Runtime"
    assert "which is not a valid integer: $given" in found["cause"]


def test_a_percentage_may_be_a_fraction(bench: Bench) -> None:
    made = by_path("ToleratedFailurePercentage", "$given", bench.bucket({"file": b"[1]"}))
    found = bench.run(made, {"given": "0.5"})
    assert found["status"] == "SUCCEEDED"
    assert bench.map_run(found["executionArn"])["toleratedFailurePercentage"] == 0.5


@pytest.mark.parametrize("given", [0, 3, 100_000_000, 100_000_001])
def test_no_items_and_more_than_there_may_be_read_all(bench: Bench, given: int) -> None:
    made = by_path("MaxItems", "$.given", bench.bucket({"file": json.dumps([1, 2, 3]).encode()}))
    assert bench.output(made, {"given": given}) == [1, 2, 3]
