"""Definitions of real pipelines, as the construct renders them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def render_definitions(folder: Path) -> dict[str, str]:
    """Return definitions of real pipelines, by name; the payload bucket reads ``payload`` in them."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import (
        Batching,
        Capture,
        DistributedMapPipeline,
        ItemShape,
        ItemSource,
        Results,
        Transformation,
        Worker,
    )
    from cdk_distributed_map.graphs import parse

    code = folder / "code"
    code.mkdir()
    (code / "handler.py").write_text(
        "from distmap import process_items\n\nhandler = process_items(lambda item: item)\n"
    )
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    data = s3.Bucket.from_bucket_name(stack, "Data", "data")
    payload = s3.Bucket.from_bucket_name(stack, "Payload", "payload")
    worker = Worker.python(str(code), handler="handler.handler")
    common: dict[str, Any] = {"payload_bucket": payload, "max_concurrency": 5}
    batched = Batching(max_items=10)
    made = {
        "Squares": DistributedMapPipeline(
            stack,
            "Squares",
            items=ItemSource.captured(Capture.ranges()),
            worker=worker,
            batching=batched,
            **common,
        ),
        "Listed": DistributedMapPipeline(
            stack,
            "Listed",
            items=ItemSource.s3_objects(data, prefix="in/"),
            worker=worker,
            batching=batched,
            tolerated_failure_percentage=5,
            payload_prefix="team a/",
            item_selector={"key.$": "$$.Map.Item.Value.Key"},
            results=Results(transformation=Transformation.COMPACT),
            **common,
        ),
        "Bare": DistributedMapPipeline(
            stack,
            "Bare",
            items=ItemSource.captured(Capture.ranges()),
            worker=Worker.states(lambda scope: sfn.Pass(scope, "Pass"), item_shape=ItemShape.BARE),
            **common,
        ),
        "Outer": DistributedMapPipeline(
            stack,
            "Outer",
            items=ItemSource.state_array("$.items"),
            worker=Worker.nested(
                items=ItemSource.state_array("$.value.parts"),
                worker=worker,
                max_concurrency=2,
                batching=Batching.none(),
            ),
            **common,
        ),
    }
    found = {}
    for name, pipeline in made.items():
        machine = pipeline.state_machine.node.default_child
        assert machine is not None
        text = cdk.Stack.of(machine).resolve(machine.definition_string)  # type: ignore[attr-defined] # a CfnStateMachine
        found[name] = json.dumps(parse(text))
    return found
