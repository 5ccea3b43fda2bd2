"""Maps that read several files, on the local engine: whether AWS numbers their items through or file by file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client
from tests.cli.command import exit_codes
from tests.deployments import Deploy

HANDLER = """
from pathlib import Path

from distmap import item_key, process_items

HEALED = Path({healed!r})


@process_items
def handler(item):
    number = int(item.get("n") or item["Size"])
    if number % 4 == 3 and not HEALED.exists():
        raise ValueError(f"no luck with {{number}}")
    return {{"n": number, "key": item_key()}}
"""
ROWS = {"data/a.jsonl": [1, 2, 3, 4, 5], "data/b#2.jsonl": [6, 7, 8], "data/ünï/c.jsonl": [9, 10, 11, 12]}
NUMBERS = [number for rows in ROWS.values() for number in rows]
SOURCES = ("Loaded", "Athena", "Inventory")


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("healed") / "healed"


@pytest.fixture(scope="module")
def engine(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory, healed: Path) -> LocalAws:
    """A local AWS with a pipeline for each source of several files, in batches of 4, and those files."""
    import aws_cdk as cdk
    from aws_cdk import aws_s3 as s3

    from cdk_distributed_map import Batching, DistributedMapPipeline, FileFormat, ItemSource, Worker

    folder = tmp_path_factory.mktemp("files")
    (folder / "worker").mkdir()
    (folder / "worker" / "handler.py").write_text(HANDLER.format(healed=str(healed)))
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    bucket = s3.Bucket(stack, "Data", bucket_name="rows-in-files")
    rows = FileFormat.json_lines()
    sources = {
        "Loaded": ItemSource.s3_objects(bucket, prefix="data/", load=rows),
        "Athena": ItemSource.athena_manifest(bucket, manifest_key="manifest.csv", data_prefix="data/", format=rows),
        "Inventory": ItemSource.inventory(bucket, manifest_key="manifest.json", data_prefix="listed/"),
    }
    for name, source in sources.items():
        DistributedMapPipeline(
            stack,
            name,
            items=source,
            worker=Worker.python(str(folder / "worker"), handler="handler.handler"),
            batching=Batching(max_items=4),
            tolerated_failure_percentage=100,
        )
    app.synth()
    deploy(folder / "cdk.out", "Stack")
    _write_files(shared_aws.client("s3"))
    return shared_aws


def _write_files(s3: Any) -> None:
    def put(key: str, body: bytes) -> None:
        s3.put_object(Bucket="rows-in-files", Key=key, Body=body)

    for key, rows in ROWS.items():
        put(key, "".join(f"{json.dumps({'n': number})}\n" for number in rows).encode())
    put("manifest.csv", "".join(f"s3://rows-in-files/{key}\n" for key in ROWS).encode())
    listed = [f"listed/{at}.csv.gz" for at in range(len(ROWS))]
    for key, rows in zip(listed, ROWS.values(), strict=True):
        put(key, gzip.compress("".join(f'"rows-in-files","k","{number}"\n' for number in rows).encode()))
    manifest = {
        "sourceBucket": "rows-in-files",
        "destinationBucket": "arn:aws:s3:::rows-in-files",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size",
        "files": [{"key": key} for key in listed],
    }
    put("manifest.json", json.dumps(manifest).encode())


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


# Each source and each way to number, which are told apart in different places; `make test-all` tries each with each.
NUMBERED = {0: "numbered-through", 1: "numbered-by-file"}
QUICK = {("Loaded", 1), ("Athena", 1), ("Inventory", 0)}


@pytest.mark.parametrize(
    ("source", "by_file"),
    [
        pytest.param(source, number, id=f"{source}-{way}", marks=() if (source, number) in QUICK else pytest.mark.slow)
        for source in SOURCES
        for number, way in NUMBERED.items()
    ],
)
def test_each_item_is_accounted_for_and_retried(
    source: str, by_file: int, engine: LocalAws, distmap: Callable[..., tuple[int, str]], healed: Path
) -> None:
    engine.faults.index_by_file = by_file
    healed.unlink(missing_ok=True)
    name = f"numbered-{by_file}"
    assert distmap("run", source, "--name", name, "--watch")[0] == exit_codes.ITEMS_FAILED
    unlucky = [number for number in NUMBERS if number % 4 == 3]

    code, out = distmap("ledger", source, name, "--json")
    ledger = json.loads(out)
    counts = {kind: ledger[kind] for kind in ("captured", "succeeded", "failed", "missing", "duplicates", "problems")}
    expected = {"captured": 12, "succeeded": 12 - len(unlucky), "failed": len(unlucky)}
    assert (code, counts) == (exit_codes.ITEMS_FAILED, {**expected, "missing": 0, "duplicates": 0, "problems": []})

    failed = lines(distmap("failures", source, name, "--json")[1])
    assert sorted(int(row["item"].get("n") or row["item"]["Size"]) for row in failed) == unlucky
    assert len({(row["source"], row["index"]) for row in failed}) == len(unlucky)

    healed.touch()
    assert distmap("retry", source, name, "--watch")[0] == 0
    ledger = json.loads(distmap("ledger", source, name, "--json")[1])
    assert (ledger["succeeded"], ledger["failed"], ledger["duplicates"], ledger["complete"]) == (12, 0, 0, True)

    found = lines(distmap("results", source, name, "--ordered")[1])
    assert sorted(row["value"]["n"] for row in found) == NUMBERS
    run = Client().run(source, name)
    # The key of an item is that of its first run, and holds the file: it is as unique as its identity.
    assert [row["value"]["key"] for row in found] == [f"{run.arn}/{row['source']}#{row['index']}" for row in found]
    assert [(row["source"], row["index"]) for row in found] == sorted((row["source"], row["index"]) for row in found)
    files = dict.fromkeys(row["source"] for row in found)
    per_file = [[row["index"] for row in found if row["source"] == file] for file in files]
    starts = [indexes[0] for indexes in per_file]
    assert starts == ([0, 0, 0] if by_file else [0, 5, 8])
    assert all(indexes == list(range(indexes[0], indexes[0] + len(indexes))) for indexes in per_file)


def test_a_run_on_an_item_file_is_told_by_index_alone(distmap: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    items = str(tmp_path / "mine.jsonl")
    assert distmap("run", "Loaded", "--items", items, "--name", "mine", "--watch")[0] == 0
    found = lines(distmap("results", "Loaded", "mine", "--ordered")[1])
    assert [(row["index"], row["value"]["n"], "source" in row) for row in found] == [(0, 1, False), (1, 2, False)]
