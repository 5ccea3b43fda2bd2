"""A cloud assembly with pipelines of each kind, for plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["write_assembly"]


def write_assembly(folder: Path) -> Path:
    """Write what ``cdk synth`` would, and return its folder."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import (
        Batching,
        Capture,
        Combiner,
        DistributedMapPipeline,
        ItemSource,
        ReservedConcurrency,
        Worker,
    )

    code = folder / "code"
    code.mkdir()
    (code / "handler.py").write_text(
        "from distmap import combine_results, process_items\n\nhandler = process_items(lambda item: item)\n"
        "combine = combine_results(lambda results: None)\n"
    )
    out = folder / "cdk.out"
    app = cdk.App(analytics_reporting=False, outdir=str(out))
    stack = cdk.Stack(app, "Jobs", env=cdk.Environment(region="sa-east-1"))
    data = s3.Bucket.from_bucket_name(stack, "Data", "data")
    own = ReservedConcurrency.none()
    worker = Worker.python(str(code), handler="handler.handler", memory_size=1_024, reserved_concurrency=own)
    DistributedMapPipeline(
        stack,
        "Squares",
        items=ItemSource.captured(Capture.ranges()),
        worker=worker,
        batching=Batching(max_items=100),
        max_concurrency=50,
        combine=Combiner.python(str(code), handler="handler.combine"),
    )
    DistributedMapPipeline(
        stack,
        "Automatic",
        items=ItemSource.captured(Capture.ranges()),
        worker=worker,
        batching=Batching.automatic(item_seconds=0.1),
        max_concurrency=10,
    )
    DistributedMapPipeline(
        stack,
        "Listed",
        items=ItemSource.s3_objects(data, max_items=1_000),
        worker=Worker.function(_alias(stack, code)),
        child_type=sfn.StateMachineType.EXPRESS,
        batching=Batching(max_items=10),
        log_level=sfn.LogLevel.ALL,
        max_concurrency=cdk.CfnParameter(stack, "Concurrency", type="Number", default=7).value_as_number,
    )
    DistributedMapPipeline(
        stack,
        "Outer",
        items=ItemSource.state_array("$.items"),
        worker=Worker.nested(
            items=ItemSource.state_array("$.value.parts"), worker=worker, max_concurrency=2, batching=Batching.none()
        ),
        max_concurrency=5,
    )
    stage = cdk.Stage(app, "Prod")
    for name in ("Jobs", "Twice"):
        of_stage = cdk.Stack(stage, name)
        DistributedMapPipeline(
            of_stage, "Twins", items=ItemSource.state_array("$.items"), worker=worker, max_concurrency=5
        )
    app.synth()
    return out


def _alias(stack: Any, code: Path) -> Any:
    from aws_cdk import Duration
    from aws_cdk import aws_lambda as lambda_

    function = lambda_.Function(
        stack,
        "Given",
        code=lambda_.Code.from_asset(str(code)),
        handler="handler.handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        timeout=Duration.seconds(30),
    )
    return lambda_.Alias(stack, "Live", alias_name="live", version=function.current_version)
