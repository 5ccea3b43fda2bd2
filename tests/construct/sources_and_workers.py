"""Examples of sources and of workers: the smallest and the everything-on one of each kind."""

from __future__ import annotations

from collections.abc import Callable

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import (
    Batching,
    Capture,
    Combiner,
    CsvDelimiter,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    RetryPolicy,
    Worker,
)
from tests.construct.lab import Lab

SMALLEST_SOURCES: dict[str, Callable[[Lab], ItemSource]] = {
    "captured-ranges": lambda _: ItemSource.captured(Capture.ranges()),
    "captured-listing": lambda lab: ItemSource.captured(Capture.s3_listing(lab.bucket())),
    "captured-python": lambda lab: ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
    "captured-function": lambda lab: ItemSource.captured(Capture.function(lab.function("CaptureFunction"))),
    "s3-objects": lambda lab: ItemSource.s3_objects(lab.bucket()),
    "s3-objects-json": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.json()),
    "s3-objects-json-lines": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.json_lines()),
    "s3-objects-csv": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.csv()),
    "s3-objects-parquet": lambda lab: ItemSource.s3_objects(lab.bucket(), load=FileFormat.parquet()),
    "json": lambda lab: ItemSource.json(lab.bucket(), "in/items.json"),
    "json-lines": lambda lab: ItemSource.json_lines(lab.bucket(), "in/items.jsonl"),
    "csv": lambda lab: ItemSource.csv(lab.bucket(), "in/items.csv"),
    "parquet": lambda lab: ItemSource.parquet(lab.bucket(), "in/items.parquet"),
    "inventory": lambda lab: ItemSource.inventory(lab.bucket(), "inv/data/all/2026-09-01T01-00Z/manifest.json"),
    "athena-manifest": lambda lab: ItemSource.athena_manifest(
        lab.bucket(), "athena/q-manifest.csv", format=FileFormat.parquet(), data_prefix="unload/"
    ),
    "from-execution-input": lambda lab: ItemSource.from_execution_input(
        buckets=[lab.bucket()], format=FileFormat.json()
    ),
    "state-array": lambda _: ItemSource.state_array(),
}

FULL_SOURCES: dict[str, Callable[[Lab], ItemSource]] = {
    "captured-ranges": lambda _: ItemSource.captured(
        Capture.ranges(number=100_000, chunk="$.size", memory_size=1024), max_items="$.limit"
    ),
    "captured-listing": lambda lab: ItemSource.captured(
        Capture.s3_listing(
            lab.bucket(),
            prefixes=["a/", "b/"],
            suffix=".json",
            min_bytes=10,
            max_bytes="$.most",
            modified_after="2026-01-01T00:00:00Z",
            modified_before="2026-09-01T00:00:00Z",
            min_age=cdk.Duration.minutes(5),
            max_age=cdk.Duration.days(30),
            memory_size=1024,
        ),
        max_items=5_000,
    ),
    "captured-python": lambda lab: ItemSource.captured(
        Capture.python(
            str(lab.code),
            handler="handler.handler",
            memory_size=2048,
            timeout=cdk.Duration.minutes(10),
            environment={"TABLE": "orders"},
        ),
        max_items="{% $states.input.limit %}",
    ),
    "captured-function": lambda lab: ItemSource.captured(
        Capture.function(lab.function("CaptureFunction")), max_items=1_000
    ),
    "s3-objects": lambda lab: ItemSource.s3_objects(lab.bucket(), prefix="in/", max_items=1_000),
    "s3-objects-json": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.json(), max_items="$.limit"
    ),
    "s3-objects-json-lines": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.json_lines(), max_items="$.limit"
    ),
    "s3-objects-csv": lambda lab: ItemSource.s3_objects(
        lab.bucket(),
        prefix="in/",
        load=FileFormat.csv(headers=["id", "name"], delimiter=CsvDelimiter.TAB),
        max_items="$.limit",
    ),
    "s3-objects-parquet": lambda lab: ItemSource.s3_objects(
        lab.bucket(), prefix="in/", load=FileFormat.parquet(), max_items="$.limit"
    ),
    "json": lambda lab: ItemSource.json(
        lab.bucket(),
        "in/items.json",
        items_pointer="/data/rows",
        version_id="v1",
        expected_bucket_owner="111122223333",
        max_items="$.limit",
    ),
    "json-lines": lambda lab: ItemSource.json_lines(
        lab.bucket(), "in/items.jsonl", version_id="v1", expected_bucket_owner="111122223333", max_items=5
    ),
    "csv": lambda lab: ItemSource.csv(
        lab.bucket(),
        "in/items.csv",
        headers=["id", "name"],
        delimiter=CsvDelimiter.PIPE,
        version_id="v1",
        expected_bucket_owner="111122223333",
        max_items=5,
    ),
    "parquet": lambda lab: ItemSource.parquet(
        lab.bucket(), "in/items.parquet", expected_bucket_owner="111122223333", max_items=5
    ),
    "inventory": lambda lab: ItemSource.inventory(
        lab.bucket(),
        "inv/data/all/2026-09-01T01-00Z/manifest.json",
        data_bucket=lab.bucket("Reports"),
        data_prefix="reports/",
        max_items=5,
    ),
    "athena-manifest": lambda lab: ItemSource.athena_manifest(
        lab.bucket(),
        "athena/q-manifest.csv",
        format=FileFormat.csv(headers=["id", "name"]),
        data_prefix="unload/",
        data_bucket=lab.bucket("Unloads"),
        max_items=5,
    ),
    "from-execution-input": lambda lab: ItemSource.from_execution_input(
        buckets=[lab.bucket(), lab.bucket("More")],
        format=FileFormat.csv(),
        bucket_path="$.map_input_s3_bucket",
        key_path="$$.Execution.Input.map_input_s3_key",
        key_prefix="in/",
        max_items="$.limit",
    ),
    "state-array": lambda _: ItemSource.state_array("$.orders.open"),
}

