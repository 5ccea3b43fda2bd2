"""Wrong sources, captures and workers fail when they are made, with the value, the limit and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_distributed_map import (
    Capture,
    Combiner,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    Results,
    Worker,
)
from distmap import limits

if TYPE_CHECKING:
    from tests.construct.lab import Lab

MANIFEST = "inv/2026-09-01T01-00Z/manifest.json"
Make = Callable[["Lab"], Any]


def fails(make: Make, lab: Lab, *words: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error, match=re.escape(words[0])) as raised:
        make(lab)
    message = str(raised.value)
    assert not [word for word in words if word not in message], message
    assert not message.endswith(".")


CASES: dict[str, tuple[Make, tuple[str, ...]]] = {
    "max-items-0": (
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), max_items=0)),
        ("max_items", "between 1 and 100,000,000", "got 0"),
    ),
    "max-items-fraction": (
        lambda lab: lab.pipeline(items=ItemSource.s3_objects(lab.bucket(), max_items=-1.5)),
        ("max_items", "whole number", "got -1.5"),
    ),
    "max-items-too-many": (
        lambda lab: lab.pipeline(items=ItemSource.json(lab.bucket(), "k", max_items=200_000_000)),
        ("max_items", "100,000,000", "got 200,000,000"),
    ),
    "max-items-of-an-array": (lambda _: ItemSource.state_array(max_items=5), ("max_items", "slice the array")),
    "array-path": (lambda lab: lab.pipeline(items=ItemSource.state_array("items")), ("state_array got 'items'", "'$")),
    "empty-key": (lambda lab: ItemSource.json(lab.bucket(), ""), ("key must not be empty",)),
    "key-too-long": (
        lambda lab: ItemSource.json(lab.bucket(), "ü" * 513),
        ("key must have at most 1,024 bytes", "got 1,026"),
    ),
    "key-from-the-input": (
        lambda lab: ItemSource.json(lab.bucket(), "$.key"),
        ("key got '$.key'", "ItemSource.from_execution_input"),
    ),
    "empty-prefix": (lambda lab: ItemSource.s3_objects(lab.bucket(), prefix=""), ("prefix must not be empty",)),
    "no-buckets-to-list": (lambda _: ItemSource.s3_objects([], prefix="$.p"), ("bucket must name at least one", "[]")),
    "bucket-path-of-one": (
        lambda lab: ItemSource.s3_objects(lab.bucket(), prefix="$.p", bucket_path="$.b"),
        ("bucket_path needs a list", "bucket=[...]"),
    ),
    "bucket-path-literal": (
        lambda lab: ItemSource.s3_objects([lab.bucket()], prefix="$.p", bucket_path="data"),
        ("bucket_path must be a path", "'data'"),
    ),
    "key-prefix-of-a-literal": (
        lambda lab: ItemSource.s3_objects(lab.bucket(), prefix="in/", key_prefix="in/"),
        ("key_prefix narrows", "prefix is no path", "leave it out"),
    ),
    "inventory-from-the-input": (
        lambda lab: ItemSource.inventory(lab.bucket(), "$.manifest"),
        ("data_prefix is needed where manifest_key comes from the input", "key_prefix="),
    ),
    "load-with-pointer": (
        lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.json(items_pointer="/a")),
        ("load can't have an items_pointer", "single JSON file"),
    ),
    "pointer-without-slash": (
        lambda lab: ItemSource.json(lab.bucket(), "k", items_pointer="data/rows"),
        ("items_pointer", "'data/rows'", "begin it with '/'"),
    ),
    "pointer-empty": (lambda _: FileFormat.json(items_pointer=""), ("items_pointer must not be empty",)),
    "pointer-too-long": (
        lambda _: FileFormat.json(items_pointer="/" + "a" * 1999),
        ("items_pointer must have at most 1,999 characters", "got 2,000"),
    ),
    "pointer-escape": (lambda _: FileFormat.json(items_pointer="/a~b"), ("items_pointer", "'~0'", "'/a~b'")),
    "parquet-version": (
        lambda lab: ItemSource.parquet(lab.bucket(), "k", version_id="v1"),
        ("version_id 'v1'", "Parquet", "leave it out"),
    ),
    "empty-version": (lambda lab: ItemSource.csv(lab.bucket(), "k", version_id=""), ("version_id must not be empty",)),
    "owner": (
        lambda lab: ItemSource.csv(lab.bucket(), "k", expected_bucket_owner="me"),
        ("expected_bucket_owner", "12 digits", "'me'"),
    ),
    "headers-none": (lambda _: FileFormat.csv(headers=[]), ("headers must not be empty", "first row")),
    "headers-empty": (lambda _: FileFormat.csv(headers=["a", ""]), ("headers must not be empty",)),
    "headers-repeated": (lambda _: FileFormat.csv(headers=["a", "b", "a"]), ("headers must be unique", "'a'")),
    "headers-too-large": (
        lambda _: FileFormat.csv(headers=["a" * 10_241]),
        ("headers must have at most 10,240 bytes", "got 10,241"),
    ),
    "manifest-name": (
        lambda lab: ItemSource.inventory(lab.bucket(), "inv/manifest.csv"),
        ("manifest_key", "manifest.json", "'inv/manifest.csv'"),
    ),
    "manifest-token-without-prefix": (
        lambda lab: ItemSource.inventory(lab.bucket(), lab.text_parameter("Key").value_as_string),
        ("data_prefix is needed", "only at deployment"),
    ),
    "athena-csv-without-headers": (
        lambda lab: ItemSource.athena_manifest(lab.bucket(), "m.csv", format=FileFormat.csv(), data_prefix="d/"),
        ("CSV without headers", "FileFormat.csv(headers=[...])"),
    ),
    "athena-json": (
        lambda lab: ItemSource.athena_manifest(lab.bucket(), "m.csv", format=FileFormat.json(), data_prefix="d/"),
        ("csv, json_lines or parquet",),
    ),
    "athena-without-data-prefix": (
        lambda lab: ItemSource.athena_manifest(lab.bucket(), "m.csv", format=FileFormat.parquet(), data_prefix=""),
        ("data_prefix must not be empty",),
    ),
    "no-buckets": (
        lambda _: ItemSource.from_execution_input(buckets=[], format=FileFormat.json()),
        ("buckets must name at least one",),
    ),
    "bucket-path": (
        lambda lab: ItemSource.from_execution_input(
            buckets=[lab.bucket()], format=FileFormat.json(), bucket_path="bucket"
        ),
        ("bucket_path must be a path", "'$.bucket'", "got 'bucket'"),
    ),
    "ranges-negative": (lambda _: Capture.ranges(number=-1), ("number", "got -1")),
    "ranges-chunk-0": (lambda _: Capture.ranges(chunk=0), ("chunk", "between 1 and", "got 0")),
    "ranges-start": (lambda _: Capture.ranges(start=-1), ("start", "between 0 and", "got -1")),
    "ranges-inexact": (lambda _: Capture.ranges(number=2**53), ("number", "9,007,199,254,740,991", "got 9,007,199")),
    "ranges-end-inexact": (
        lambda _: Capture.ranges(number=1, start=2**53 - 1),
        ("start + number must be between 0 and 9,007,199,254,740,991", "got 9,007,199,254,740,992"),
    ),
    "ranges-fraction": (lambda _: Capture.ranges(number=1.5), ("number must be a whole number", "got 1.5")),
    "ranges-too-many": (
        lambda _: Capture.ranges(number=100_000_001, chunk=1),
        ("makes 100,000,001 items", "100,000,000", "larger chunk"),
    ),
    "listing-no-prefix": (
        lambda lab: Capture.s3_listing(lab.bucket(), prefixes=[]),
        ("prefixes must not be empty", "leave it out"),
    ),
    "listing-size": (lambda lab: Capture.s3_listing(lab.bucket(), min_bytes=-1), ("min_bytes", "got -1")),
    "listing-sizes": (
        lambda lab: Capture.s3_listing(lab.bucket(), min_bytes=5, max_bytes=4),
        ("min_bytes must not be over max_bytes", "5 and 4"),
    ),
    "listing-date": (
        lambda lab: Capture.s3_listing(lab.bucket(), modified_after="yesterday"),
        ("modified_after", "ISO 8601", "'yesterday'"),
    ),
    "listing-date-without-offset": (
        lambda lab: Capture.s3_listing(lab.bucket(), modified_after="2026-09-01T00:00:00"),
        ("modified_after", "with its offset from UTC", "2026-01-31T12:00:00Z", "'2026-09-01T00:00:00'"),
    ),
    "listing-date-alone": (
        lambda lab: Capture.s3_listing(lab.bucket(), modified_before="2026-09-01"),
        ("modified_before", "with its offset from UTC", "'2026-09-01'"),
    ),
    "listing-age": (
        lambda lab: Capture.s3_listing(lab.bucket(), max_age=cdk.Duration.days(10**6)),
        ("ages must be at most 31,622,400,000 s", "86,400,000,000 s"),
    ),
    "listing-dates": (
        lambda lab: Capture.s3_listing(
            lab.bucket(), modified_after="2026-09-02T00:00:00Z", modified_before="2026-09-01T00:00:00Z"
        ),
        ("modified_after must be before modified_before", "2026-09-02"),
    ),
    "listing-ages": (
        lambda lab: Capture.s3_listing(
            lab.bucket(), min_age=cdk.Duration.days(2), max_age=cdk.Duration.days(1)
        ),
        ("min_age must not be over max_age", "172,800 s", "86,400 s"),
    ),
    "folder": (
        lambda _: Worker.python("no/such/folder", handler="handler.handler"),
        ("folder 'no/such/folder' is not a folder",),
    ),
    "handler": (
        lambda lab: Worker.python(str(lab.code), handler="handler"),
        ("handler must be '<module>.<function>'", "'handler'"),
    ),
    "handler-file": (
        lambda lab: Worker.python(str(lab.code), handler="other.handler"),
        ("handler 'other.handler' needs the file other.py",),
    ),
    "memory": (lambda lab: lab.python_worker(memory_size=64), ("memory_size", "128 and 10,240 MB", "got 64")),
    "capture-memory": (lambda lab: lab.pipeline(items=ItemSource.captured(Capture.ranges(memory_size=99_999))),
        ("memory_size", "10,240 MB", "got 99,999")),
    "timeout": (
        lambda lab: lab.python_worker(timeout=cdk.Duration.minutes(16)),
        ("timeout", "900 seconds", "got 960", "split the items"),
    ),
    "layers": (
        lambda lab: lab.python_worker(
            layers=[lambda_.LayerVersion.from_layer_version_arn(lab.stack, f"L{at}", f"arn:l:{at}") for at in range(5)]
        ),
        ("layers must be at most 4", "got 5", "runtime"),
    ),
    "runtime": (
        lambda lab: lab.python_worker(runtime=lambda_.Runtime.NODEJS_22_X),
        ("runtime must be Python 3.11 or later", "'nodejs22.x'"),
    ),
    "old-runtime": (lambda lab: lab.python_worker(runtime=lambda_.Runtime.PYTHON_3_10), ("runtime", "'python3.10'")),
    "environment-reserved": (
        lambda lab: lab.python_worker(environment={"AWS_REGION": "eu-west-1"}),
        ("environment must not set 'AWS_REGION'", "another name"),
    ),
    "environment-name": (lambda lab: lab.python_worker(environment={"my-var": "1"}), ("environment", "'my-var'")),
    "environment-size": (
        lambda lab: lab.python_worker(environment={"BIG": "x" * 4094}),
        ("environment must have at most 4,096 bytes", "got 4,097"),
    ),
    "given-states-twice": (
        lambda lab: lab.pipeline(worker=Worker.states(sfn.Pass(lab.stack, "Work"))).fragment,
        ("give Worker.states a function", "fragment"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fails_when_a_source_or_worker_is_wrong(lab: Lab, case: str) -> None:
    make, words = CASES[case]
    fails(make, lab, *words)


KINDS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "bucket-name": (
        lambda _: ItemSource.json("data", "k"),  # type: ignore[arg-type]  # what is tested
        ("bucket must be a bucket", "'data'", "Bucket.from_bucket_name"),
    ),
    "listing-bucket-name": (
        lambda _: ItemSource.s3_objects("data"),  # type: ignore[arg-type]  # what is tested
        ("bucket must be a bucket",),
    ),
    "capture-bucket-name": (
        lambda _: Capture.s3_listing("data"),  # type: ignore[arg-type]  # what is tested
        ("bucket must be a bucket",),
    ),
    "input-bucket-names": (
        lambda _: ItemSource.from_execution_input(buckets=["data"], format=FileFormat.json()),  # type: ignore[list-item]  # what is tested
        ("buckets[0] must be a bucket",),
    ),
    "format": (
        lambda lab: ItemSource.from_execution_input(buckets=[lab.bucket()], format="JSON"),  # type: ignore[arg-type]  # what is tested
        ("format must be a FileFormat", "got 'JSON'"),
    ),
    "load": (
        lambda lab: ItemSource.s3_objects(lab.bucket(), load="CSV"),  # type: ignore[arg-type]  # what is tested
        ("load must be a FileFormat", "got 'CSV'"),
    ),
    "headers": (
        lambda _: FileFormat.csv(headers="a,b"),
        ("headers must be a list", "'a,b'"),
    ),
    "prefixes": (lambda lab: Capture.s3_listing(lab.bucket(), prefixes="in/"), ("prefixes must be a list", "'in/'")),
    "no-capture": (
        lambda _: ItemSource.captured(None),  # type: ignore[arg-type]  # what is tested
        ("capture must be a Capture", "Capture.ranges()", "None"),
    ),
    "capture-without-function": (
        lambda _: Capture.function(None),  # type: ignore[arg-type]  # what is tested
        ("function must be a function", "None"),
    ),
    "combine-without-function": (
        lambda _: Combiner.function(None),  # type: ignore[arg-type]  # what is tested
        ("function must be a function", "None"),
    ),
    "worker-arn": (
        lambda _: Worker.function("arn:aws:lambda:eu-west-1:1:function:f"),  # type: ignore[arg-type]  # what is tested
        ("function must be a function", "Function.from_function_attributes"),
    ),
    "no-states": (
        lambda _: Worker.states(None),  # type: ignore[arg-type]  # what is tested
        ("chain must be a chain of states or a function that makes one", "None"),
    ),
    "states-that-make-none": (
        lambda lab: lab.pipeline(worker=Worker.states(lambda _: None)),  # type: ignore[arg-type, return-value]  # what is tested
        ("must return a chain of states", "None"),
    ),
    "reservation": (
        lambda lab: lab.python_worker(reserved_concurrency=5),
        ("reserved_concurrency must be a ReservedConcurrency", "ReservedConcurrency.fixed(5)"),
    ),
    "prefix": (
        lambda lab: ItemSource.s3_objects(lab.bucket(), prefix=5),  # type: ignore[arg-type]  # what is tested
        ("prefix must be a string", "got 5"),
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_fails_when_an_argument_is_of_the_wrong_kind(lab: Lab, case: str) -> None:
    make, words = KINDS[case]
    fails(make, lab, *words, error=TypeError)


# -- Regions and accounts

FAR = {"region": "us-east-1"}
REGIONAL: dict[str, Callable[[Lab, s3.IBucket], dict[str, Any]]] = {
    "s3-objects": lambda _, far: {"items": ItemSource.s3_objects(far)},
    "json": lambda _, far: {"items": ItemSource.json(far, "k")},
    "inventory": lambda _, far: {"items": ItemSource.inventory(far, MANIFEST)},
    "inventory-data": lambda lab, far: {"items": ItemSource.inventory(lab.bucket(), MANIFEST, data_bucket=far)},
    "from-execution-input": lambda lab, far: {
        "items": ItemSource.from_execution_input(buckets=[lab.bucket(), far], format=FileFormat.json())
    },
    "nested": lambda lab, far: {
        "worker": Worker.nested(items=ItemSource.json(far, "k"), worker=Worker.function(lab.function()))
    },
    "results": lambda _, far: {"results": Results(bucket=far)},
    "payload": lambda _, far: {"payload_bucket": far},
}


@pytest.mark.parametrize("case", REGIONAL)
def test_fails_when_a_bucket_is_known_to_be_in_another_region(new_lab: Callable[..., Lab], case: str) -> None:
    lab = new_lab(env=cdk.Environment(account="111122223333", region="eu-west-1"))
    far = lab.bucket("Far", region="us-east-1")

    fails(lambda _: lab.pipeline(**REGIONAL[case](lab, far)), lab, "is in us-east-1", "in eu-west-1", "replicate")


@pytest.mark.parametrize("case", ["s3-objects", "results", "payload"])
def test_fails_when_a_bucket_is_known_to_be_in_another_account(new_lab: Callable[..., Lab], case: str) -> None:
    lab = new_lab(env=cdk.Environment(account="111122223333", region="eu-west-1"))
    far = lab.bucket("Far", account="444455556666", region="eu-west-1")

    fails(lambda _: lab.pipeline(**REGIONAL[case](lab, far)), lab, "in the account 444455556666", "111122223333")


@pytest.mark.parametrize("case", REGIONAL)
def test_a_bucket_passes_where_a_region_is_not_known(lab: Lab, case: str) -> None:
    lab.pipeline(**REGIONAL[case](lab, lab.bucket("Far", region="us-east-1", account="444455556666")))

    assert lab.template()


# -- properties


@settings(max_examples=200, deadline=None)
@given(headers=st.lists(st.text(max_size=5), max_size=6))
def test_headers_pass_only_if_they_name_columns(headers: list[str]) -> None:
    acceptable = len(headers) > 0 and "" not in headers and len(set(headers)) == len(headers)
    try:
        rendered = FileFormat.csv(headers=headers).render()
    except ValueError:
        assert not acceptable
    else:
        assert acceptable
        assert rendered["CSVHeaders"] == headers


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 10**12), chunk=st.integers(1, 10**6))
def test_ranges_pass_only_if_a_map_can_read_them(number: int, chunk: int) -> None:
    acceptable = (number + chunk - 1) // chunk <= limits.MAX_ITEMS
    try:
        Capture.ranges(number=number, chunk=chunk)
    except ValueError:
        assert not acceptable
    else:
        assert acceptable


@settings(max_examples=100, deadline=None)
@given(
    amount=st.integers(1, limits.MAX_CONCURRENT_CHILDREN), concurrency=st.integers(1, limits.MAX_CONCURRENT_CHILDREN)
)
def test_a_concurrency_passes_only_up_to_the_reservation(amount: int, concurrency: int) -> None:
    from cdk_distributed_map.settings import concurrency as concurrency_module

    reserved = ReservedConcurrency.fixed(amount).resolve(concurrency)
    try:
        concurrency_module.check_reservation(concurrency, reserved, what="the worker")
    except ValueError:
        assert concurrency > amount
    else:
        assert concurrency <= amount
