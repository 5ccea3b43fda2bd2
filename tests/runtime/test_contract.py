"""What the construct renders, evaluated by a JSONata library that knows nothing of it, goes to the real handlers.

ItemSelector, ItemBatcher and the states around the map are evaluated here as Step Functions documents them; what comes
out of one handler goes into the next one, through a real S3 API.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from jsonata import jsonata
from jsonata.utils import Utils

from cdk_distributed_map import Batching, Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from distmap import Results, capture_input, combine_results, item_key, process_items

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Squares:run-1"
CONTEXT = {"Execution": {"Id": EXECUTION, "Name": "run-1", "Input": {}}}
NUMBER, CHUNK = 22_000, 2


@process_items
def worker(item: dict[str, int]) -> dict[str, Any]:
    return {"sum": sum(range(item["from"], item["to"])), "key": item_key()}


@combine_results
def combine(results: Results) -> dict[str, Any]:
    succeeded = [result for result in results if result.succeeded]
    wrong = [result for result in succeeded if result.value["key"] != f"{EXECUTION}/{result.index}"]
    return {"sum": sum(result.value["sum"] for result in succeeded), "count": len(succeeded), "wrong keys": len(wrong)}


def evaluate(value: Any, **states: Any) -> Any:
    """Evaluate the JSONata in a rendered value, as it is outside of rounds."""
    if isinstance(value, dict):
        return {key: evaluate(item, **states) for key, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, **states) for item in value]
    if not (isinstance(value, str) and value.startswith("{%")):
        return value
    result = _parsed(value).evaluate(None, {"states": _nulls(states, None, Utils.NULL_VALUE), "distmapRound": 0})
    return _nulls(result, Utils.NULL_VALUE, None)


@cache
def _parsed(text: str) -> Any:
    expression = jsonata.Jsonata(text.removeprefix("{%").removesuffix("%}"))
    expression.set_output_convert_nulls(False)
    return expression


def _nulls(value: Any, old: Any, new: Any) -> Any:
    """Exchange the library's null, which it tells from what is undefined, and JSON's."""
    if isinstance(value, dict):
        return {key: _nulls(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_nulls(item, old, new) for item in value]
    return new if value is old else value


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """The states of two pipelines, by pipeline and bucket: one with batches, one without."""
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path_factory.mktemp("cdk.out")))
    stack = cdk.Stack(app, "Stack")
    function = lambda_.Function(
        stack,
        "Function",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline("def handler(event, context): ..."),
        timeout=cdk.Duration.seconds(30),
    )
    for name, batching in (("Batches", Batching(max_items=100)), ("Singles", None)):
        DistributedMapPipeline(
            stack,
            name,
            items=ItemSource.captured(Capture.ranges()),
            worker=Worker.function(function),
            batching=batching,
            combine=Combiner.function(function),
        )
    template = json.loads((Path(app.synth().directory) / "Stack.template.json").read_text())

    def states(id: str, bucket: str) -> dict[str, Any]:
        (machine,) = [
            resource["Properties"]
            for name, resource in template["Resources"].items()
            if resource["Type"] == "AWS::StepFunctions::StateMachine" and name.startswith(id)
        ]
        text = machine["DefinitionString"]
        parts = text["Fn::Join"][1] if isinstance(text, dict) else [text]
        known = {
            name: bucket for name in template["Resources"] if template["Resources"][name]["Type"] == "AWS::S3::Bucket"
        }
        joined = "".join(part if isinstance(part, str) else known.get(part.get("Ref", ""), "arn") for part in parts)
        found: dict[str, Any] = json.loads(joined)["States"]
        return {name.removeprefix(f"{id} "): state for name, state in found.items()}

    return states


class OutOfTime:
    """A Lambda context whose deadline is always near."""

    def get_remaining_time_in_millis(self) -> int:
        return 0


def capture_all(states: dict[str, Any], given: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Capture over as many invocations as it takes, and return the state's output."""
    invocations = 0
    while True:
        payload = evaluate(states["capture"]["Arguments"]["Payload"], input=given, context=CONTEXT)
        assert len(json.dumps(payload)) < 262_144
        answer = json.loads(json.dumps(capture_input(payload, OutOfTime())))
        invocations += 1
        given = evaluate(states["capture"]["Output"], input=given, context=CONTEXT, result={"Payload": answer})
        choice, _nothing = states["captured all"]["Choices"]
        if not evaluate(choice["Condition"], input=given, context=CONTEXT):
            return given, invocations


def child_inputs(states: dict[str, Any], given: dict[str, Any], lines: list[bytes]) -> list[Any]:
    """Apply ItemSelector to every item and ItemBatcher to all of them."""
    rendered = states["map"]
    selected = []
    for index, line in enumerate(lines):
        context = {**CONTEXT, "Map": {"Item": {"Index": index, "Value": json.loads(line)}}}
        selected.append(evaluate(rendered["ItemSelector"], input=given, context=context))
    if "ItemBatcher" not in rendered:
        return selected
    size = int(evaluate(rendered["ItemBatcher"]["MaxItemsPerBatch"], input=given, context=CONTEXT))
    batch_input = evaluate(rendered["ItemBatcher"]["BatchInput"], input=given, context=CONTEXT)
    batches = [selected[first : first + size] for first in range(0, len(selected), size)]
    return [{"BatchInput": batch_input, "Items": batch} for batch in batches]


@pytest.mark.parametrize("id", ["Batches", "Singles"])
def test_a_run_goes_through_the_real_handlers(
    id: str, pipelines: Callable[[str, str], dict[str, Any]], s3: S3Client, export: Any
) -> None:
    states = pipelines(id, export.bucket)
    number = NUMBER if id == "Batches" else 50
    captured, invocations = capture_all(states, {"number": number, "chunk": CHUNK})
    assert captured["items"]["count"] == number // CHUNK
    assert invocations == (3 if id == "Batches" else 2)

    reader = evaluate(states["map"]["ItemReader"], input=captured, context=CONTEXT)
    assert reader["ReaderConfig"]["InputType"] == "JSONL"
    body = s3.get_object(**reader["Arguments"])["Body"].read()
    children = child_inputs(states, captured, body.splitlines())
    (task,) = states["map"]["ItemProcessor"]["States"].values()
    for child in children:
        event = evaluate(task["Arguments"]["Payload"], input=child, context=CONTEXT)
        assert event == child
        export.run_child(worker, event)

    prefix = evaluate(states["map"]["ResultWriter"]["Arguments"]["Prefix"], input=captured, context=CONTEXT)
    assert export.folder.startswith(f"{prefix}/")
    place = export.write()
    details = {"MapRunArn": "arn", "ResultWriterDetails": {"Bucket": place["bucket"], "Key": place["key"]}}
    output = evaluate(states["map"]["Output"], input=captured, context=CONTEXT, result=details)
    combined = combine(evaluate(states["combine"]["Arguments"]["Payload"], input=output, context=CONTEXT))
    assert combined == {"sum": number * (number - 1) // 2, "count": number // CHUNK, "wrong keys": 0}