SMALLEST_WORKERS: dict[str, Callable[[Lab], Worker]] = {
    "python": lambda lab: lab.python_worker(),
    "function": lambda lab: Worker.function(lab.function()),
    "states": lambda _: Worker.states(lambda scope: sfn.Pass(scope, "Work")),
    "nested": lambda lab: Worker.nested(
        items=ItemSource.state_array("$.value.rows"), worker=Worker.function(lab.function())
    ),
}

FULL_WORKERS: dict[str, Callable[[Lab], Worker]] = {
    "python": lambda lab: lab.python_worker(
        runtime=lambda_.Runtime.PYTHON_3_12,
        architecture=lambda_.Architecture.X86_64,
        memory_size=2048,
        ephemeral_storage=cdk.Size.gibibytes(2),
        timeout=cdk.Duration.minutes(5),
        environment={"TABLE": "orders"},
        layers=[
            lambda_.LayerVersion.from_layer_version_arn(lab.stack, "Layer", "arn:aws:lambda:eu-west-1:1:layer:a:1")
        ],
        reserved_concurrency=ReservedConcurrency.fixed(500),
        retry=RetryPolicy(errors=["ConnectionError"], max_attempts=5, interval=cdk.Duration.seconds(5)),
    ),
    "function": lambda lab: Worker.function(
        lab.function(),
        retry=RetryPolicy(errors=["States.ALL"], backoff_rate=1.5, max_delay=cdk.Duration.minutes(2)),
        timeout=cdk.Duration.minutes(2),
    ),
    "states": lambda _: Worker.states(
        lambda scope: sfn.Pass(scope, "Prepare", parameters={"id.$": "$.value.id"}).next(
            sfn.Choice(scope, "Is it there?")
            .when(sfn.Condition.is_present("$.id"), sfn.Succeed(scope, "Done"))
            .otherwise(sfn.Fail(scope, "Missing", error="NoId"))
        )
    ),
    "nested": lambda lab: Worker.nested(
        items=ItemSource.captured(Capture.python(str(lab.code), handler="handler.handler")),
        worker=lab.python_worker(),
        max_concurrency=5,
        batching=Batching(max_items=10),
        child_type=sfn.StateMachineType.EXPRESS,
        tolerated_failure_count=1,
        tolerated_failure_percentage=5,
        combine=Combiner.function(lab.function("CombineFunction")),
        label="Inner",
    ),
}
