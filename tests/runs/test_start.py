"""Starting runs: names, inputs, item files, and starting twice."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_distributed_map.runs import InputError, NotFoundError, Pipeline, RunStateError
from cdk_distributed_map.runs.files.item_files import SpooledItems
from cdk_distributed_map.runs.files.item_formats import format_of, read_items
from cdk_distributed_map.runs.find.names import check_name, new_name, retry_name, retry_number
from cdk_distributed_map.runs.notices import ProgressNotice
from distmap._stream import ItemText
from distmap.limits import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@given(st.text(max_size=100), st.integers(1, 100_000))
def test_names_are_valid_whatever_the_label(label: str, number: int) -> None:
    name = new_name(label, now=datetime(2026, 11, 21, 14, 30, 5, tzinfo=UTC))
    assert check_name(name) == name
    assert "-20261121-143005-" in name
    retry = retry_name(name, number)
    assert check_name(retry) == retry
    assert retry_number(retry) == number
    assert retry.startswith(name)  # room was left for it


def test_new_names_of_one_moment_differ() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert len({new_name("Squares", now=now) for _ in range(200)}) == 200


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * (MAX_NAME_LENGTH + 1), "ä", "latest"], ids=repr)
def test_fails_when_a_name_is_not_one(name: str) -> None:
    with pytest.raises(InputError):
        check_name(name)


def test_start_gives_a_readable_name_and_the_input(squares: Pipeline, states: Any) -> None:
    run = squares.start({"number": 100, "chunk": 5})
    assert run.name.startswith("squares-2026")
    assert json.loads(states.executions[run.arn].input) == {"number": 100, "chunk": 5}
    assert run.describe().status == "RUNNING"


def test_starting_twice_by_name_starts_once(squares: Pipeline, states: Any) -> None:
    first = squares.start({"number": 1}, name="nightly")
    assert squares.start({"number": 1}, name="nightly").arn == first.arn
    states.executions[first.arn].ended = ("SUCCEEDED", 1.0)  # AWS itself refuses from here on
    assert squares.start({"number": 1}, name="nightly").arn == first.arn
    assert len(states.executions) == 1
    with pytest.raises(InputError, match=r"a run 'nightly' already, started 2026-.* with another input"):
        squares.start({"number": 2}, name="nightly")


def test_fails_when_the_input_is_too_large(squares: Pipeline) -> None:
    with pytest.raises(InputError, match=r"262,155 bytes, the limit is 262,144: put the items into a file"):
        squares.start({"items": "x" * 262_143})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("items.jsonl", b'{"n":1}\n\n{"n": 2.50}\n{"n":"\xc3\xa4"}'),
        ("items.json", b' [{"n":1},{"n":2.50},{"n":"\xc3\xa4"}]'),
    ],
    ids=["JSON Lines", "JSON"],
)
def test_local_items_are_uploaded_and_run_on(
    name: str, text: bytes, squares: Pipeline, states: Any, s3: S3Client
) -> None:
    run = squares.start(items=io.BytesIO(text), items_format=format_of(name), name="mine")
    sent = json.loads(states.executions[run.arn].input)["items"]
    assert sent.keys() == {"bucket", "key", "count", "bytes", "sha256"}
    bucket = squares.definition.item_file.bucket
    assert (sent["bucket"], sent["key"], sent["count"]) == (bucket, "runs/mine/items.jsonl", 3)
    body = s3.get_object(Bucket=bucket, Key=sent["key"])["Body"].read()
    assert len(body) == sent["bytes"]
    assert [json.loads(line) for line in body.splitlines()] == [{"n": 1}, {"n": 2.5}, {"n": "ä"}]


def test_csv_rows_have_the_columns_of_the_header_as_on_aws() -> None:
    text = '\ufeffa,b\n1,"x ""y"""\n2\n3,z,dropped\n'.encode()
    rows = [json.loads(each) for each in read_items(io.BytesIO(text), "csv", name="rows.csv")]
    assert rows == [{"a": "1", "b": 'x "y"'}, {"a": "2", "b": ""}, {"a": "3", "b": "z"}]


@pytest.mark.parametrize("head", [b"", b"a,b\n1,2\n"], ids=["header", "row"])
def test_fails_when_a_csv_row_goes_on_for_longer_than_any_item(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ItemText, "largest", 1000)
    endless = io.BytesIO(head + b'"\n",' * 1000)
    with pytest.raises(InputError, match=r"the row of items that goes on at line .* look for a quote"):
        list(read_items(endless, "csv", name="items"))
    many = io.BytesIO(b"a,b\n" + (b'"1\n",2\n' + b"\n" * 500) * 200)
    assert len(list(read_items(many, "csv", name="items"))) == 200


