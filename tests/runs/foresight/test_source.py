"""Where a run's items would come from, by what a definition says and the input that the run would get."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_distributed_map.plan import Reads
from cdk_distributed_map.runs import InputError
from cdk_distributed_map.runs.foresight.source import (
    ArraySource,
    FileSource,
    ListingSource,
    LocalFile,
    RangesSource,
    source_named,
    source_of,
)

GET, LIST = "arn:aws:states:::s3:getObject", "arn:aws:states:::s3:listObjectsV2"


def reading(resource: str = GET, config: dict[str, Any] | None = None, **arguments: Any) -> Reads:
    return Reads(reader={"Resource": resource, "Arguments": arguments, "ReaderConfig": config or {}})


def test_a_file_is_where_the_definition_says() -> None:
    config = {"InputType": "CSV", "CSVDelimiter": "PIPE", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["id"]}
    found = source_of(reading(config=config, Bucket="data", Key="in/items.csv"), {})

    assert isinstance(found, FileSource)
    assert (found.bucket, found.key, found.manifest) == ("data", "in/items.csv", None)
    assert (found.format.kind, found.format.dialect.delimiter, found.format.dialect.columns) == ("CSV", "|", ("id",))


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("{% $states.input.bucket %}", "{% $states.input.at.key %}"),
        ("{% $states.context.Execution.Input.bucket %}", '{% $exists($states.input.key) ? $states.input.key : "k" %}'),
        ("{% $distmapInput.bucket %}", "k"),
    ],
    ids=["input", "default", "variable"],
)
def test_a_place_in_the_input_is_looked_up(bucket: str, key: str) -> None:
    found = source_of(reading(Bucket=bucket, Key=key), {"bucket": "mine", "at": {"key": "k"}})

    assert isinstance(found, FileSource)
    assert (found.bucket, found.key) == ("mine", "k")


def test_paths_of_jsonpath_are_looked_up() -> None:
    reads = Reads(
        reader={"Resource": LIST, "Parameters": {"Bucket.$": "$.bucket", "Prefix.$": "$$.Execution.Input.under"}}
    )

    assert source_of(reads, {"bucket": "mine", "under": "a/"}) == ListingSource(bucket="mine", prefixes=("a/",))


def test_captures_of_ours_are_known() -> None:
    ranges = {"kind": "ranges", "number": "{% $exists($states.input.number) ? $states.input.number : 10 %}", "chunk": 3}
    objects = {"kind": "s3Listing", "bucket": "data", "prefixes": ["a/", "b/"], "suffix": "{% null %}"}

    found = source_of(Reads(reader={}, capture=ranges), {"number": 5})
    assert found == RangesSource(settings={"kind": "ranges", "number": 5, "chunk": 3})
    listed = source_of(Reads(reader={}, capture=objects), {})
    assert isinstance(listed, ListingSource)
    assert (listed.prefixes, (listed.capture or {})["suffix"]) == (("a/", "b/"), None)


def test_items_in_the_input_are_taken_from_there() -> None:
    assert source_of(Reads(reader={}, items="{% $states.input.items %}"), {"items": [1, 2]}) == ArraySource(
        items=[1, 2]
    )
    assert source_of(Reads(reader={}, items="$"), [3]) == ArraySource(items=[3])
    assert source_of(Reads(reader={}, items="$.of"), {"of": {"a": 1}}) == ArraySource(items=[{"Key": "a", "Value": 1}])


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        (Reads(reader={}, capture={}), "a capture function of your own"),
        (Reads(reader={}, items="{% $states.input.items %}"), r"'items' of the input, which hasn't it: pass the run's"),
        (reading(Bucket="b", Key="{% $uppercase($states.input.key) %}"), "the Key is computed when a run starts"),
        (
            reading(Bucket="${Data1234}", Key="k"),
            r"the Bucket is a resource of the stack \(\$\{Data1234\}\): deploy it",
        ),
        (reading(Bucket="b", Key="k", config={"ItemsPointer": "/rows"}), "inside a JSON document, at '/rows'"),
    ],
    ids=["capture", "input", "expression", "resource", "pointer"],
)
def test_fails_when_a_source_is_not_known_before_a_run(reads: Reads, message: str) -> None:
    with pytest.raises(InputError, match=message):
        source_of(reads, {})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("orders.csv", LocalFile),
        ("in/orders.JSONL.gz", LocalFile),
        ("s3://data/in/items.parquet", FileSource),
        ("s3://data", ListingSource),
        ("s3://data/images/", ListingSource),
        ("s3://data/inventory/2026-11-01T01-00Z/manifest.json", FileSource),
    ],
)
def test_what_a_user_names_is_told_by_its_name(text: str, kind: type) -> None:
    assert isinstance(source_named(text), kind)


@pytest.mark.parametrize("text", ["orders.xlsx", "orders", "s3://", "s3://data/orders", "orders.gz"])
def test_fails_when_a_name_does_not_show_the_format(text: str) -> None:
    with pytest.raises(InputError, match=r"doesn't show the format|items in S3 are"):
        source_named(text)
