"""Pages of how-tos have one shape, and each source gives the handler exactly the item that its page shows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # likewise
import pytest

from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, ItemResult, Pipeline, Run
from tests.docs.literate import Block, blocks_of
from tests.docs.site import DOCS

pytestmark = pytest.mark.checkout

SHAPE = [
    "When to use it",
    "The least code",
    "What the handler gets",
    "What comes back",
    "Permissions",
    "Limits",
    "Cost",
    "Test it",
    "What goes wrong",
]
HANDLER = "from distmap import process_items\n\n\n@process_items\ndef handler(item):\n    return item\n"
WORKERS = sorted((DOCS / "how-to" / "workers").glob("*.md"))
SOURCES = sorted((DOCS / "how-to" / "sources").glob("*.md"))
PAGES = sorted((DOCS / "how-to").glob("*/*.md"))
DATA = "inventory/lake/daily/data/0.csv.gz"
# What the code of a page is given and what it makes of its first item (or all inner ones), where it runs locally.
RANGES = {"number": 12, "chunk": 5}
ANSWERS: dict[str, tuple[Any, Any]] = {
    "python": (RANGES, 30),
    "other-languages": (RANGES, 5),
    "states": (RANGES, {"index": 0, "value": {"from": 0, "to": 5}}),
    "nested": ({"shards": [{"parts": [{"part": 1}, {"part": 2}]}]}, [2, 4]),
}
# What one machine has and another hasn't.
VARIES = {"LastModified", "lastModified"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_shape_of_all(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SHAPE
    for block in blocks_of(page):
        if block.language == "python":
            compile(block.code, page.name, "exec")
        elif block.language == "json":
            assert [json.loads(line) for line in block.code.splitlines()]


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as started:
        yield started


def files_of(page: Path, bucket: str) -> dict[str, bytes]:
    """Return what a source reads: the files of its page, or what no page can show."""
    files = {block.title: block.code.encode() for block in blocks_of(page) if "." in block.title}
    if page.stem == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"id": [1, 2], "total": [12.5, 7.9]}), sink)
        files["orders.parquet"] = sink.getvalue()
    if page.stem == "inventory":
        data = gzip.compress(b'"lake","a.txt","6"\n"lake","b.txt","7"\n')
        manifest = {"fileFormat": "CSV", "fileSchema": "Bucket, Key, Size", "files": [{"key": DATA}]}
        manifest |= {"sourceBucket": "lake", "destinationBucket": f"arn:aws:s3:::{bucket}", "version": "2016-11-30"}
        folder = "inventory/lake/daily/2026-11-21T01-00Z"
        files |= {DATA: data, f"{folder}/manifest.json": json.dumps(manifest).encode()}
    if page.stem == "athena-manifest":
        rows = io.StringIO()
        csv.writer(rows).writerows([["1", "12.50"], ["2", "7.90"]])
        files["athena/data/0.csv"] = rows.getvalue().encode()
        files["athena/q1-manifest.csv"] = f"s3://{bucket}/athena/data/0.csv\n".encode()
    return {name: body for name, body in files.items() if not name.endswith(".py")}


def titled(page: Path, title: str) -> str | None:
    """Return the block of a page with a title."""
    found: list[Block] = [block for block in blocks_of(page) if block.title == title]
    return found[0].code if found else None


def execute(page: Path, folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """Write the files of a page, and others before, and execute its program; return its names."""
    written = {block.title: block.code for block in blocks_of(page) if block.title.endswith((".py", ".mjs"))}
    for name, code in (written | files).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    (code,) = [block.code for block in blocks_of(page) if block.language == "python" and not block.title]
    # Node, which reads a folder, may have been started elsewhere.
    code = re.sub(r'from_asset\("(\w+)"\)', rf'from_asset("{folder}/\1")', code)
    namespace: dict[str, Any] = {}
    exec(compile(code, page.name, "exec"), namespace)  # noqa: S102 - our own text
    return namespace


@pytest.mark.slow
@pytest.mark.parametrize("page", WORKERS, ids=lambda page: page.stem)
def test_the_app_of_a_page_on_a_worker_synthesizes(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = execute(page, tmp_path, {})
    template = namespace["app"].synth().get_stack_by_name(namespace["stack"].stack_name).template
    kinds = {resource["Type"] for resource in template["Resources"].values()}
    assert "AWS::StepFunctions::StateMachine" in kinds


@contextmanager
def deployed(aws: LocalAws, namespace: dict[str, Any]) -> Iterator[Pipeline]:
    """Deploy the app of a page, and give back afterwards what its functions have reserved of the concurrency."""
    stack = namespace["stack"].stack_name
    aws.deploy(namespace["app"].synth().directory)
    try:
        yield Client(endpoint_url=aws.endpoint_url).pipeline(f"{stack}/Work")
    finally:
        aws.client("cloudformation").delete_stack(StackName=stack)


def first_of(run: Run) -> ItemResult:
    """Return the result of a run's first item, when all have one."""
    run.wait().check()
    assert run.ledger().is_complete
    first = next(iter(run.results(ordered=True)))
    assert first.index == 0
    return first


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_the_handler_of_a_page_on_a_worker_answers(
    name: str, aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given, answer = ANSWERS[name]
    with deployed(aws, execute(DOCS / "how-to" / "workers" / f"{name}.md", tmp_path, {})) as pipeline:
        run = pipeline.start(given)
        value = first_of(run).value
        if name == "nested":
            assert [each.value for each in run.nested_results(ordered=True)] == answer
        elif isinstance(answer, dict):  # the envelope has the run too
            assert answer.items() <= value.items()
        else:
            assert value == answer


@pytest.mark.slow
@pytest.mark.parametrize("page", SOURCES, ids=lambda page: page.stem)
def test_the_handler_gets_what_the_page_shows(
    page: Path, aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = execute(page, tmp_path, {"worker/handler.py": HANDLER})
    with deployed(aws, namespace) as pipeline:
        names = [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]]
        beginning = f"{namespace['stack'].stack_name.lower()}-data"
        bucket = next((name for name in names if name.startswith(beginning)), "")
        for key, body in files_of(page, bucket).items():
            aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        given = json.loads((titled(page, "input") or "{}").replace("BUCKET", bucket))
        value = first_of(pipeline.start(given)).value
        shown = json.loads((titled(page, "item") or "").replace("BUCKET", bucket))
        assert value.keys() == shown.keys()
        assert {**value, **{key: shown[key] for key in VARIES & shown.keys()}} == shown