def test_csv_is_that_of_rfc_4180_where_a_backslash_is_none_but_itself() -> None:
    text = b'a,b\nC:\\x,"say \\, ""hi"""\n'
    rows = [json.loads(each) for each in read_items(io.BytesIO(text), "csv", name="rows.csv")]
    assert rows == [{"a": "C:\\x", "b": 'say \\, "hi"'}]


def test_starting_twice_with_items_uploads_once(squares: Pipeline, states: Any, s3: S3Client, bucket: str) -> None:
    squares.start(items=io.BytesIO(b"1\n2\n"), name="mine")
    before = s3.head_object(Bucket=bucket, Key="runs/mine/items.jsonl")["LastModified"]
    squares.start(items=io.BytesIO(b"1\n2\n"), name="mine")
    assert s3.head_object(Bucket=bucket, Key="runs/mine/items.jsonl")["LastModified"] == before
    with pytest.raises(InputError, match="with another input"):
        squares.start(items=io.BytesIO(b"1\n2\n3\n"), name="mine")
    assert s3.get_object(Bucket=bucket, Key="runs/mine/items.jsonl")["Body"].read() == b"1\n2\n"
    assert len(states.executions) == 1


def test_items_in_place_are_used_where_they_are(squares: Pipeline, states: Any, bucket: str) -> None:
    run = squares.start(items_from=(bucket, "items/weekly.jsonl"))
    assert json.loads(states.executions[run.arn].input) == {"items": {"bucket": bucket, "key": "items/weekly.jsonl"}}


def test_fails_when_items_in_place_are_said_to_be_of_another_format(squares: Pipeline, bucket: str) -> None:
    with pytest.raises(InputError, match=r"items/weekly\.csv is used where it is, and the pipeline's map reads JSONL"):
        squares.start(items_from=(bucket, "items/weekly.csv"), items_format="csv")


def test_fails_when_items_are_not_where_they_are_said_to_be(squares: Pipeline, bucket: str, states: Any) -> None:
    with pytest.raises(InputError, match=r"there is no s3://[^/]+/none\.csv: look at"):
        squares.start(items_from=(bucket, "none.csv"))
    with pytest.raises(InputError, match="doesn't show the format"):  # before anything is fetched
        squares.start(items_from=(bucket, "none.txt"))
    assert not states.executions


def test_items_from_elsewhere_are_of_the_format_that_is_given(squares: Pipeline, s3: S3Client, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="elsewhere/list.txt", Body=b"n\n1\n")
    squares.start(items_from=(bucket, "elsewhere/list.txt"), items_format="csv", name="told")
    assert s3.get_object(Bucket=bucket, Key="runs/told/items.jsonl")["Body"].read() == b'{"n":"1"}\n'


@pytest.mark.parametrize("given", [float("nan"), {"at": io.BytesIO()}, "\ud800"], ids=["NaN", "object", "surrogate"])
def test_fails_when_the_input_is_not_json(given: Any, squares: Pipeline, states: Any) -> None:
    with pytest.raises(InputError, match=r"the input is not JSON(: | at \$\.at: )"):
        squares.start(given)
    assert not states.executions


def test_items_from_elsewhere_are_copied(squares: Pipeline, states: Any, s3: S3Client, bucket: str) -> None:
    s3.create_bucket(Bucket=f"{bucket}-other")
    s3.put_object(Bucket=f"{bucket}-other", Key="list.csv", Body=b"n\n1\n2\n")
    run = squares.start({"more": 1}, items_from=(f"{bucket}-other", "list.csv"), name="copied")
    sent = json.loads(states.executions[run.arn].input)
    assert sent["more"] == 1
    assert (sent["items"]["key"], sent["items"]["count"]) == ("runs/copied/items.jsonl", 2)
    assert s3.get_object(Bucket=bucket, Key="runs/copied/items.jsonl")["Body"].read() == b'{"n":"1"}\n{"n":"2"}\n'


