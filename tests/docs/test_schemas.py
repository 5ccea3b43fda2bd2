"""The published JSON Schemas are those of the wire shapes, and hold what real code makes and takes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any, TypedDict

import pytest
from jsonschema import Draft202012Validator, ValidationError

from distmap import process_items

pytestmark = pytest.mark.checkout

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "schemas"
RUN = {
    "id": "arn:aws:states:us-east-1:123456789012:execution:Squares:run-1",
    "name": "run-1",
    "bucket": "payload",
    "prefix": "runs/run-1",
    "path": "",
}


@pytest.fixture(scope="module")
def schemas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distmap_docs_schemas", ROOT / "docs" / "schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def validator(shape: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((FOLDER / f"{shape}.schema.json").read_text(encoding="utf-8")))


def test_the_schemas_are_those_of_the_wire_shapes(schemas: ModuleType) -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert published == schemas.documents(), "run make docs"


def test_each_is_a_schema_and_says_what_it_is(schemas: ModuleType) -> None:
    for name in schemas.shapes():
        schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        assert schema["description"]


def test_what_may_be_left_out_is_not_required(schemas: ModuleType) -> None:
    assert schemas.schema("ItemFailure")["required"] == ["itemIdentifier", "error", "cause"]


def test_a_shape_that_holds_itself_ends(schemas: ModuleType) -> None:
    nested = schemas.schema("NestedMapSettings")
    assert nested["properties"]["nested"]["items"] == {"$ref": "#/$defs/NestedMapSettings"}


def test_fails_when_a_shape_has_a_type_that_json_has_not(schemas: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(TypedDict):
        number: complex

    monkeypatch.setattr(schemas, "shapes", lambda: {"Wrong": Wrong})
    monkeypatch.setattr(schemas, "_words", lambda: {"Wrong": ("", {})})
    with pytest.raises(TypeError, match="complex"):
        schemas.schema("Wrong")


def test_what_the_runtime_takes_and_answers_is_valid() -> None:
    @process_items(fail_at_percentage=None)
    def handler(item: int) -> int:
        if item < 0:
            raise ValueError(item)
        return item

    event: dict[str, Any] = {
        "BatchInput": {"distmap": {"run": RUN}},
        "Items": [{"index": 0, "value": 1}, {"index": 1, "value": -1}],
    }
    validator("BatchEvent").validate(event)
    for envelope in event["Items"]:
        validator("Envelope").validate(envelope)
    answer = handler(event, None)
    validator("WorkerAnswer").validate(answer)
    assert answer["batchItemFailures"]


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        ("WorkerAnswer", {"batchItemResults": [], "batchItemFailures": []}),
        (
            "WorkerAnswer",
            {
                "batchItemResults": [{"itemIdentifier": 1, "result": 1}],
                "batchItemFailures": [],
                "batchItemsUnprocessed": [],
            },
        ),
        ("BatchEvent", {"BatchInput": {}}),
        ("Envelope", {"index": "0", "value": 1}),
    ],
    ids=["without a list", "a number as identifier", "without items", "a text as index"],
)
def test_fails_when_what_is_sent_has_another_shape(shape: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validator(shape).validate(wrong)
