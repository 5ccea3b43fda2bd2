"""Prefixes, manifests and buckets that the execution's input names: read as expressions, within what the role may."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import FileFormat, ItemSource

if TYPE_CHECKING:
    from tests.construct.lab import Lab

WRITTEN: dict[str, tuple[Callable[[], str], str]] = {
    "json-path": (lambda: "$.day", "{% $states.input.day %}"),
    "context": (lambda: "$$.Execution.Name", "{% $states.context.Execution.Name %}"),
    "jsonata": (lambda: "{% 'in/' & $states.input.day %}", "{% 'in/' & $states.input.day %}"),
    "token": (lambda: sfn.JsonPath.string_at("$.day"), "{% $states.input.day %}"),
    "function": (
        lambda: sfn.JsonPath.format("in/{}/", sfn.JsonPath.string_at("$.day")),
        '{% ("in/" & $string($states.input.day) & "/") %}',
    ),
}


def prefix(lab: Lab, text: str, **options: Any) -> ItemSource:
    return ItemSource.s3_objects(lab.bucket(), prefix=text, **options)


def inventory(lab: Lab, text: str, **options: Any) -> ItemSource:
    return ItemSource.inventory(lab.bucket(), text, key_prefix="inv/lake/all/", **options)


def athena(lab: Lab, text: str, **options: Any) -> ItemSource:
    return ItemSource.athena_manifest(
        lab.bucket(), text, format=FileFormat.parquet(), key_prefix="athena/", data_prefix="athena/data/", **options
    )


SOURCES = {"prefix": (prefix, "Prefix"), "inventory": (inventory, "Key"), "athena": (athena, "Key")}


def reads(lab: Lab, pipeline: Any) -> dict[str, set[str]]:
    """Return what the role may do with the buckets named data and other, by action."""
    found: dict[str, set[str]] = {}
    for each in lab.statements(lab.role_id(pipeline.role)):
        actions = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
        resources = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        texts = {str(item["Fn::Join"][1][-1]) for item in resources if isinstance(item, dict) and "Fn::Join" in item}
        texts = {text.removeprefix(":s3:::") for text in texts if text.startswith((":s3:::data", ":s3:::other"))}
        listed = each.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        for action in actions:
            if texts:
                found.setdefault(action, set()).update(texts if listed is None else {f"{x} {listed[0]}" for x in texts})
    return found


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("source", SOURCES)
def test_the_input_names_what_is_read(lab: Lab, source: str, written: str) -> None:
    make, field = SOURCES[source]
    text, rendered = WRITTEN[written]
    pipeline = lab.pipeline(items=make(lab, text()))

    assert lab.state(pipeline, "map")["ItemReader"]["Arguments"] == {"Bucket": "data", field: rendered}


ROLES: dict[str, tuple[Callable[[Lab], ItemSource], dict[str, set[str]]]] = {
    "any-prefix": (lambda lab: prefix(lab, "$.p"), {"s3:ListBucket": {"data"}}),
    "prefix": (lambda lab: prefix(lab, "$.p", key_prefix="in/"), {"s3:ListBucket": {"data in/*"}}),
    "loaded": (
        lambda lab: prefix(lab, "$.p", key_prefix="in/", load=FileFormat.csv()),
        {"s3:ListBucket": {"data in/*"}, "s3:GetObject": {"data/in/*"}},
    ),
    "inventory": (
        lambda lab: inventory(lab, "$.m"),
        {"s3:GetObject": {"data/inv/lake/all/*", "data/inv/lake/all/data/*"}},
    ),
    "inventory-elsewhere": (
        lambda lab: inventory(lab, "$.m", data_bucket=lab.bucket("Other"), data_prefix="d/"),
        {"s3:GetObject": {"data/inv/lake/all/*", "other/d/*"}},
    ),
    "athena": (lambda lab: athena(lab, "$.m"), {"s3:GetObject": {"data/athena/*", "data/athena/data/*"}}),
    "two-buckets": (
        lambda lab: ItemSource.s3_objects([lab.bucket(), lab.bucket("Other")], prefix="$.p", key_prefix="in/"),
        {"s3:ListBucket": {"data in/*", "other in/*"}},
    ),
}


@pytest.mark.parametrize("case", ROLES)
def test_the_role_may_read_what_the_input_may_name(lab: Lab, case: str) -> None:
    make, expected = ROLES[case]

    assert reads(lab, lab.pipeline(items=make(lab))) == expected


@pytest.mark.parametrize("path", [None, "$.where", "{% $states.input.where %}"], ids=str)
def test_the_bucket_can_come_from_the_input_too(lab: Lab, path: str | None) -> None:
    source = ItemSource.s3_objects([lab.bucket(), lab.bucket("Other")], prefix="in/", bucket_path=path)
    arguments = lab.state(lab.pipeline(items=source), "map")["ItemReader"]["Arguments"]

    where = "bucket" if path is None else "where"
    assert arguments == {"Bucket": f"{{% $states.input.{where} %}}", "Prefix": "in/"}