@pytest.mark.parametrize(
    ("text", "file_format", "words"),
    [
        (b'{"n":1}\n{oops}\n', "jsonl", r"line 2 of items is not JSON: .* at column 2; got '\{oops\}'"),
        (b'{"n":1}\n{"n":NaN}\n', "jsonl", "line 2 of items is not JSON: the constant NaN is no number of JSON"),
        (b'"\xed\xa0\x80"', "jsonl", "line 1 of items is not UTF-8: it has the byte 0xed at 2"),
        (b'{"n": 1}', "json", r"begins with '\{': it must hold a JSON array"),
        (b"[1, 2", "json", r"items is not a JSON array: [^\n]*, after \d items\nsee"),
        (b"[1, NaN]", "json", r"items is not a JSON array: [^\n]*, after \d items\nsee"),
        (b"[1, 1e400]", "json", r"items is not a JSON array: out of range [^\n]*, after \d items\nsee"),
        (b"[" + b"9" * 4301 + b"]", "json", "it has a number of too many digits at character 1, after 0 items"),
        (b"[1, 1e" + b"9" * 30 + b"]", "json", "out of range number at character 4, after 1 items"),
        (b"[" * 100_000, "json", "it is nested too deeply, after 0 items"),
        (b"[1] [2]", "json", "expected the end at character 4"),
        (b"[1,\xff]", "json", "expected UTF-8 text"),
        (b'["\\ud800"]', "json", "it has half of a surrogate pair"),
        (b'["' + b"x" * 40_000_000 + b'"]', "json", "expected a JSON value of at most 25,165,824 characters"),
        (b'"' + b"x" * 26_000_000 + b'"', "jsonl", "line 1 of items has more than 25,165,824 bytes"),
        (b"n\n" + b"x" * 26_000_000, "csv", "line 2 of items has more than 25,165,824 bytes"),
        (b"9" * 4301, "jsonl", "line 1 of items is not JSON: it has a number of too many digits"),
        (b"1e999", "jsonl", "line 1 of items is not JSON: the number 1e999 is out of range"),
        (b"", "json", "items is empty"),
        (b"", "csv", "items is empty: CSV begins with a row of column names"),
        (b"a,b\n\xff,1\n", "csv", "line 2 of items is not UTF-8: it has the byte 0xff at 1"),
        (b"a;b\n1;2\n", "csv", "items has one column, called 'a;b': columns are separated by commas here, not by ';'"),
        (b"[" * 100_000, "jsonl", "line 1 of items is nested too deeply"),
        (b'a,b\n1,"2\n', "csv", "items is not CSV at line 2 or after: unexpected end of data"),
        (b"a,b,a\n1,2,3\n", "csv", "items has several columns called 'a', and an item has one value"),
    ],
    ids=[
        "broken line",
        "NaN in a line",
        "surrogate",
        "no array",
        "cut off",
        "NaN",
        "too large a number",
        "too many digits",
        "an exponent without end",
        "100,000 brackets",
        "two arrays",
        "not UTF-8 in an array",
        "half a surrogate pair",
        "one text without end",
        "one line without end",
        "one row without end",
        "too many digits in a line",
        "too large a number in a line",
        "empty",
        "no header",
        "not UTF-8",
        "semicolons",
        "nested too deeply",
        "open quote",
        "column twice",
    ],
)
def test_fails_when_items_can_not_be_read(text: bytes, file_format: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(read_items(io.BytesIO(text), file_format, name="items"))


@pytest.mark.parametrize(
    ("text", "file_format", "items"),
    [
        (b'\xef\xbb\xbf{"n":1}\r\n\r\n{"n":2}', "jsonl", [{"n": 1}, {"n": 2}]),
        (b"\xef\xbb\xbf [1,2]", "json", [1, 2]),
        (b"\xef\xbb\xbfn,m\r\n1,\r\n\r\n2,x\r\n", "csv", [{"n": "1", "m": ""}, {"n": "2", "m": "x"}]),
        (b"[123456789012345678901234567890, 0.5, 2.0]", "json", [123456789012345678901234567890, 0.5, 2.0]),
        (b"n\n" + b"x" * 150_000, "csv", [{"n": "x" * 150_000}]),
    ],
    ids=["mark before lines", "mark before an array", "mark before CSV", "large number", "large field"],
)
def test_items_are_read_as_people_have_them(text: bytes, file_format: Any, items: list[Any]) -> None:
    found = b"\n".join(read_items(io.BytesIO(text), file_format, name="items"))
    assert [json.loads(each) for each in found.split(b"\n")] == items  # which takes no mark before them


def test_fails_when_an_item_is_too_large() -> None:
    with pytest.raises(InputError, match=r"item 1 has 11 bytes, over the 10 that a child can take"):
        SpooledItems([b"1", b"12345678901"], largest=10)


def test_fails_when_the_format_is_unknown() -> None:
    with pytest.raises(InputError, match=r"'items\.txt' doesn't show the format"):
        format_of("items.txt")
    with pytest.raises(InputError, match="is one of jsonl, json, csv, got 'xml'"):
        format_of("items.csv", "xml")


def test_fails_when_the_state_machine_is_gone(squares: Pipeline, states: Any) -> None:
    _ = squares.definition
    states.machines.clear()
    with pytest.raises(NotFoundError, match="there is no state machine"):
        squares.start({})


def test_runs_are_found_by_name_arn_and_latest(squares: Pipeline, states: Any, client: Any) -> None:
    for number in range(5):  # more than a page
        states.add_run(squares.arn, f"run-{number}", label="Squares")
    assert [each.name for each in squares.runs()] == [f"run-{number}" for number in (4, 3, 2, 1, 0)]
    assert [each.name for each in squares.runs(limit=3)] == ["run-4", "run-3", "run-2"]
    assert client.run("Squares").name == "run-4"
    assert client.run("Squares", "run-2").name == "run-2"
    assert client.run("run-3").name == "run-3"
    arn = squares.run("run-1").arn
    assert client.run(arn).name == "run-1"
    assert client.run("Squares", arn).name == "run-1"
    with pytest.raises(NotFoundError, match="and no run is called 'run-9' either"):
        client.run("run-9")
    with pytest.raises(InputError, match="is the ARN of a Map Run or of a child"):
        client.run(states.executions[arn].map.arn)


def test_running_maps_can_be_changed(squares: Pipeline, states: Any) -> None:
    run = states.add_run(squares.arn, "run", label="Squares", seconds=1000)
    (changed,) = squares.run("run").update(max_concurrency=7, tolerated_failure_count=0)
    assert (changed.max_concurrency, run.map.concurrency) == (7, 7)
    with pytest.raises(InputError, match="max_concurrency must be 1 to 10,000, got 0"):
        squares.run("run").update(max_concurrency=0)
    with pytest.raises(InputError, match="tolerated_failure_percentage must be 0 to 100, got nan"):
        squares.run("run").update(tolerated_failure_percentage=float("nan"))
    with pytest.raises(InputError, match="nothing to change"):
        squares.run("run").update()
    squares.run("run").stop()
    with pytest.raises(RunStateError, match="no map of 'run' is running, and the run is ABORTED"):
        squares.run("run").update(max_concurrency=7)
    with pytest.raises(NotFoundError, match="has no run 'none'"):
        squares.run("none").update(max_concurrency=7)


def test_stop_ends_the_run(squares: Pipeline, states: Any) -> None:
    states.add_run(squares.arn, "run", label="Squares", seconds=1000)
    squares.run("run").stop()
    assert squares.run("run").describe().status == "ABORTED"
    with pytest.raises(RunStateError, match="'run' has ended already: ABORTED"):
        squares.run("run").stop()
    with pytest.raises(NotFoundError, match="has no run 'none'"):
        squares.run("none").stop()


def test_items_that_take_long_to_read_are_told_of() -> None:
    said: list[str] = []
    times = iter([0.0, 1.0, 2.5, 3.0, 8.0])
    notices = ProgressNotice(said.append, lambda done: f"{done} read", clock=lambda: next(times))
    for _ in range(4):
        notices(10)
    assert said == ["20 read", "40 read"]


def test_what_keeps_people_waiting_is_said(squares: Pipeline, states: Any) -> None:
    said: list[str] = []
    squares.aws.notice = said.append
    states.faults.extend([("DescribeExecution", 0, "")] * 3)
    with pytest.raises(NotFoundError):
        squares.run("none").describe()
    assert len(said) == 1
    assert said[0].startswith("DescribeExecution: connection was closed before we received a valid response")
    assert said[0].endswith("; trying again")


def test_csv_of_an_item_file_is_that_of_rfc_4180() -> None:
    text = b'a,b\n"say ""hi""",x\\,y\n\\\\,"{""k"":""v""}"\n'
    rows = [json.loads(each) for each in read_items(io.BytesIO(text), "csv", name="rows.csv")]
    assert rows == [{"a": 'say "hi"', "b": "x\\"}, {"a": "\\\\", "b": '{"k":"v"}'}]
