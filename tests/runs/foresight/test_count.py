"""The items of files and listings, counted where they are, and the first of them as a map gets them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped] # it has no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # likewise
import pytest

from cdk_distributed_map.runs import Client, InputError
from cdk_distributed_map.runs.files.item_formats import CsvDialect
from cdk_distributed_map.runs.foresight.count import Counted, count, first_items
from cdk_distributed_map.runs.foresight.rows import Opened, count_rows
from cdk_distributed_map.runs.foresight.source import (
    ArraySource,
    FileFormat,
    FileSource,
    ListingSource,
    RangesSource,
    source_named,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROWS = [{"id": str(number), "name": "x" * 20} for number in range(1_000)]
CSV = b"id,name\n" + b"".join(f"{row['id']},{row['name']}\n".encode() for row in ROWS)
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "items.csv": lambda: CSV,
    "items.csv.gz": lambda: gzip.compress(CSV),
    "items.jsonl": lambda: LINES,
    "items.json": lambda: json.dumps(ROWS).encode(),
    "items.parquet": parquet,
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_counted_here_and_in_s3(name: str, client: Client, s3: S3Client, bucket: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name]())
    s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=FILES[name]())

    for place in (str(tmp_path / name), f"s3://{bucket}/in/{name}"):
        source = source_named(place)
        found = count(client.aws, source)

        assert (found.items, found.exact) == (1_000, True)
        assert found.item_bytes == pytest.approx(len('{"id":"500","name":"xxxxxxxxxxxxxxxxxxxx"}'), rel=0.1)
        assert list(map(json.loads, first_items(client.aws, source, 3))) == ROWS[:3]


def test_a_large_file_is_sampled_from_its_beginning() -> None:
    data = CSV + b"".join(f"{number},{'y' * 20}\n".encode() for number in range(1_000, 100_000))
    file = Opened(name="x", size=len(data), stream=lambda: io.BytesIO(data), anywhere=lambda: io.BytesIO(data))
    found = count_rows(file, FileFormat(kind="CSV"), most_bytes=1_000_000)

    assert found.number == pytest.approx(100_000, rel=0.1)
    assert not found.exact


def test_csv_is_read_as_the_definition_says(client: Client, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="x.csv", Body=b'1|a "b" c\n2|d\n')
    how = FileFormat(kind="CSV", dialect=CsvDialect(delimiter="|", columns=("id", "text"), strict=False))
    source = FileSource(bucket=bucket, key="x.csv", format=how)

    assert count(client.aws, source).items == 2
    assert json.loads(first_items(client.aws, source, 1)[0]) == {"id": "1", "text": 'a "b" c'}


def test_objects_are_the_items_of_a_listing(client: Client, s3: S3Client, bucket: str) -> None:
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"a/{number}.jpg", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="b/0.jpg", Body=b"")
    source = source_named(f"s3://{bucket}/a/")

    assert count(client.aws, source).items == 3
    (first,) = map(json.loads, first_items(client.aws, source, 1))
    assert first.keys() == {"Etag", "Key", "LastModified", "Size", "StorageClass"}
    assert (first["Key"], first["Size"]) == ("a/0.jpg", 5)


def test_what_a_capture_leaves_out_is_not_counted(client: Client, s3: S3Client, bucket: str) -> None:
    for name in ("1.jpg", "2.txt", "3.jpg"):
        s3.put_object(Bucket=bucket, Key=f"a/{name}", Body=b"12345")
    settings: dict[str, Any] = {"kind": "s3Listing", "bucket": bucket, "prefixes": ["a/"], "suffix": ".jpg"}
    source = ListingSource(bucket=bucket, prefixes=("a/",), capture=settings)

    assert count(client.aws, source).items == 2
    assert [json.loads(each)["key"] for each in first_items(client.aws, source, 9)] == ["a/1.jpg", "a/3.jpg"]


def test_files_of_many_objects_are_counted_by_some_of_them(client: Client, s3: S3Client, bucket: str) -> None:
    for number in range(8):
        s3.put_object(Bucket=bucket, Key=f"parts/{number}.jsonl", Body=LINES)
    source = ListingSource(bucket=bucket, prefixes=("parts/",), loaded=FileFormat(kind="JSONL"))
    found = count(client.aws, source)

    assert (found.items, found.exact) == (8_000, False)
    assert len(first_items(client.aws, source, 1_500)) == 1_500


def test_manifests_lead_to_the_files_they_list(client: Client, s3: S3Client, bucket: str) -> None:
    data = gzip.compress(b'"data","a/1.jpg","5"\n"data","a/2.jpg","7"\n')
    s3.put_object(Bucket=bucket, Key="inventory/1.csv.gz", Body=data)
    manifest = {
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "inventory/1.csv.gz", "size": len(data)}],
    }
    s3.put_object(Bucket=bucket, Key="inventory/manifest.json", Body=json.dumps(manifest).encode())
    inventory = source_named(f"s3://{bucket}/inventory/manifest.json")
    s3.put_object(Bucket=bucket, Key="part", Body=LINES)
    s3.put_object(Bucket=bucket, Key="manifest.csv", Body=f's3://{bucket}/part\n"s3://{bucket}/part"\n'.encode())
    athena = FileSource(bucket=bucket, key="manifest.csv", format=FileFormat(kind="JSONL"), manifest="ATHENA_DATA")

    assert count(client.aws, inventory).items == 2
    assert json.loads(first_items(client.aws, inventory, 1)[0]) == {"Bucket": "data", "Key": "a/1.jpg", "Size": "5"}
    assert count(client.aws, athena).items == 2_000


def test_ranges_and_arrays_need_nobody(client: Client) -> None:
    ranges = RangesSource(settings={"number": 100_000, "chunk": 5, "inclusive": True})

    assert count(client.aws, ranges).items == 20_000
    assert first_items(client.aws, ranges, 2) == [b'{"from":0,"to":4}', b'{"from":5,"to":9}']
    array = ArraySource(items=[1, "ab"])
    assert count(client.aws, array) == Counted(items=2, item_bytes=2.5, exact=True)
    assert first_items(client.aws, array, 5) == [b"1", b'"ab"']


UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "none.jsonl": (None, "there is no s3://"),
    "bad.jsonl": (b"{\n", "line 1 of s3://.*bad.jsonl is not JSON"),
    "bad.parquet": (b"nothing of the kind", "is no Parquet file"),
    "bad/manifest.json": (b"{}", "is no manifest of an S3 Inventory"),
    "bad.csv": (b"\xff\xfe", "is not UTF-8"),
}


@pytest.mark.parametrize("key", UNREADABLE)
def test_fails_when_items_can_not_be_read(client: Client, s3: S3Client, bucket: str, key: str) -> None:
    body, message = UNREADABLE[key]
    if body is not None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    with pytest.raises(InputError, match=message):
        count(client.aws, source_named(f"s3://{bucket}/{key}"))


def test_fails_when_ranges_are_none(client: Client) -> None:
    with pytest.raises(InputError, match=r"chunk must be a whole number.*look at the run's input"):
        count(client.aws, RangesSource(settings={"number": 1, "chunk": 0}))
