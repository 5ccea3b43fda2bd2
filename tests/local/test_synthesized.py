"""What the construct renders, on the engine: every source and shape of pipeline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk.assertions import Template

from cdk_distributed_map import (
    Accounting,
    Batching,
    Capture,
    Combiner,
    CsvDelimiter,
    DistributedMapPipeline,
    FileFormat,
    ItemSource,
    Worker,
)
from cdk_distributed_map.graphs import parse
from cdk_distributed_map.local.program import compile_definition

if TYPE_CHECKING:
    from tests.local.bench import Bench

Source = Callable[[s3.IBucket], ItemSource]

SOURCES: dict[str, Source] = {
    "captured": lambda _: ItemSource.captured(Capture.ranges()),
    "objects": lambda bucket: ItemSource.s3_objects(bucket, prefix="in/"),
    "flattened": lambda bucket: ItemSource.s3_objects(bucket, prefix="in/", load=FileFormat.json_lines()),
    "json": lambda bucket: ItemSource.json(bucket, "a.json", items_pointer="/a", max_items="$.most"),
    "json-lines": lambda bucket: ItemSource.json_lines(bucket, "a.jsonl"),
    "csv": lambda bucket: ItemSource.csv(bucket, "a.csv", headers=["a"], delimiter=CsvDelimiter.PIPE),
    "parquet": lambda bucket: ItemSource.parquet(bucket, "a.parquet"),
    "inventory": lambda bucket: ItemSource.inventory(bucket, "b/manifest.json"),
    "athena": lambda bucket: ItemSource.athena_manifest(
        bucket, "b-manifest.csv", format=FileFormat.json_lines(), data_prefix="b/"
    ),
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Definitions by source, and of one pipeline with everything, their references as ``${...}``."""
    code, out = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("out")
    (code / "handler.py").write_text("from elsewhere import handler\n")
    stack = cdk.Stack(cdk.App(analytics_reporting=False, outdir=str(out)), "Stack")
    bucket = s3.Bucket.from_bucket_name(stack, "Data", "data")
    worker = Worker.python(str(code), handler="handler.handler")
    machines: dict[str, sfn.StateMachine] = {}
    for at, (name, source) in enumerate(SOURCES.items()):
        batching = Batching(max_items=10)
        machines[name] = DistributedMapPipeline(
            stack, f"Each{at}", items=source(bucket), worker=worker, batching=batching
        ).state_machine
    machines["all"] = DistributedMapPipeline(
        stack,
        "All",
        items=ItemSource.s3_objects(bucket, prefix="in/"),
        worker=worker,
        batching=Batching(max_items=2),
        child_type=sfn.StateMachineType.EXPRESS,
        combine=Combiner.python(str(code), handler="handler.handler"),
        # The functions of this bench have no files: what accounts for a run is tried where they do.
        accounting=Accounting.none(),
    ).state_machine
    machines["fitting"] = DistributedMapPipeline(
        stack,
        "Fitting",
        items=ItemSource.json_lines(bucket, "a.jsonl"),
        worker=worker,
        max_concurrency="$.children",
        batching=Batching.automatic(item_count="$.rows"),
        accounting=Accounting.none(),
    ).state_machine
    resources = Template.from_stack(stack).to_json()["Resources"]
    ids = {name: stack.get_logical_id(machine.node.default_child) for name, machine in machines.items()}  # type: ignore[arg-type]  # an L2 has a default child
    return {name: json.dumps(parse(resources[made]["Properties"]["DefinitionString"])) for name, made in ids.items()}


@pytest.mark.parametrize("name", list(SOURCES))
def test_every_source_compiles(definitions: dict[str, str], name: str) -> None:
    compile_definition(definitions[name].replace("${AWS::Partition}", "aws"))


def test_pipeline_runs_as_synthesized(bench: Bench, definitions: dict[str, str]) -> None:
    text = definitions["all"]
    data = bench.bucket({f"in/{at}": b"x" * at for at in range(1, 6)})
    payload = bench.bucket()
    functions = {"Worker": "synth-worker", "Combine": "synth-combine"}
    seen: list[Any] = []

    def worker(event: Any) -> Any:
        seen.append(event)
        results = [{"itemIdentifier": str(item["index"]), "result": item["value"]["Size"]} for item in event["Items"]]
        return {"batchItemResults": results, "batchItemFailures": [], "batchItemsUnprocessed": []}

    bench.functions.handlers["synth-worker"] = worker
    bench.functions.handlers["synth-combine"] = lambda event: event["results"]["key"]

    def resolved(match: re.Match[str]) -> str:
        name = match[1]
        if "AWS::" in name:
            return "aws"
        found = [function for part, function in functions.items() if part in name]
        return found[0] if found else payload

    text = re.sub(r"\$\{([^}]+)\}", resolved, text).replace('"data"', f'"{data}"')
    found = bench.run(json.loads(text), {})
    assert found["status"] == "SUCCEEDED", (found.get("error"), found.get("cause"))
    output = json.loads(found["output"])
    run = {
        "id": found["executionArn"],
        "firstRun": found["executionArn"],
        "name": found["name"],
        "bucket": payload,
        "prefix": f"runs/{found['name']}",
        "path": "",
    }
    assert output["run"] == run
    assert output["items"] is None
    assert output["combined"] == output["results"]["key"]
    assert all(event["BatchInput"]["distmap"] == {"run": run} for event in seen)
    assert sorted(item["index"] for event in seen for item in event["Items"]) == [0, 1, 2, 3, 4]
    manifest = json.loads(bench.body(payload, output["results"]["key"]))
    (file,) = manifest["ResultFiles"]["SUCCEEDED"]
    records = [json.loads(line) for line in bench.body(payload, file["Key"]).splitlines()]
    results = [each["result"] for record in records for each in json.loads(record["Output"])["batchItemResults"]]
    assert sorted(results) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"rows": 100, "children": 5}, [10] * 10),
        ({"rows": 90, "children": 1}, [45, 45, 10]),
        ({"rows": 1, "children": 5, "items": {"key": "items/all.jsonl", "count": 100}}, [10] * 10),
        ({"rows": 1, "children": 5, "items": {"key": "items/all.jsonl"}}, [100]),
    ],
    ids=["source", "count-not-quite-right", "item-file", "item-file-without-count"],
)
def test_batches_that_fit_as_synthesized(
    bench: Bench, definitions: dict[str, str], given: dict[str, Any], sizes: list[int]
) -> None:
    lines = b"".join(b'{"n":%d}\n' % n for n in range(100))
    data, payload = bench.bucket({"a.jsonl": lines}), bench.bucket({"items/all.jsonl": lines})
    seen: list[int] = []

    def worker(event: Any) -> Any:
        seen.append(len(event["Items"]))
        results = [{"itemIdentifier": str(item["index"]), "result": 1} for item in event["Items"]]
        return {"batchItemResults": results, "batchItemFailures": [], "batchItemsUnprocessed": []}

    bench.functions.handlers["fitting-worker"] = worker

    def resolved(match: re.Match[str]) -> str:
        name = match[1]
        return "aws" if "AWS::" in name else "fitting-worker" if "Worker" in name else payload

    text = re.sub(r"\$\{([^}]+)\}", resolved, definitions["fitting"]).replace('"data"', f'"{data}"')
    found = bench.run(json.loads(text), given)

    assert found["status"] == "SUCCEEDED", (found.get("error"), found.get("cause"))
    assert sorted(seen, reverse=True) == sizes
