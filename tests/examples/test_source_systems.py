"""What the systems that this one comes from were sent, sent to the example app deployed to a local AWS, and compared.

Each test sends exactly that and expects exactly what its system gave: whoever moves here changes no input.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from cdk_distributed_map import Batching, Capture, DistributedMapPipeline, FileFormat, ItemSource, Worker
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Run
from tests.deployments import Deploy

pytestmark = pytest.mark.deploy

LAMBDAS = Path(__file__).resolve().parents[2] / "lambdas"
EXAMPLES = ("ContentLength", "SumOfSquares", "Images", "Shards", "Ranges")
OBJECTS = {"a.txt": b"x", "folder/b.bin": b"y" * 300_000, "empty": b"", 'käse, und "Brot".csv': b"1,2\n"}


class Sources(cdk.Stack):
    """The worker of ContentLength behind the other ways to give items, and a capture with an end."""

    def __init__(self, scope: cdk.App) -> None:
        super().__init__(scope, "Sources")
        bucket = s3.Bucket(self, "Data")
        cdk.CfnOutput(self, "DataBucket", value=bucket.bucket_name)
        # A listed object, and one of an inventory, holds the item: the worker reads it there.
        listed = {"parameters": {"bucket": bucket.bucket_name, "key.$": "$$.Map.Item.Value.Key"}}
        first = DistributedMapPipeline(
            self,
            "Array",
            items=ItemSource.state_array("$"),
            worker=Worker.python(str(LAMBDAS / "content_length"), handler="handler.handler"),
            batching=Batching.none(),
        )
        first.worker.add_to_role_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects("*")])
        )
        loaded = ItemSource.s3_objects(bucket, prefix="parameters/", load=FileFormat.json_lines())
        inventory = ItemSource.inventory(bucket, "inventory/2026-11-28T01-00Z/manifest.json")
        for name, items, selector in (
            ("Listing", ItemSource.s3_objects(bucket, prefix="parameters/"), listed),
            ("Loaded", loaded, None),
            ("Csv", ItemSource.csv(bucket, "items.csv"), None),
            ("Inventory", inventory, listed),
        ):
            DistributedMapPipeline(
                self,
                name,
                items=items,
                worker=Worker.function(first.worker),
                item_selector=selector,
                payload_bucket=first.payload_bucket,
                payload_prefix=f"{name.lower()}/",
            )
        DistributedMapPipeline(
            self,
            "Some",
            items=ItemSource.captured(Capture.ranges(), max_items="{% $exists($states.input.most) ? 10 : 3 %}"),
            worker=Worker.python(str(LAMBDAS / "range_squares"), handler="handler.handler"),
            batching=Batching(max_items=4),
        )


@pytest.fixture(scope="module")
def aws(
    shared_aws: LocalAws, deploy: Deploy, example_assembly: Path, tmp_path_factory: pytest.TempPathFactory
) -> LocalAws:
    """The stacks, deployed once."""
    app = cdk.App(analytics_reporting=False, outdir=str(tmp_path_factory.mktemp("sources") / "cdk.out"))
    Sources(app)
    app.synth()
    deploy(example_assembly, *EXAMPLES)
    deploy(app.outdir)
    return shared_aws


@pytest.fixture(scope="module")
def client(aws: LocalAws) -> Client:
    return Client(endpoint_url=aws.endpoint_url, region="us-east-1")


@pytest.fixture(scope="module")
def put(aws: LocalAws) -> Callable[[str, dict[str, bytes]], str]:
    """Puts objects into the data bucket of a stack and returns its name."""

    def put_all(stack: str, objects: dict[str, bytes]) -> str:
        (described,) = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        bucket: str = next(each["OutputValue"] for each in described["Outputs"] if each["OutputKey"] == "DataBucket")
        for key, body in objects.items():
            aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        return bucket

    return put_all


Put = Callable[[str, dict[str, bytes]], str]


def finished(client: Client, pipeline: str, given: Any) -> Run:
    """Run a pipeline; every item must be in its ledger, as a success."""
    run = client.pipeline(pipeline).start(given)
    assert run.wait().succeeded, run.describe()
    ledger = run.ledger()
    assert (ledger.is_complete, ledger.unsuccessful, ledger.problems) == (True, 0, ())
    return run


def values(run: Run) -> list[Any]:
    return [each.value for each in run.results(ordered=True)]


# -- S0: Distributed Map over a file that the input names


def test_lengths_of_the_objects_that_a_json_file_names(client: Client, put: Put) -> None:
    bucket = put("ContentLength", OBJECTS)
    items = json.dumps([{"bucket": bucket, "key": key} for key in OBJECTS])
    put("ContentLength", {"map_input.json": items.encode()})
    given = {"map_input_s3_bucket": bucket, "map_input_s3_key": "map_input.json"}
    run = finished(client, "ContentLength", given)
    assert values(run) == [1, 300_000, 0, 4]


@pytest.fixture(scope="module")
def items(put: Put) -> list[dict[str, str]]:
    """The items, in each of the ways to give them but the first."""
    bucket = put("Sources", OBJECTS)
    items = [{"bucket": bucket, "key": key} for key in OBJECTS]
    parameters = {f"parameters/{at}.json": json.dumps(item).encode() for at, item in enumerate(items)}
    quoted = [item["key"].replace('"', '""') for item in items]
    rows = "".join(f'{bucket},"{key}"\n' for key in quoted)
    inventory = "".join(f'"{bucket}","{key}"\n' for key in parameters)
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key",
        "files": [{"key": "inventory/data/one.csv", "size": len(inventory), "MD5checksum": "0" * 32}],
    }
    files = {
        "items.csv": f"bucket,key\n{rows}".encode(),
        "inventory/data/one.csv": inventory.encode(),
        "inventory/2026-11-28T01-00Z/manifest.json": json.dumps(manifest).encode(),
    }
    put("Sources", {**parameters, **files})
    return items


@pytest.mark.parametrize("source", ["Listing", "Loaded", "Csv", "Inventory"])
def test_lengths_of_the_objects_however_they_are_named(
    client: Client, items: list[dict[str, str]], source: str
) -> None:
    assert values(finished(client, f"Sources/{source}", {})) == [1, 300_000, 0, 4]


def test_lengths_of_the_objects_that_the_input_names(client: Client, items: list[dict[str, str]]) -> None:
    assert values(finished(client, "Sources/Array", items)) == [1, 300_000, 0, 4]


# -- S1: a map with reserved concurrency


@pytest.fixture(scope="module")
def numbers() -> dict[str, tuple[bytes, int]]:
    """Files of integers, one a line, with an empty last line; and the sums of their squares."""
    source = random.Random(7)  # noqa: S311 - sample data
    found = {}
    for at in range(1, 31):
        lines = [source.randrange(-1000, 1000) for _ in range(100)]
        text = "".join(f"{number}\n" for number in lines) + "\n"
        found[f"random_{at}.log"] = (text.encode(), sum(number**2 for number in lines))
    return found


def test_sums_of_squares_of_the_files_that_a_bare_array_names(
    client: Client, put: Put, numbers: dict[str, tuple[bytes, int]]
) -> None:
    bucket = put("SumOfSquares", {f"today/{name}": body for name, (body, _) in numbers.items()})
    given = [{"key": f"today/{name}", "bucket": f"arn:aws:s3:::{bucket}"} for name in numbers]
    run = finished(client, "SumOfSquares/SumOfSquaresOfInput", given)
    assert values(run) == [total for _, total in numbers.values()]


def test_sums_of_squares_of_the_files_under_a_prefix_but_the_empty_ones(
    client: Client, put: Put, numbers: dict[str, tuple[bytes, int]]
) -> None:
    files = {f"numbers/{name}": body for name, (body, _) in numbers.items()}
    put("SumOfSquares", {**files, "numbers/": b"", "numbers/random_0.log": b""})
    run = finished(client, "SumOfSquares/SumOfSquares", {})
    assert values(run) == [numbers[name][1] for name in sorted(numbers)]


def test_an_array_that_is_the_whole_input_leaves_item_files_as_they_are(
    aws: LocalAws, client: Client, put: Put, numbers: dict[str, tuple[bytes, int]], tmp_path: Path
) -> None:
    name, (body, total) = next(iter(numbers.items()))
    bucket = put("SumOfSquares", {f"today/{name}": body})
    item = {"key": f"today/{name}", "bucket": bucket}
    pipeline = client.pipeline("SumOfSquares/SumOfSquaresOfInput")
    (tmp_path / "items.jsonl").write_text(f"{json.dumps(item)}\n")
    with (tmp_path / "items.jsonl").open("rb") as items:
        run = pipeline.start(items=items)
    assert run.wait().succeeded
    assert values(run) == [total]
    refused = pipeline.start({"items": [item]})
    assert not refused.wait().succeeded
    described = refused.describe()
    assert described.error == "Distmap.ItemFileRefused"
    assert "items in the input must name a file of them in the payload bucket" in str(described.cause)


# -- S2: images under a prefix, listed by the map


@pytest.mark.parametrize("count", [4, pytest.param(1000, marks=pytest.mark.slow)])
def test_images_under_a_prefix(client: Client, put: Put, jpeg: Callable[[int, int, int], bytes], count: int) -> None:
    """By Pillow, which is bundled for Lambda and runs here in the same version."""
    sizes = {f"images/{at:04}.jpg": (at % 40 + 1, at % 7 + 1) for at in range(count)}
    put("Images", {key: jpeg(*size, at % 256) for at, (key, size) in enumerate(sizes.items())})
    run = finished(client, "Images/Images", {"Comment": "Insert your JSON here", "n": [1, None]})
    assert values(run) == [
        {"key": key, "width": width, "height": height, "brightness": round(at % 256 / 255, 4)}
        for at, (key, (width, height)) in enumerate(sizes.items())
    ]


def test_pillow_is_in_the_function_for_its_own_machine(example_templates: Any, example_assembly: Path) -> None:
    functions = [
        each["Properties"]
        for each in example_templates["Images"]["Resources"].values()
        if each["Type"] == "AWS::Lambda::Function"
    ]
    (worker,) = (each for each in functions if each.get("MemorySize") == 512)
    assert (worker["Runtime"], worker["Architectures"]) == ("python3.13", ["arm64"])
    folder = example_assembly / f"asset.{worker['Code']['S3Key'].removesuffix('.zip')}"
    compiled = list(folder.glob("PIL/*.so"))
    assert compiled
    assert {path.name.partition(".")[2] for path in compiled} == {"cpython-313-aarch64-linux-gnu.so"}
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in compiled} == {183}


# -- S3: a foreach, a foreach inside a foreach, and the joins


def record_inputs(aws: LocalAws, run: Run, folder: str) -> list[dict[str, Any]]:
    """Return what the children whose results are in a folder of the run got."""
    bucket, client = run.pipeline.definition.item_file.bucket, aws.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{run.prefix}{folder}/")
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if "/SUCCEEDED_" in key]
    return [json.loads(json.loads(line)["Input"]) for body in bodies for line in body.splitlines()]


def random_numbers(seed: int, size: int) -> list[float]:
    source = random.Random(seed)  # noqa: S311 - the sample data of the worker
    return [source.random() for _ in range(size)]


@pytest.mark.parametrize(
    "shards",
    [
        pytest.param([1000], id="a-foreach-over-1000", marks=pytest.mark.slow),
        pytest.param([3, 1, 4], id="map-map-join-join"),
    ],
)
def test_every_child_at_any_depth_knows_the_root_run(
    aws: LocalAws, client: Client, put: Put, shards: list[int]
) -> None:
    seeds = iter(range(sum(shards)))
    parts = [[{"seed": next(seeds), "size": 2} for _ in range(count)] for count in shards]
    put("Shards", {"shards.json": json.dumps([{"parts": each} for each in parts]).encode()})
    run = finished(client, "Shards", {})
    output: Any = run.describe().output
    numbers = [number for each in parts for part in each for number in random_numbers(part["seed"], part["size"])]
    assert output["combined"] == {
        "count": len(numbers),
        "total": pytest.approx(sum(numbers)),
        "largest": max(numbers),
    }
    outer, inner = record_inputs(aws, run, "results"), record_inputs(aws, run, "nested")
    assert (len(outer), len(inner)) == (len(shards), sum(shards))
    assert {each["run"]["id"] for each in [*outer, *inner]} == {run.describe().arn}
    assert sorted(each["run"]["path"] for each in outer) == [""] * len(shards)
    found = {(int(each["run"]["path"].removeprefix("/")), each["index"]): each["value"] for each in inner}
    assert found == {(at, index): part for at, each in enumerate(parts) for index, part in enumerate(each)}


# -- S4: capture, payload bucket, map


def captured_items(aws: LocalAws, run: Run) -> list[dict[str, int]]:
    bucket = run.pipeline.definition.item_file.bucket
    body = aws.client("s3").get_object(Bucket=bucket, Key=f"{run.prefix}items.jsonl")["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def assert_squares_add_up(aws: LocalAws, client: Client, number: int) -> None:
    """Run ranges of five, and look at the items and at what is combined."""
    run = finished(client, "Ranges", {"number": number, "chunk": 5})
    assert captured_items(aws, run) == [{"from": low, "to": low + 5} for low in range(0, number, 5)]
    output: Any = run.describe().output
    ranges = number // 5
    assert output["items"]["count"] == ranges
    assert output["combined"] == {"ranges": ranges, "failed": 0, "sum": sum(n * n for n in range(number))}


def test_a_thousand_numbers_in_ranges_of_five(aws: LocalAws, client: Client) -> None:
    assert_squares_add_up(aws, client, 1000)


@pytest.mark.slow
def test_a_hundred_thousand_numbers_in_ranges_of_five(aws: LocalAws, client: Client) -> None:
    assert_squares_add_up(aws, client, 100_000)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [{"from": at, "to": at + 1} for at in range(10)]),
        ({"number": 12, "chunk": 5}, [{"from": 0, "to": 5}, {"from": 5, "to": 10}, {"from": 10, "to": 12}]),
        ({"chunk": 20}, [{"from": 0, "to": 10}]),
        ({"number": 2}, [{"from": 0, "to": 1}, {"from": 1, "to": 2}]),
    ],
    ids=["nothing", "both", "no-number", "no-chunk"],
)
def test_ranges_of_an_input_that_may_leave_things_out(
    aws: LocalAws, client: Client, given: dict[str, int], expected: list[dict[str, int]]
) -> None:
    assert captured_items(aws, finished(client, "Ranges", given)) == expected


@pytest.mark.parametrize("items", [{"key": 5}, [{"from": 0, "to": 1}]], ids=["number", "array"])
def test_fails_when_items_of_the_input_are_no_item_file(client: Client, items: Any) -> None:
    run = client.pipeline("Ranges").start({"number": 5, "items": items})
    assert not run.wait().succeeded
    described = run.describe()
    assert described.error == "Distmap.ItemFileRefused"
    bucket = client.pipeline("Ranges").definition.item_file.bucket
    assert f'"bucket": "{bucket}", "key": "items/..."' in str(described.cause)
    assert run.map_runs() == []


def test_items_beyond_the_most_are_no_items_of_the_run(aws: LocalAws, client: Client) -> None:
    run = finished(client, "Sources/Some", {"number": 100, "most": True})
    assert len(captured_items(aws, run)) == 10
    assert (run.ledger().captured, run.retry()) == (10, None)
    assert values(run) == [{"sum": at * at} for at in range(10)]


def test_the_most_items_are_no_limit_of_an_item_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text("".join(f'{{"from": 0, "to": {at}}}\n' for at in range(20)))
    with (tmp_path / "items.jsonl").open("rb") as items:
        run = client.pipeline("Sources/Some").start(items=items)
    assert run.wait().succeeded
    assert run.ledger().succeeded == 20
