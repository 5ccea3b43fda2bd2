"""Distributed Map: where items come from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from botocore.response import StreamingBody

from cdk_distributed_map.local.distributed.streams import open_object
from cdk_distributed_map.local.errors import StateError

if TYPE_CHECKING:
    from tests.local.bench import Bench

LIST = "arn:aws:states:::s3:listObjectsV2"
ROWS = [{"n": "1", "t": "a"}, {"n": "2", "t": 'b, "c"'}, {"n": "3", "t": ""}]


def csv_text(rows: list[dict[str, str]], *, header: bool = True, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    made = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    if header:
        made.writeheader()
    made.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: Any) -> bytes:
    import pyarrow  # type: ignore[import-untyped]  # it has no types
    from pyarrow import parquet as files

    sink = io.BytesIO()
    files.write_table(pyarrow.Table.from_pylist(rows) if isinstance(rows, list) else rows, sink)
    return sink.getvalue()


JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
CSV = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}
PIPES = csv_text(ROWS, header=False, delimiter="|")
FILES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "json": (json.dumps(ROWS).encode(), {"InputType": "JSON"}),
    "json-pointer": (json.dumps({"a": {"b/c": ROWS}}).encode(), {"InputType": "JSON", "ItemsPointer": "/a/b~1c"}),
    "json-pointer-dotted": (json.dumps({"a.b": ROWS}).encode(), {"InputType": "JSON", "ItemsPointer": "/a.b"}),
    "json-pointer-index": (json.dumps({"a": [1, ROWS]}).encode(), {"InputType": "JSON", "ItemsPointer": "/a/1"}),
    "jsonl": (JSONL, {"InputType": "JSONL"}),
    "jsonl-blank-lines": (JSONL.replace(b"\n", b"\n\n"), {"InputType": "JSONL"}),
    "jsonl-gzip": (gzip.compress(JSONL), {"InputType": "JSONL"}),
    "jsonl-zstd": (zstandard.compress(JSONL), {"InputType": "JSONL"}),
    "jsonl-zstd-frames": (
        b"".join(zstandard.compress(line) for line in JSONL.splitlines(keepends=True)),
        {"InputType": "JSONL"},
    ),
    "json-zstd": (zstandard.compress(json.dumps(ROWS).encode()), {"InputType": "JSON"}),
    "json-with-mark": (b"\xef\xbb\xbf" + json.dumps(ROWS).encode(), {"InputType": "JSON"}),
    "jsonl-with-mark": (b"\xef\xbb\xbf" + JSONL, {"InputType": "JSONL"}),
    "csv": (csv_text(ROWS), {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}),
    "csv-given-pipe": (
        PIPES,
        {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["n", "t"], "CSVDelimiter": "PIPE"},
    ),
    "parquet": (parquet(ROWS), {"InputType": "PARQUET"}),
}


@pytest.mark.parametrize("name", list(FILES), ids=list(FILES))
def test_files_give_their_items(bench: Bench, name: str) -> None:
    body, config = FILES[name]
    bucket = bench.bucket({"file": body})
    assert bench.output(bench.mapped(ItemReader=bench.reader(bucket, "file", **config))) == ROWS


@pytest.mark.parametrize("kind", ["JSON", "JSONL"])
@pytest.mark.parametrize(("size", "error"), [(8_000_000, None), (9_000_000, "States.ItemReaderFailed")])
def test_items_have_up_to_8_mb_where_less_is_selected(bench: Bench, kind: str, size: int, error: str | None) -> None:
    items = ['"a"', json.dumps("x" * size), '"b"']
    body = "\n".join(items) if kind == "JSONL" else f"[{','.join(items)}]"
    reader = bench.reader(bench.bucket({"file": body.encode()}), "file", InputType=kind)
    selector = {"size": "{% $length($states.context.Map.Item.Value) %}"}
    found = bench.run(bench.mapped(ItemReader=reader, ItemSelector=selector))
    assert found.get("error") == error
    if error is None:
        assert [each["size"] for each in json.loads(found["output"])] == [1, size, 1]


@pytest.mark.parametrize("kind", ["JSON", "JSONL"])
def test_half_a_surrogate_pair_becomes_a_question_mark(bench: Bench, kind: str) -> None:
    body = b'"\\ud800"' if kind == "JSONL" else b'["\\ud800"]'
    made = bench.mapped(ItemReader=bench.reader(bench.bucket({"file": body}), "file", InputType=kind))
    assert bench.output(made) == ["?"]


def test_entries_of_an_object_are_items(bench: Bench) -> None:
    bucket = bench.bucket({"file": json.dumps({"at": {"a": 1, "b": [2]}}).encode()})
    selector = {
        "key": "{% $states.context.Map.Item.Key %}",
        "value": "{% $states.context.Map.Item.Value %}",
        "from": "{% $states.context.Map.Item.Source %}",
    }
    made = bench.mapped(
        ItemReader=bench.reader(bucket, "file", InputType="JSON", ItemsPointer="/at"), ItemSelector=selector
    )
    source = f"s3://{bucket}/file"
    assert bench.output(made) == [{"key": "a", "value": 1, "from": source}, {"key": "b", "value": [2], "from": source}]


def test_listing_gives_metadata(bench: Bench) -> None:
    bucket = bench.bucket({"in/a": b"one", "in/b": b"", "out/c": b"x"})
    listing = {"Resource": LIST, "Arguments": {"Bucket": bucket, "Prefix": "in/"}}
    output = bench.output(bench.mapped(ItemReader=listing))
    assert [list(item) for item in output] == [["Etag", "Key", "LastModified", "Size", "StorageClass"]] * 2
    assert [(item["Key"], item["Size"]) for item in output] == [("in/a", 3), ("in/b", 0)]
    assert output[0]["Etag"] == '"f97c5d29941bfb1b2fdab0874906ab82"'
    assert isinstance(output[0]["LastModified"], float)


def test_listing_can_load_and_flatten(bench: Bench) -> None:
    bucket = bench.bucket({"in/1": b'{"n":1}\n{"n":2}\n', "in/2": gzip.compress(b'{"n":3}\n')})
    listing = {
        "Resource": LIST,
        "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"},
        "Arguments": {"Bucket": bucket, "Prefix": "in/"},
    }
    selector = "{% $states.context.Map.Item.Value.n & $states.context.Map.Item.Source %}"
    output = bench.output(bench.mapped(ItemReader=listing, ItemSelector={"got": selector}))
    assert [each["got"] for each in output] == [f"1s3://{bucket}/in/1", f"2s3://{bucket}/in/1", f"3s3://{bucket}/in/2"]


@pytest.mark.parametrize("config", [{"ManifestType": "S3_INVENTORY"}, {"InputType": "MANIFEST"}], ids=["new", "old"])
def test_inventory_gives_rows_of_all_its_files(bench: Bench, config: dict[str, str]) -> None:
    bucket = bench.bucket({f"data/{at}.csv.gz": gzip.compress(f'"b","k{at}","{at}"\n'.encode()) for at in (1, 2)})
    manifest = {
        "destinationBucket": f"arn:aws:s3:::{bucket}",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size",
        "files": [{"key": "data/1.csv.gz"}, {"key": "data/2.csv.gz"}],
    }
    bench.s3.put_object(Bucket=bucket, Key="manifest.json", Body=json.dumps(manifest))
    output = bench.output(bench.mapped(ItemReader=bench.reader(bucket, "manifest.json", **config)))
    assert output == [{"Bucket": "b", "Key": f"k{at}", "Size": str(at)} for at in (1, 2)]


def test_athena_manifest_gives_rows_of_all_its_files(bench: Bench) -> None:
    bucket = bench.bucket({f"data/{at}": b'{"n":%d}\n' % at for at in (1, 2)})
    bench.s3.put_object(Bucket=bucket, Key="m.csv", Body=f"s3://{bucket}/data/1\ns3://{bucket}/data/2\n")
    config = {"ManifestType": "ATHENA_DATA", "InputType": "JSONL"}
    assert bench.output(bench.mapped(ItemReader=bench.reader(bucket, "m.csv", **config))) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("body", "config"), [(b'{"a": 1, "b": [2]}', {}), (b'{"x": {"a": 1, "b": [2]}}', {"ItemsPointer": "/x"})]
)
@pytest.mark.parametrize("selected", [False, True], ids=["as-it-is", "selected"])
def test_object_in_a_file_gives_its_entries(
    bench: Bench, body: bytes, config: dict[str, str], *, selected: bool
) -> None:
    bucket = bench.bucket({"file": body})
    made = bench.mapped(ItemReader=bench.reader(bucket, "file", InputType="JSON", **config))
    entries: list[dict[str, Any]] = [{"Key": "a", "Value": 1}, {"Key": "b", "Value": [2]}]
    if selected:
        made["States"]["Map"]["ItemSelector"] = {
            "k": "{% $states.context.Map.Item.Key %}",
            "v": "{% $states.context.Map.Item.Value %}",
        }
        entries = [{"k": entry["Key"], "v": entry["Value"]} for entry in entries]
    assert bench.output(made) == entries


@pytest.mark.parametrize(("owner", "status"), [("000000000000", "SUCCEEDED"), ("111111111111", "FAILED")])
@pytest.mark.parametrize("listing", [False, True], ids=["file", "listing"])
def test_expected_owner_is_that_of_the_account(bench: Bench, owner: str, status: str, *, listing: bool) -> None:
    reader = bench.reader(bench.bucket({"file": JSONL}), "file", InputType="JSONL")
    reader["Arguments"]["ExpectedBucketOwner"] = owner
    if listing:
        del reader["Arguments"]["Key"], reader["ReaderConfig"]
        reader["Resource"] = "arn:aws:states:::s3:listObjectsV2"
    found = bench.run(bench.mapped(ItemReader=reader))
    assert found["status"] == status
    assert found.get("error") in {None, "States.ItemReaderFailed"}


def test_max_items_may_be_an_expression(bench: Bench) -> None:
    bucket = bench.bucket({"file": JSONL})
    made = bench.mapped(ItemReader=bench.reader(bucket, "file", InputType="JSONL", MaxItems="{% $states.input.most %}"))
    assert bench.output(made, {"most": 2}) == ROWS[:2]


WIDE = [(code, kind) for code in ("utf-16", "utf-16-be", "utf-32-le") for kind in ("JSON", "JSONL")]


@pytest.mark.parametrize(
    ("body", "config", "cause"),
    [
        (b'{"a":1}\n{"b"\n', {"InputType": "JSONL"}, "line 2 is not JSON: expecting ':' delimiter at column 5"),
        (b"1,2\n[3\n4]\n", {"InputType": "JSONL"}, "line 1 is not JSON: extra data at column 2"),
        (b"[1,2", {"InputType": "JSON"}, "it is not JSON: expected ',' at character 5"),
        (b'{"a":1,2:3}', {"InputType": "JSON"}, "it is not JSON: expected a key at character 9"),
        (b"[1]]", {"InputType": "JSON"}, "it is not JSON: expected the end at character 4"),
        (b"", {"InputType": "JSON"}, "it is empty, which is not JSON"),
        (b"", {"InputType": "PARQUET"}, "it is not Parquet, or damaged: "),
        (b"[" * 100_000, {"InputType": "JSON"}, "it is nested too deeply at character 2"),
        (b"[" + b"1" * 5_000 + b"]", {"InputType": "JSON"}, "it is not JSON: expected a JSON value at character 2"),
        (b"[" * 100_000, {"InputType": "JSONL"}, "line 1 is not JSON: it is nested too deeply"),
        (b"1" * 5_000, {"InputType": "JSONL"}, "line 1 is not JSON: it has a number of too many digits"),
        (b"1\n\xff\n", {"InputType": "JSONL"}, "line 2 is not UTF-8: it has the byte 0xff at 1"),
        (b"{}", {"InputType": "JSON", "ItemsPointer": "/a"}, "the ItemsPointer '/a' does not point to anything in it"),
        (None, {"InputType": "JSON"}, "The specified key does not exist. (Service: S3, Status Code: 404"),
        (b"[NaN]", {"InputType": "JSON"}, "it is not JSON: expected a JSON value at character 2"),
        (b'1\n{"a": NaN}\n', {"InputType": "JSONL"}, "line 2 is not JSON: NaN is not JSON"),
        (b"1e400\n", {"InputType": "JSONL"}, "an item has a number that JSON can't say, such as 1e400"),
        (b'a,b\n1,2\n"1,2\n3,4\n', CSV, "the quote of line 3 is never closed"),
        (b'a,b\n"1"x,2\n', CSV, "line 2 goes on at column 4 after the quote that ends a field"),
        (b"a\n1\n\xff\n", CSV, "line 3 is not UTF-8: it has the byte 0xff at 1"),
        (b"a\n" + b"x" * 9_000_000, CSV, "more than the 8388608 bytes of an item"),
        (gzip.compress(b"a" * 20_000_000), {"InputType": "JSONL"}, "line 1 has more than the 8388608 bytes of an item"),
        (gzip.compress(JSONL)[:-9], {"InputType": "JSONL"}, "its gzip compression is cut off"),
        (gzip.compress(b"[1]")[:-8] + b"12345678", {"InputType": "JSON"}, "its gzip compression is damaged"),
        (gzip.compress(b"a\n" * 9)[:10] + b"\xff" * 9, CSV, "its gzip compression is damaged"),
        (gzip.compress(b"a\n") + b"ab", CSV, "its gzip compression is damaged"),
        (zstandard.compress(JSONL)[:-4], {"InputType": "JSONL"}, "its zstd compression is cut off"),
        (zstandard.compress(JSONL)[:6] + b"rubbish", {"InputType": "JSONL"}, "its zstd compression is damaged"),
        (b"PAR1", {"InputType": "PARQUET"}, "it is not Parquet, or damaged: "),
        *((("[1]").encode(code), {"InputType": kind}, "it is UTF-16 or UTF-32") for code, kind in WIDE),
        ("a\n1".encode("utf-16"), CSV, "it is UTF-16 or UTF-32, and items are read as UTF-8: save it as that"),
        (b"[]", {"InputType": "MANIFEST"}, "it is no manifest of an S3 Inventory"),
        ("{}".encode("utf-16"), {"InputType": "MANIFEST"}, "it is UTF-16 or UTF-32"),
        (b"x\n", {"ManifestType": "ATHENA_DATA", "InputType": "JSONL"}, "line 1 is no s3:// address"),
    ],
    ids=[
        *(
            "broken-line",
            "lines-that-are-json-together",
            "broken-json",
            "no-key",
            "rest",
            "empty",
            "empty-parquet",
            "deep",
            "digits",
            "deep-line",
            "digits-line",
        ),
        *("line-not-utf-8", "pointer", "missing", "json-nan", "jsonl-nan", "jsonl-infinite"),
        *("csv-open-quote", "csv-after-quote", "csv-not-utf-8", "csv-long-line", "one-line-of-gzip"),
        *("gzip-cut", "gzip-checksum", "gzip-rubbish", "gzip-rest", "zstd-cut", "zstd-rubbish", "parquet-rubbish"),
        *(f"{kind.lower()}-{code}" for code, kind in WIDE),
        *("csv-utf-16", "inventory", "inventory-utf-16", "athena"),
    ],
)
def test_fails_when_the_source_cannot_be_read(
    bench: Bench, body: bytes | None, config: dict[str, Any], cause: str
) -> None:
    bucket = bench.bucket({} if body is None else {"file": body})
    found = bench.run(bench.mapped(ItemReader=bench.reader(bucket, "file", **config)))
    assert found["status"] == "FAILED"
    assert found["error"] == "States.ItemReaderFailed"
    assert found["cause"].startswith(f"s3://{bucket}/file can't be read: ")
    assert cause in found["cause"]
    assert "\n" not in found["cause"]
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types[-3:] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"]


def test_source_failure_can_be_caught(bench: Bench) -> None:
    made = bench.mapped(ItemReader=bench.reader("nobucket", "file", InputType="JSON"))
    made["States"]["Map"]["Catch"] = [{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Caught"}]
    made["States"]["Caught"] = {"Type": "Pass", "Output": "{% $states.input.Error %}", "End": True}
    assert bench.output(made) == "States.ItemReaderFailed"


class CutOff:
    """An S3 client whose connection breaks off in the middle of an object."""

    def get_object(self, **_place: str) -> dict[str, Any]:
        """Return an answer that is longer than what comes."""
        return {"ContentLength": len(JSONL), "Body": StreamingBody(io.BytesIO(JSONL[:-5]), len(JSONL))}


def test_fails_when_the_object_breaks_off() -> None:
    stream = open_object(CutOff(), {"Bucket": "b", "Key": "items.jsonl"}, lambda _key: None, lambda error: error)
    with pytest.raises(StateError, match="its connection broke off before its end") as caught:
        stream.read()
    assert caught.value.error == "States.ItemReaderFailed"


@pytest.mark.parametrize(
    ("body", "config", "cause"),
    [
        (b"1", {"InputType": "JSON"}, "Attempting to map over non-iterable node."),
        (b"a,a\n", CSV, "CSV headers cannot contain duplicates."),
    ],
    ids=["not-iterable", "headers"],
)
def test_what_aws_was_recorded_to_say_stays_where_there_is_one_file(
    bench: Bench, body: bytes, config: dict[str, Any], cause: str
) -> None:
    bucket = bench.bucket({"in/1": body})
    assert bench.run(bench.mapped(ItemReader=bench.reader(bucket, "in/1", **config)))["cause"] == cause
    listing = {
        "Resource": LIST,
        "ReaderConfig": {**config, "Transformation": "LOAD_AND_FLATTEN"},
        "Arguments": {"Bucket": bucket, "Prefix": "in/"},
    }
    assert bench.run(bench.mapped(ItemReader=listing))["cause"] == f"{cause} (s3://{bucket}/in/1)"


@pytest.mark.parametrize("key", ["in/_SUCCESS", "in/folder/"], ids=["object", "folder"])
@pytest.mark.parametrize("kind", ["JSON", "JSONL", "CSV", "PARQUET"])
def test_empty_objects_under_a_loaded_prefix(bench: Bench, kind: str, key: str) -> None:
    rows = {
        "JSON": json.dumps(ROWS).encode(),
        "JSONL": JSONL,
        "CSV": csv_text(ROWS),
        "PARQUET": parquet(ROWS),
    }
    bucket = bench.bucket({key: b"", "in/z": rows[kind]})
    header = {"CSVHeaderLocation": "FIRST_ROW"} if kind == "CSV" else {}
    listing = {
        "Resource": LIST,
        "ReaderConfig": {"InputType": kind, "Transformation": "LOAD_AND_FLATTEN", **header},
        "Arguments": {"Bucket": bucket, "Prefix": "in/"},
    }
    found = bench.run(bench.mapped(ItemReader=listing))
    if kind in {"JSONL", "CSV"}:
        # A file without lines has no items.
        assert json.loads(found["output"]) == ROWS
        return
    what = "a folder's marker" if key.endswith("/") else "an empty object"
    assert found["error"] == "States.ItemReaderFailed"
    assert found["cause"] == (
        f"s3://{bucket}/{key} can't be read: it is {what}, and every object below the prefix must be {kind}: delete "
        "it, or give a prefix that leaves it out"
    )


def test_items_of_which_one_can_not_be_said_tell_their_file(bench: Bench) -> None:
    bucket = bench.bucket({"in/1": b"1\n", "in/2": b"1e999\n"})
    listing = {
        "Resource": LIST,
        "ReaderConfig": {"InputType": "JSONL", "Transformation": "LOAD_AND_FLATTEN"},
        "Arguments": {"Bucket": bucket, "Prefix": "in/"},
    }
    found = bench.run(bench.mapped(ItemReader=listing))
    assert found["cause"].startswith(f"s3://{bucket}/in/2 can't be read: ")


@pytest.mark.parametrize("reader", [LIST, "arn:aws:states:::s3:getObject"], ids=["listing", "file"])
def test_what_is_not_there_is_named(bench: Bench, reader: str) -> None:
    place = {"Bucket": "nosuchbucket", "Prefix": "in/"} if reader == LIST else {"Bucket": "nosuchbucket", "Key": "k"}
    fields: dict[str, Any] = {"Resource": reader, "Arguments": place}
    if reader != LIST:
        fields["ReaderConfig"] = {"InputType": "JSON"}
    cause = bench.run(bench.mapped(ItemReader=fields))["cause"]
    assert cause.startswith(f"s3://nosuchbucket/{'in/' if reader == LIST else 'k'} can't be read: ")
