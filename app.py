#!/usr/bin/env python3
"""Example app: one stack for each kind of job, deployable alone.

cdk deploy Ranges
"""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import (
    Batching,
    Capture,
    Combiner,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    ReservedConcurrency,
    Worker,
)

LAMBDAS = Path(__file__).parent / "lambdas"


def folder(name: str) -> str:
    """Return the folder of a function."""
    return str(LAMBDAS / name)


def data_bucket(scope: Construct) -> s3.Bucket:
    """Make a bucket for the data to be processed, and say its name."""
    bucket = s3.Bucket(
        scope,
        "Data",
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
    )
    cdk.CfnOutput(scope, "DataBucket", value=bucket.bucket_name)
    return bucket


def let_read(function: lambda_.IFunction, bucket: s3.Bucket, pattern: str) -> None:
    """Let a function read objects, and nothing more: ``bucket.grant_read`` would add listing and more."""
    resource = bucket.arn_for_objects(pattern)
    function.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[resource]))


def acknowledge_small(pipeline: DistributedMapPipeline) -> None:
    """Say that a child for each item is meant: there are few of them, or each takes long."""
    cdk.Annotations.of(pipeline).acknowledge_warning("distmap:OneItemPerChild", "few items, or long ones")


class ContentLength(cdk.Stack):
    """S0: a JSON file that the execution's own input names: an array of ``{"bucket": ..., "key": ...}``.

    Start it with ``{"map_input_s3_bucket": ..., "map_input_s3_key": ...}``.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bucket = data_bucket(self)
        pipeline = DistributedMapPipeline(
            self,
            "ContentLength",
            items=ItemSource.from_execution_input(
                buckets=[bucket],
                format=FileFormat.json(),
                bucket_path="$.map_input_s3_bucket",
                key_path="$.map_input_s3_key",
            ),
            # A thousand at once is all an account has by default, so nothing of it can be reserved.
            worker=Worker.python(
                folder("content_length"), handler="handler.handler", reserved_concurrency=ReservedConcurrency.none()
            ),
            max_concurrency=1000,
            # Each is one download from who knows where, which may take long.
            batching=Batching.none(),
        )
        acknowledge_small(pipeline)
        let_read(pipeline.worker, bucket, "*")


class SumOfSquares(cdk.Stack):
    """S1: a paged listing that skips empty objects, with the concurrency reserved for it.

    Start it with ``{}``, or start ``SumOfSquaresOfInput`` with ``[{"key": ..., "bucket": ...}, ...]``, where the bucket
    is a name or an ARN.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bucket = data_bucket(self)
        pipeline = DistributedMapPipeline(
            self,
            "SumOfSquares",
            items=ItemSource.captured(Capture.s3_listing(bucket, prefixes=["numbers/"])),
            worker=Worker.python(
                folder("sum_of_squares"), handler="handler.handler", reserved_concurrency=ReservedConcurrency.fixed(20)
            ),
            max_concurrency=10,
            batching=Batching(max_items=50),
            tolerated_failure_percentage=5,
        )
        let_read(pipeline.worker, bucket, "*")  # the input may name any object of the bucket
        DistributedMapPipeline(
            self,
            "SumOfSquaresOfInput",
            items=ItemSource.state_array("$"),
            worker=Worker.function(pipeline.worker),
            max_concurrency=10,
            batching=Batching(max_items=50),
            payload_bucket=pipeline.payload_bucket,
            payload_prefix="of-input/",
        )


class Images(cdk.Stack):
    """S2: images under a prefix, listed by the map itself, in Express children; and large objects, streamed.

    Start both with any input, which is ignored.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bucket = data_bucket(self)
        pipeline = DistributedMapPipeline(
            self,
            "Images",
            items=ItemSource.s3_objects(bucket, prefix="images/"),
            # A listed object doesn't say which bucket it is in.
            item_selector={"bucket": bucket.bucket_name, "key.$": "$$.Map.Item.Value.Key"},
            # Its requirements.txt asks for Pillow, which is bundled for the function's Python and architecture.
            worker=Worker.python(folder("image_brightness"), handler="handler.handler", memory_size=512),
            child_type=sfn.StateMachineType.EXPRESS,
            max_concurrency=50,
        )
        let_read(pipeline.worker, bucket, "images/*")
        large = DistributedMapPipeline(
            self,
            "Checksums",
            items=ItemSource.s3_objects(bucket, prefix="large/"),
            item_selector={"bucket": bucket.bucket_name, "key.$": "$$.Map.Item.Value.Key"},
            worker=Worker.python(
                folder("checksum"), handler="handler.handler", memory_size=128, timeout=cdk.Duration.minutes(15)
            ),
            max_concurrency=10,
            # One of them may take all the time that a function has.
            batching=Batching.none(),
            payload_bucket=pipeline.payload_bucket,
            payload_prefix="checksums/",
        )
        acknowledge_small(large)
        let_read(large.worker, bucket, "large/*")


class Shards(cdk.Stack):
    """S3: a map inside a map with large results, and a join after a join.

    Start it with ``{}`` once ``shards.json`` is in the bucket.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bucket = data_bucket(self)
        DistributedMapPipeline(
            self,
            "Shards",
            items=ItemSource.json(bucket, "shards.json"),
            worker=Worker.nested(
                items=ItemSource.state_array("$.value.parts"),
                worker=Worker.python(folder("shards"), handler="handler.part"),
                max_concurrency=10,
                # A child for each part, as in the system that this shows.
                batching=Batching.none(),
                combine=Combiner.python(folder("shards"), handler="handler.join_parts"),
            ),
            max_concurrency=5,
            combine=Combiner.python(folder("shards"), handler="handler.join_shards"),
        )


class Ranges(cdk.Stack):
    """S4: capture pages ``{number, chunk}`` into ranges; the map reads them, five batches at a time.

    Start it with ``{"number": 100000, "chunk": 5}``.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        DistributedMapPipeline(
            self,
            "Ranges",
            items=ItemSource.captured(Capture.ranges()),
            worker=Worker.python(folder("range_squares"), handler="handler.handler"),
            max_concurrency=5,
            batching=Batching(max_items=100),
            combine=Combiner.python(folder("range_squares"), handler="handler.combine"),
        )


class SourceCode(cdk.Stack):
    """The main act of ``make demo``: files of Python source, one item each, and totals over all of them.

    Start it with ``{}``.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        bucket = data_bucket(self)
        pipeline = DistributedMapPipeline(
            self,
            "SourceCode",
            items=ItemSource.captured(Capture.s3_listing(bucket, prefixes=["source/"], suffix=".py")),
            worker=Worker.python(folder("source_code"), handler="handler.handler"),
            max_concurrency=20,
            batching=Batching(max_items=20),
            # The standard library holds files that are wrong on purpose, for the tests of its parsers.
            tolerated_failure_percentage=5,
            combine=Combiner.python(folder("source_code"), handler="handler.combine"),
        )
        let_read(pipeline.worker, bucket, "source/*")


app = cdk.App()
for stack in (ContentLength, SumOfSquares, Images, Shards, Ranges, SourceCode):
    stack(app, stack.__name__)
app.synth()
