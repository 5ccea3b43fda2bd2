"""The fields that read the items, exactly, for each kind of source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map import CsvDelimiter, FileFormat, ItemSource

if TYPE_CHECKING:
    from tests.construct.lab import Lab

GET = "arn:${AWS::Partition}:states:::s3:getObject"
LIST = "arn:${AWS::Partition}:states:::s3:listObjectsV2"


def get(arguments: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {"Resource": GET, "Arguments": arguments, "ReaderConfig": config}


ITEMS_JSON = {"Bucket": "data", "Key": "in/items.json"}
VERSION = {"VersionId": "v1", "ExpectedBucketOwner": "111122223333"}
INVENTORY = {"Bucket": "data", "Key": "inv/data/all/2026-09-01T01-00Z/manifest.json"}
MANIFEST = {"Bucket": "data", "Key": "athena/q-manifest.csv"}
LIMIT = (
    "{% ($n := $states.input.limit; "
    '$bad := $type($n) = "number" ? ($n < 1 or $n > 100000000 or $floor($n) != $n) : true; '
    '$bad ? $error("max_items must be a whole number between 1 and 100,000,000, got " & $string($n)) : $n) %}'
)

SMALLEST: dict[str, dict[str, Any]] = {
    "s3-objects": {"Resource": LIST, "Arguments": {"Bucket": "data"}},
    "s3-objects-json": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data"},
        "ReaderConfig": {"Transformation": "LOAD_AND_FLATTEN", "InputType": "JSON"},
    },
    "s3-objects-json-lines": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data"},
        "ReaderConfig": {"Transformation": "LOAD_AND_FLATTEN", "InputType": "JSONL"},
    },
    "s3-objects-csv": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data"},
        "ReaderConfig": {
            "Transformation": "LOAD_AND_FLATTEN",
            "InputType": "CSV",
            "CSVHeaderLocation": "FIRST_ROW",
        },
    },
    "s3-objects-parquet": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data"},
        "ReaderConfig": {"Transformation": "LOAD_AND_FLATTEN", "InputType": "PARQUET"},
    },
    "json": get(ITEMS_JSON, {"InputType": "JSON"}),
    "json-lines": get({"Bucket": "data", "Key": "in/items.jsonl"}, {"InputType": "JSONL"}),
    "csv": get({"Bucket": "data", "Key": "in/items.csv"}, {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
    "parquet": get({"Bucket": "data", "Key": "in/items.parquet"}, {"InputType": "PARQUET"}),
    "inventory": get(INVENTORY, {"ManifestType": "S3_INVENTORY"}),
    "athena-manifest": get(MANIFEST, {"ManifestType": "ATHENA_DATA", "InputType": "PARQUET"}),
    "from-execution-input": get(
        {"Bucket": "{% $states.input.bucket %}", "Key": "{% $states.input.key %}"}, {"InputType": "JSON"}
    ),
}

FULL: dict[str, dict[str, Any]] = {
    "s3-objects": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data", "Prefix": "in/"},
        "ReaderConfig": {"MaxItems": 1000},
    },
    "s3-objects-csv": {
        "Resource": LIST,
        "Arguments": {"Bucket": "data", "Prefix": "in/"},
        "ReaderConfig": {
            "Transformation": "LOAD_AND_FLATTEN",
            "InputType": "CSV",
            "CSVHeaderLocation": "GIVEN",
            "CSVHeaders": ["id", "name"],
            "CSVDelimiter": "TAB",
            "MaxItems": LIMIT,
        },
    },
    "json": get({**ITEMS_JSON, **VERSION}, {"InputType": "JSON", "ItemsPointer": "/data/rows", "MaxItems": LIMIT}),
    "json-lines": get({"Bucket": "data", "Key": "in/items.jsonl", **VERSION}, {"InputType": "JSONL", "MaxItems": 5}),
    "csv": get(
        {"Bucket": "data", "Key": "in/items.csv", **VERSION},
        {
            "InputType": "CSV",
            "CSVHeaderLocation": "GIVEN",
            "CSVHeaders": ["id", "name"],
            "CSVDelimiter": "PIPE",
            "MaxItems": 5,
        },
    ),
    "parquet": get(
        {"Bucket": "data", "Key": "in/items.parquet", "ExpectedBucketOwner": "111122223333"},
        {"InputType": "PARQUET", "MaxItems": 5},
    ),
    "inventory": get(INVENTORY, {"ManifestType": "S3_INVENTORY", "MaxItems": 5}),
    "athena-manifest": get(
        MANIFEST,
        {
            "ManifestType": "ATHENA_DATA",
            "InputType": "CSV",
            "CSVHeaderLocation": "GIVEN",
            "CSVHeaders": ["id", "name"],
            "MaxItems": 5,
        },
    ),
    "from-execution-input": get(
        {
            "Bucket": "{% $states.input.map_input_s3_bucket %}",
            "Key": "{% $states.context.Execution.Input.map_input_s3_key %}",
        },
        {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW", "MaxItems": LIMIT},
    ),
}


@pytest.mark.parametrize("kind", SMALLEST)
def test_reader_of_the_smallest_source(lab: Lab, sources: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(items=sources["smallest"][kind](lab))

    assert lab.state(pipeline, "map")["ItemReader"] == SMALLEST[kind]


@pytest.mark.parametrize("kind", FULL)
def test_reader_of_the_everything_on_source(lab: Lab, sources: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(items=sources["full"][kind](lab))

    assert lab.state(pipeline, "map")["ItemReader"] == FULL[kind]


@pytest.mark.parametrize(
    "kind", ["captured-ranges", "captured-listing", "captured-python", "captured-function"], ids=str
)
def test_captured_items_are_read_from_the_file_of_the_run(lab: Lab, sources: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(items=sources["smallest"][kind](lab))
    rendered = lab.state(pipeline, "map")

    bucket = lab.stack.get_logical_id(pipeline.payload_bucket.node.default_child)  # type: ignore[arg-type]  # a CfnBucket
    assert rendered["ItemReader"] == get(
        {"Bucket": f"${{{bucket}}}", "Key": "{% $states.input.items.key %}"}, {"InputType": "JSONL"}
    )
    assert "Items" not in rendered


def test_items_of_the_state_have_no_reader(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.state_array("$.orders.open"))
    rendered = lab.state(pipeline, "map")

    assert rendered["Items"] == "{% $states.input.orders.open %}"
    assert "ItemReader" not in rendered
    assert "ItemsPath" not in rendered


@pytest.mark.parametrize("delimiter", list(CsvDelimiter), ids=lambda delimiter: str(delimiter.value))
def test_every_delimiter_is_rendered_and_the_default_left_out(lab: Lab, delimiter: CsvDelimiter) -> None:
    pipeline = lab.pipeline(items=ItemSource.csv(lab.bucket(), "a.csv", delimiter=delimiter))

    config = lab.state(pipeline, "map")["ItemReader"]["ReaderConfig"]
    assert config.get("CSVDelimiter", "COMMA") == delimiter.value


def test_a_source_that_is_no_captured_file_has_a_second_map_over_an_item_file(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.json(lab.bucket(), "in/items.json", max_items=3))
    rendered = lab.state(pipeline, "map item file")

    # A retry of failed items is not to be cut short by the limit of the source.
    assert rendered["ItemReader"]["ReaderConfig"] == {"InputType": "JSONL"}
    assert rendered["ItemReader"]["Arguments"]["Key"] == "{% $states.input.items.key %}"
    assert rendered["Label"] == "P-ItemFile"


def test_the_items_of_a_nested_map_come_from_the_outer_item(lab: Lab, workers: dict[str, Any]) -> None:
    pipeline = lab.pipeline(worker=workers["smallest"]["nested"](lab))
    inner = lab.state(pipeline, "map")["ItemProcessor"]["States"]["P-Nested map"]

    assert inner["Items"] == "{% $states.input.value.rows %}"


def test_the_load_of_s3_objects_takes_each_format(lab: Lab) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.s3_objects(lab.bucket(), load=FileFormat.csv(delimiter=CsvDelimiter.SEMICOLON))
    )

    assert lab.state(pipeline, "map")["ItemReader"]["ReaderConfig"]["CSVDelimiter"] == "SEMICOLON"
