"""Sources that are legal and hardly ever meant are warned of; built-in captures can be in a VPC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aws_cdk import aws_ec2 as ec2

from cdk_distributed_map import Capture, FileFormat, ItemSource, Results

if TYPE_CHECKING:
    from tests.construct.lab import Lab

RUNS: dict[str, tuple[Callable[[Lab], dict[str, Any]], bool]] = {
    "whole-bucket": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket())}, True),
    "around": (
        lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="jo"), "payload_prefix": "jobs/"}, True,
    ),
    "exactly": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="runs/")}, True),
    "inside": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="runs/x/")}, True),
    "kept-items": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="items/")}, True),
    "beside": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="in/")}, False),
    "from-the-input": (lambda lab: {"items": ItemSource.s3_objects(lab.bucket(), prefix="$.p")}, False),
    "captured": (lambda lab: {"items": ItemSource.captured(Capture.s3_listing(lab.bucket()))}, True),
    "captured-json": (
        lambda lab: {"items": ItemSource.captured(Capture.s3_listing(lab.bucket(), suffix=".json"))}, True,
    ),
    "captured-images": (
        lambda lab: {"items": ItemSource.captured(Capture.s3_listing(lab.bucket(), suffix=".jpg"))}, False,
    ),
    "captured-beside": (
        lambda lab: {"items": ItemSource.captured(Capture.s3_listing(lab.bucket(), prefixes=["in/"]))}, False,
    ),
    "results": (
        lambda lab: {
            "items": ItemSource.s3_objects(lab.bucket()),
            "payload_bucket": lab.bucket("Payload"),
            "results": Results(bucket=lab.bucket()),
        },
        True,
    ),
    "another-bucket": (
        lambda lab: {"items": ItemSource.s3_objects(lab.bucket()), "payload_bucket": lab.bucket("Payload")}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_a_source_that_lists_what_the_runs_write_is_warned_of(lab: Lab, case: str) -> None:
    options, is_warned = RUNS[case]
    lab.pipeline(**{"payload_bucket": lab.bucket(), **options(lab)})

    assert bool(lab.warnings("distmap:ListsRuns")) is is_warned


@pytest.mark.parametrize(
    ("load", "prefix", "is_warned"),
    [
        (FileFormat.json(), "in/", True),
        (FileFormat.parquet(), None, True),
        (FileFormat.parquet(), "in/part-", False),
        (FileFormat.json_lines(), "in/", False),
        (FileFormat.csv(), "in/", False),
        (None, "in/", False),
    ],
    ids=["json", "parquet", "parquet-files", "json-lines", "csv", "metadata"],
)
def test_empty_objects_that_would_fail_the_run_are_warned_of(
    lab: Lab, load: FileFormat | None, prefix: str | None, *, is_warned: bool
) -> None:
    lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), prefix=prefix, load=load))
    found = lab.warnings("distmap:EmptyObjects")

    assert bool(found) is is_warned
    assert not [text for text in found if "part-" not in text or "_SUCCESS" not in text]


@pytest.mark.parametrize(
    "key",
    [
        "data/in/",
        " in/",
        "in/ ",
        "in//x",
        "in\\x",
        "in/{date}/",
        "in/%Y/",
        "in/<day>/",
        "in%20x",
        "./in",
        "../in",
        "~/in",
    ],
)
def test_an_unlikely_prefix_is_warned_of(lab: Lab, key: str) -> None:
    lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), prefix=key))

    assert [text for text in lab.warnings("distmap:UnlikelyKey") if repr(key) in text]


def test_a_file_that_is_a_folder_is_warned_of(lab: Lab) -> None:
    lab.pipeline(items=ItemSource.json(lab.bucket(), "in/"))

    assert lab.warnings("distmap:UnlikelyKey")


@pytest.mark.parametrize("key", ["in/", "in", "a b/c", "ü/", "2026-09-01T00:00Z/x", "100%/", "in/part-"])
def test_an_ordinary_prefix_is_not_warned_of(lab: Lab, key: str) -> None:
    lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), prefix=key))

    assert lab.warnings("distmap:UnlikelyKey") == []


@pytest.mark.parametrize(
    "make",
    [lambda _: Capture.ranges, lambda lab: partial(Capture.s3_listing, lab.bucket())],
    ids=["ranges", "listing"],
)
def test_a_built_in_capture_can_be_in_a_vpc(lab: Lab, make: Callable[[Lab], Callable[..., Capture]]) -> None:
    vpc = ec2.Vpc(lab.stack, "Vpc", max_azs=1)
    group = ec2.SecurityGroup(lab.stack, "Group", vpc=vpc)
    capture = make(lab)(vpc=vpc, security_groups=[group], vpc_subnets=ec2.SubnetSelection(subnets=vpc.private_subnets))
    lab.pipeline(items=ItemSource.captured(capture))
    functions = lab.resources("AWS::Lambda::Function")
    (found,) = (each for key, each in functions.items() if key.startswith("PCapture"))

    assert len(found["Properties"]["VpcConfig"]["SubnetIds"]) == 1
    assert len(found["Properties"]["VpcConfig"]["SecurityGroupIds"]) == 1
