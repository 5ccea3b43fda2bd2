"""Places that the input names, end to end: listings, inventories and Athena manifests, under enforced roles."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from tests.deployments import Deploy

pytestmark = pytest.mark.checkout

DAYS = ("2026-11-27", "2026-11-28")


@pytest.fixture(scope="module")
def aws(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """Pipelines of states alone over each kind of source, and two days of data in two buckets."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_stepfunctions as sfn

    from cdk_distributed_map import DistributedMapPipeline, FileFormat, ItemSource, Worker

    folder = tmp_path_factory.mktemp("places")
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Places")
    lake, other = (s3.Bucket.from_bucket_name(stack, name, name) for name in ("lake", "other"))
    both = [lake, other]
    csv = FileFormat.csv(headers=["n"])
    sources = {
        "Listed": ItemSource.s3_objects(both, prefix="$.prefix", key_prefix="in/"),
        "Loaded": ItemSource.s3_objects(
            both, prefix="{% 'in/' & $states.input.day & '/' %}", key_prefix="in/", load=csv, bucket_path="$.where"
        ),
        "Inventory": ItemSource.inventory(both, "$.manifest", key_prefix="inv/lake/all/"),
        "Athena": ItemSource.athena_manifest(
            both, "$.manifest", format=FileFormat.json_lines(), key_prefix="athena/", data_prefix="athena/data/"
        ),
    }
    for name, source in sources.items():
        DistributedMapPipeline(
            stack,
            name,
            items=source,
            worker=Worker.states(lambda scope: sfn.Pass(scope, "Pass")),
            state_machine_name=name,
        )
    app.synth()
    client = shared_aws.client("s3")
    for bucket in ("lake", "other", "forbidden"):
        client.create_bucket(Bucket=bucket)
        for at, day in enumerate(DAYS):
            rows = range(at + 1)
            data = f"inv/lake/all/data/{day}.csv.gz"
            inventory = {
                "destinationBucket": f"arn:aws:s3:::{bucket}",
                "fileFormat": "CSV",
                "fileSchema": "Bucket, Key",
                "files": [{"key": data}],
            }
            objects: dict[str, bytes] = {
                f"in/{day}/rows": "".join(f"{bucket}-{n}\n" for n in rows).encode(),
                f"elsewhere/{day}/rows": b"0\n",
                data: gzip.compress("".join(f'"{bucket}","k{n}"\n' for n in rows).encode()),
                f"inv/lake/all/{day}T00-00Z/manifest.json": json.dumps(inventory).encode(),
                f"athena/data/{day}": "".join(f'{{"n": "{bucket}-{n}"}}\n' for n in rows).encode(),
                f"athena/{day}-manifest.csv": f"s3://{bucket}/athena/data/{day}\n".encode(),
            }
            for key, body in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=body)
    deploy(folder / "cdk.out", "Places")
    return shared_aws


def given(name: str, bucket: str, day: str) -> dict[str, Any]:
    return {
        "Listed": {"bucket": bucket, "prefix": f"in/{day}/"},
        "Loaded": {"where": bucket, "day": day},
        "Inventory": {"bucket": bucket, "manifest": f"inv/lake/all/{day}T00-00Z/manifest.json"},
        "Athena": {"bucket": bucket, "manifest": f"athena/{day}-manifest.csv"},
    }[name]


def items(aws: LocalAws, output: dict[str, Any]) -> list[Any]:
    """Return what the children got, in the order of its text."""
    s3 = aws.client("s3")
    place = output["results"]
    manifest = json.loads(s3.get_object(Bucket=place["bucket"], Key=place["key"])["Body"].read())
    found = [
        json.loads(json.loads(line)["Output"])["value"]
        for file in manifest["ResultFiles"]["SUCCEEDED"]
        for line in s3.get_object(Bucket=place["bucket"], Key=file["Key"])["Body"].read().splitlines()
    ]
    return sorted(found, key=json.dumps)


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("bucket", ["lake", "other"])
@pytest.mark.parametrize("name", ["Listed", "Loaded", "Inventory", "Athena"])
def test_what_the_input_names_is_read_and_nothing_else(name: str, bucket: str, day: str, aws: LocalAws) -> None:
    run = aws.run(name, given(name, bucket, day), timeout=60).check()
    rows = range(DAYS.index(day) + 1)
    found = items(aws, run.output)
    if name == "Listed":
        found = [each["Key"] for each in found]
    assert (
        found
        == {
            "Listed": [f"in/{day}/rows"],
            "Loaded": [{"n": f"{bucket}-{n}"} for n in rows],
            "Inventory": [{"Bucket": bucket, "Key": f"k{n}"} for n in rows],
            "Athena": [{"n": f"{bucket}-{n}"} for n in rows],
        }[name]
    )


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "listing outside": ("Listed", {"bucket": "lake", "prefix": "elsewhere/"}),
    "listing of everything": ("Listed", {"bucket": "lake", "prefix": ""}),
    "listing of another bucket": ("Listed", given("Listed", "forbidden", DAYS[0])),
    "loading from another bucket": ("Loaded", given("Loaded", "forbidden", DAYS[0])),
    "inventory of another bucket": ("Inventory", given("Inventory", "forbidden", DAYS[0])),
    "inventory outside": ("Inventory", {"bucket": "lake", "manifest": "elsewhere/manifest.json"}),
    "query of another bucket": ("Athena", given("Athena", "forbidden", DAYS[0])),
    "without a prefix": ("Listed", {"bucket": "lake"}),
    "without a manifest": ("Athena", {"bucket": "lake"}),
    "prefix that is a number": ("Listed", {"bucket": "lake", "prefix": 5}),
}


@pytest.mark.parametrize("case", WRONG)
def test_fails_when_the_input_names_what_the_role_may_not_read(case: str, aws: LocalAws) -> None:
    name, asked = WRONG[case]
    run = aws.run(name, asked, timeout=60)
    assert run.status == "FAILED"
    assert run.error in {"States.ItemReaderFailed", "States.QueryEvaluationError", "States.Runtime"}
