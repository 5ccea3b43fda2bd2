"""Distributed Map: readers, batches, concurrency, tolerance, results, redrive."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

if TYPE_CHECKING:
    from tests.local.conftest import Bench

READ = "arn:aws:states:::s3:getObject"
LIST = "arn:aws:states:::s3:listObjectsV2"
WRITE = "arn:aws:states:::s3:putObject"
ROWS = [{"n": "1", "t": "a"}, {"n": "2", "t": 'b, "c"'}, {"n": "3", "t": ""}]


def reader(bucket: str, key: str, **config: Any) -> dict[str, Any]:
    return {"Resource": READ, "ReaderConfig": config, "Arguments": {"Bucket": bucket, "Key": key}}


def writer(bucket: str, **config: Any) -> dict[str, Any]:
    place = {"Resource": WRITE, "Arguments": {"Bucket": bucket, "Prefix": "out"}}
    return {**place, "WriterConfig": config} if config else place


def csv_text(rows: list[dict[str, str]], *, header: bool = True, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    made = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    if header:
        made.writeheader()
    made.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow  # type: ignore[import-untyped]  # it has no types
    from pyarrow import parquet as files

    sink = io.BytesIO()
    files.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
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
    assert bench.output(bench.mapped(ItemReader=reader(bucket, "file", **config))) == ROWS


def test_entries_of_an_object_are_items(bench: Bench) -> None:
    bucket = bench.bucket({"file": json.dumps({"at": {"a": 1, "b": [2]}}).encode()})
    selector = {
        "key": "{% $states.context.Map.Item.Key %}",
        "value": "{% $states.context.Map.Item.Value %}",
        "from": "{% $states.context.Map.Item.Source %}",
    }
    made = bench.mapped(ItemReader=reader(bucket, "file", InputType="JSON", ItemsPointer="/at"), ItemSelector=selector)
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
    output = bench.output(bench.mapped(ItemReader=reader(bucket, "manifest.json", **config)))
    assert output == [{"Bucket": "b", "Key": f"k{at}", "Size": str(at)} for at in (1, 2)]


def test_athena_manifest_gives_rows_of_all_its_files(bench: Bench) -> None:
    bucket = bench.bucket({f"data/{at}": b'{"n":%d}\n' % at for at in (1, 2)})
    bench.s3.put_object(Bucket=bucket, Key="m.csv", Body=f"s3://{bucket}/data/1\ns3://{bucket}/data/2\n")
    config = {"ManifestType": "ATHENA_DATA", "InputType": "JSONL"}
    assert bench.output(bench.mapped(ItemReader=reader(bucket, "m.csv", **config))) == [{"n": 1}, {"n": 2}]


def test_max_items_may_be_an_expression(bench: Bench) -> None:
    bucket = bench.bucket({"file": JSONL})
    made = bench.mapped(ItemReader=reader(bucket, "file", InputType="JSONL", MaxItems="{% $states.input.most %}"))
    assert bench.output(made, {"most": 2}) == ROWS[:2]


@pytest.mark.parametrize(
    ("body", "config", "cause"),
    [
        (b'{"a":1}\n{"b"\n', {"InputType": "JSONL"}, "Line 2 of the JSON Lines file is not valid JSON"),
        (b"[1,2", {"InputType": "JSON"}, "The file is not valid JSON"),
        (b"1", {"InputType": "JSON"}, "Attempting to map over non-iterable node."),
        (b"{}", {"InputType": "JSON", "ItemsPointer": "/a"}, "The ItemsPointer '/a' does not point to anything"),
        (None, {"InputType": "JSON"}, "Attempted to read the object file"),
    ],
    ids=["broken-line", "broken-json", "a-number", "pointer", "missing"],
)
def test_fails_when_the_source_cannot_be_read(
    bench: Bench, body: bytes | None, config: dict[str, Any], cause: str
) -> None:
    bucket = bench.bucket({} if body is None else {"file": body})
    found = bench.run(bench.mapped(ItemReader=reader(bucket, "file", **config)))
    assert found["status"] == "FAILED"
    assert found["error"] == "States.ItemReaderFailed"
    assert cause in found["cause"]
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types[-3:] == ["MapRunFailed", "MapStateFailed", "ExecutionFailed"]


def test_source_failure_can_be_caught(bench: Bench) -> None:
    made = bench.mapped(ItemReader=reader("nobucket", "file", InputType="JSON"))
    made["States"]["Map"]["Catch"] = [{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Caught"}]
    made["States"]["Caught"] = {"Type": "Pass", "Output": "{% $states.input.Error %}", "End": True}
    assert bench.output(made) == "States.ItemReaderFailed"


# -- batches


def test_batches_have_exactly_two_keys(bench: Bench) -> None:
    batcher = {"MaxItemsPerBatch": 2, "BatchInput": {"run": "{% $states.context.Execution.Name %}"}}
    found = bench.run(bench.mapped(ItemBatcher=batcher), {"items": [1, 2, 3]})
    run = {"run": found["name"]}
    assert found["output"] == json.dumps(
        [{"BatchInput": run, "Items": [1, 2]}, {"BatchInput": run, "Items": [3]}], separators=(",", ":")
    )


def test_batch_without_batch_input_has_items_only(bench: Bench) -> None:
    assert bench.output(bench.mapped(ItemBatcher={"MaxItemsPerBatch": 5}), {"items": [1]}) == [{"Items": [1]}]


def test_bytes_close_a_batch(bench: Bench) -> None:
    made = bench.mapped(ItemBatcher={"MaxInputBytesPerBatch": 40})
    output = bench.output(made, {"items": ["x" * 8] * 7})
    assert [len(batch["Items"]) for batch in output] == [2, 2, 2, 1]
    assert max(len(json.dumps(batch, separators=(",", ":"))) for batch in output) <= 40


def test_batches_stop_at_256_kib(bench: Bench) -> None:
    bucket = bench.bucket({"file": b"".join(b'"%s"\n' % (b"x" * 100_000) for _ in range(5))})
    inner = {"Each": {"Type": "Pass", "Output": "{% $count($states.input.Items) %}", "End": True}}
    made = bench.mapped(
        inner, ItemReader=reader(bucket, "file", InputType="JSONL"), ItemBatcher={"MaxItemsPerBatch": 9}
    )
    assert bench.output(made) == [2, 2, 1]


def test_fails_when_an_item_fits_no_batch(bench: Bench) -> None:
    made = bench.mapped(ItemBatcher={"MaxInputBytesPerBatch": 30})
    found = bench.run(made, {"items": ["x" * 30]})
    assert found["error"] == "States.DataLimitExceeded"


# -- what children are called


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"], ids=["standard", "express"])
def test_children_have_labelled_arns(bench: Bench, kind: str) -> None:
    found = bench.run(bench.mapped(kind=kind), {"items": [{"a": 1}, {"a": 2}]})
    run = bench.map_run(found["executionArn"])
    name = found["stateMachineArn"].rsplit(":", 1)[-1]
    assert f":mapRun:{name}/Each:" in run["mapRunArn"]
    children = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert len(children) == 2
    for child in children:
        described = bench.sfn.describe_execution(executionArn=child["executionArn"])
        kind_in_arn = "express" if kind == "EXPRESS" else "execution"
        assert f":{kind_in_arn}:{name}/Each:" in child["executionArn"]
        assert described["stateMachineArn"] == f"{found['stateMachineArn']}/Each"
        assert described["mapRunArn"] == run["mapRunArn"]
        assert described["output"] == described["input"]
    if kind == "STANDARD":
        types = [event["type"] for event in bench.events(children[0]["executionArn"])]
        assert types == ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
    else:
        with pytest.raises(bench.sfn.exceptions.InvalidArn):
            bench.events(children[0]["executionArn"])


def test_maps_nest(bench: Bench) -> None:
    inner = bench.mapped(Items="{% $states.input %}")["States"]["Map"]
    outer = bench.mapped({"Inner": {**inner, "Label": "Inner"}})
    found = bench.run(outer, {"items": [[1, 2], [3]]})
    assert json.loads(found["output"]) == [[1, 2], [3]]
    run = bench.map_run(found["executionArn"])
    child = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"][0]
    assert "/Inner:" in bench.map_run(child["executionArn"])["mapRunArn"]


# -- concurrency


@pytest.mark.parametrize("most", [1, 3], ids=["one", "three"])
def test_concurrency_never_exceeds_its_bound(bench: Bench, most: int) -> None:
    running, peak, lock = [0], [0], threading.Lock()

    def work(event: Any) -> Any:
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1
        return event

    bench.functions.handlers["counted"] = work
    made = bench.mapped(bench.task("counted"), MaxConcurrency="{% $states.input.most %}")
    assert bench.output(made, {"items": list(range(12)), "most": most}) == list(range(12))
    assert peak[0] == most


def test_concurrency_can_be_raised_while_running(bench: Bench) -> None:
    enough = threading.Barrier(3, timeout=20)

    def meet(_event: Any) -> int:
        return enough.wait()

    bench.functions.handlers["meets"] = meet
    execution = bench.start(bench.mapped(bench.task("meets"), MaxConcurrency=1), {"items": [1, 2, 3]})
    while not bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]:
        time.sleep(0.01)
    run = bench.map_run(execution)
    bench.sfn.update_map_run(mapRunArn=run["mapRunArn"], maxConcurrency=3)
    assert sorted(json.loads(bench.ended(execution)["output"])) == [0, 1, 2]
    assert bench.map_run(execution)["maxConcurrency"] == 3


# -- tolerance


def failing_on(*bad: int) -> Any:
    def work(event: Any) -> Any:
        if event in bad:
            raise ValueError(f"bad item {event}")
        return event

    return work


def test_first_failure_breaches_without_tolerance(bench: Bench) -> None:
    bench.functions.handlers["fails"] = failing_on(2)
    bucket = bench.bucket()
    made = bench.mapped(bench.task("fails"), MaxConcurrency=1, ResultWriter=writer(bucket))
    found = bench.run(made, {"items": [1, 2, 3, 4]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    assert found["cause"] == "The specified tolerated failure threshold was exceeded"
    run = bench.map_run(found["executionArn"])
    assert run["status"] == "FAILED"
    counts = run["itemCounts"]
    assert (counts["succeeded"], counts["failed"], counts["pending"], counts["total"]) == (1, 1, 2, 4)
    names = sorted(key.rsplit("/", 1)[-1] for key in bench.keys(bucket))
    assert names == ["FAILED_0.json", "PENDING_0.json", "SUCCEEDED_0.json", "manifest.json"]
    pending = next(key for key in bench.keys(bucket) if "PENDING" in key)
    assert json.loads(bench.body(bucket, pending)) == [
        {"Input": str(item), "InputDetails": {"Included": True}, "Status": "PENDING"} for item in (3, 4)
    ]


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailureCount": 1}, "FAILED"),
        ({"ToleratedFailurePercentage": 20}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 19.9}, "FAILED"),
        ({"ToleratedFailureCount": 1, "ToleratedFailurePercentage": 50}, "FAILED"),
    ],
    ids=["count", "count-breached", "share", "share-breached", "either"],
)
def test_tolerance(bench: Bench, tolerance: dict[str, Any], status: str) -> None:
    bench.functions.handlers["fails"] = failing_on(1, 2)
    found = bench.run(bench.mapped(bench.task("fails"), **tolerance), {"items": list(range(10))})
    assert found["status"] == status


def test_failed_batch_counts_all_its_items(bench: Bench) -> None:
    def work(event: Any) -> Any:
        return failing_on(1)(event["Items"][0])

    bench.functions.handlers["fails-batch"] = work
    made = bench.mapped(bench.task("fails-batch"), ItemBatcher={"MaxItemsPerBatch": 4}, ToleratedFailureCount=3)
    found = bench.run(made, {"items": [1, 2, 3, 4, 5]})
    assert found["error"] == "States.ExceedToleratedFailureThreshold"
    assert bench.map_run(found["executionArn"])["itemCounts"]["failed"] == 4


def test_breach_aborts_running_standard_children(bench: Bench) -> None:
    go = threading.Event()

    def work(event: Any) -> Any:
        if event == 0:
            raise ValueError("bad")
        go.wait(20)
        return event

    bench.functions.handlers["hangs"] = work
    found = bench.run(bench.mapped(bench.task("hangs"), MaxConcurrency=3), {"items": [1, 2, 0, 3]})
    go.set()
    counts = bench.map_run(found["executionArn"])["executionCounts"]
    assert (counts["failed"], counts["aborted"], counts["pending"]) == (1, 2, 1)


# -- results


def test_export_without_writer_config_has_metadata(bench: Bench) -> None:
    bucket = bench.bucket()
    found = bench.run(bench.mapped(ResultWriter=writer(bucket)), {"items": [{"a": 1}]})
    output = json.loads(found["output"])
    run = bench.map_run(found["executionArn"])["mapRunArn"]
    folder = f"out/{run.rsplit(':', 1)[-1]}"
    assert output == {"MapRunArn": run, "ResultWriterDetails": {"Bucket": bucket, "Key": f"{folder}/manifest.json"}}
    manifest = json.loads(bench.body(bucket, f"{folder}/manifest.json"))
    body = bench.body(bucket, f"{folder}/SUCCEEDED_0.json")
    assert manifest == {
        "DestinationBucket": bucket,
        "MapRunArn": run,
        "ResultFiles": {
            "FAILED": [],
            "PENDING": [],
            "SUCCEEDED": [{"Key": f"{folder}/SUCCEEDED_0.json", "Size": len(body)}],
        },
    }
    (record,) = json.loads(body)
    assert sorted(record) == [
        *("ExecutionArn", "Input", "InputDetails", "Name", "Output", "OutputDetails", "RedriveCount"),
        *("RedriveStatus", "RedriveStatusReason", "StartDate", "StateMachineArn", "Status", "StopDate"),
    ]
    assert record["Input"] == record["Output"] == '{"a":1}'
    assert record["Status"] == "SUCCEEDED"


def test_failed_children_are_written_with_error_and_cause(bench: Bench) -> None:
    bench.functions.handlers["fails"] = failing_on(1)
    bucket = bench.bucket()
    made = bench.mapped(
        bench.task("fails"), ToleratedFailureCount=1, ResultWriter=writer(bucket, Transformation="COMPACT")
    )
    bench.output(made, {"items": [1]})
    (record,) = json.loads(bench.body(bucket, next(key for key in bench.keys(bucket) if "FAILED" in key)))
    assert record["Error"] == "ValueError"
    assert json.loads(record["Cause"])["errorMessage"] == "bad item 1"
    assert record["RedriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    assert "Output" not in record


@pytest.mark.parametrize(
    ("config", "suffix", "expected"),
    [
        ({"Transformation": "COMPACT", "OutputType": "JSON"}, "json", b"[[1,2],[3]]"),
        ({"Transformation": "FLATTEN", "OutputType": "JSON"}, "json", b"[1,2,3]"),
        ({"Transformation": "COMPACT", "OutputType": "JSONL"}, "jsonl", b"[1,2]\n[3]\n"),
        ({"Transformation": "FLATTEN", "OutputType": "JSONL"}, "jsonl", b"1\n2\n3\n"),
    ],
    ids=["compact-json", "flatten-json", "compact-jsonl", "flatten-jsonl"],
)
def test_transformations(bench: Bench, config: dict[str, str], suffix: str, expected: bytes) -> None:
    bucket = bench.bucket()
    bench.output(bench.mapped(ResultWriter=writer(bucket, **config)), {"items": [[1, 2], [3]]})
    key = next(key for key in bench.keys(bucket) if "SUCCEEDED" in key)
    assert key.endswith(f"SUCCEEDED_0.{suffix}")
    assert bench.body(bucket, key) == expected


def test_writer_config_alone_formats_the_output(bench: Bench) -> None:
    made = bench.mapped(ResultWriter={"WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}})
    assert bench.output(made, {"items": [[1, 2], [3]]}) == [1, 2, 3]


def test_result_files_roll_over(bench: Bench) -> None:
    bench.engine.services.result_file_bytes, before = 40, bench.engine.services.result_file_bytes
    bucket = bench.bucket()
    try:
        made = bench.mapped(ResultWriter=writer(bucket, Transformation="COMPACT", OutputType="JSONL"))
        bench.output(made, {"items": ["x" * 15] * 5})
    finally:
        bench.engine.services.result_file_bytes = before
    written = [key for key in bench.keys(bucket) if "SUCCEEDED" in key]
    assert [key.rsplit("_", 1)[-1] for key in written] == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert b"".join(bench.body(bucket, key) for key in written) == b'"xxxxxxxxxxxxxxx"\n' * 5


def test_fails_when_results_cannot_be_written(bench: Bench) -> None:
    before = bench.functions.invocations
    bench.functions.handlers["never"] = failing_on()
    found = bench.run(bench.mapped(bench.task("never"), ResultWriter=writer("nosuchbucket")), {"items": [1]})
    assert found["error"] == "States.ResultWriterFailed"
    assert "test manifest" in found["cause"]
    assert bench.functions.invocations == before


def test_fails_when_the_output_is_over_256_kib(bench: Bench) -> None:
    bucket = bench.bucket({"file": b"".join(b'"%s"\n' % (b"x" * 100_000) for _ in range(3))})
    made = bench.mapped(ItemReader=reader(bucket, "file", InputType="JSONL"))
    made["States"]["Map"]["Catch"] = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    made["States"]["Caught"] = {"Type": "Succeed"}
    found = bench.run(made)
    assert found["error"] == "States.DataLimitExceeded"


# -- redrive


def test_redrive_runs_only_what_failed(bench: Bench) -> None:
    seen: list[Any] = []
    bad = {2}

    def work(event: Any) -> Any:
        seen.append(event)
        if event in bad:
            raise ValueError("bad")
        return event

    bench.functions.handlers["redriven"] = work
    bucket = bench.bucket()
    made = bench.mapped(bench.task("redriven"), MaxConcurrency=1, ResultWriter=writer(bucket, Transformation="COMPACT"))
    found = bench.run(made, {"items": [1, 2, 3]})
    assert found["redriveStatus"] == "REDRIVABLE"
    assert seen == [1, 2]
    bad.clear()
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    again = bench.ended(found["executionArn"])
    assert again["status"] == "SUCCEEDED"
    assert again["redriveCount"] == 1
    assert seen == [1, 2, 2, 3]
    run = bench.map_run(found["executionArn"])
    assert run["redriveCount"] == 1
    assert run["itemCounts"]["succeeded"] == 3
    key = json.loads(again["output"])["ResultWriterDetails"]["Key"]
    assert key.endswith("/Redrive-1/manifest.json")
    (file,) = json.loads(bench.body(bucket, key))["ResultFiles"]["SUCCEEDED"]
    assert json.loads(bench.body(bucket, file["Key"])) == [2, 3]
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types.index("ExecutionRedriven") < types.index("MapRunRedriven") < types.index("MapRunSucceeded")


def test_standard_children_go_on_where_they_failed(bench: Bench) -> None:
    seen: list[str] = []
    bad = {"second"}

    def work(event: Any) -> Any:
        seen.append(event)
        if event in bad:
            raise ValueError("bad")
        return event

    bench.functions.handlers["steps"] = work

    def step(name: str, **rest: Any) -> dict[str, Any]:
        arguments = {"FunctionName": "steps", "Payload": f'"{name}"'}
        return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments, **rest}

    made = bench.mapped({"First": step("first", Next="Second"), "Second": step("second", End=True)})
    found = bench.run(made, {"items": [1]})
    bad.clear()
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    assert bench.ended(found["executionArn"])["status"] == "SUCCEEDED"
    assert seen == ["first", "second", "second"]


def test_fails_when_redriving_what_succeeded(bench: Bench) -> None:
    found = bench.run(bench.mapped(), {"items": []})
    with pytest.raises(bench.sfn.exceptions.ExecutionNotRedrivable):
        bench.sfn.redrive_execution(executionArn=found["executionArn"])


def test_source_is_read_again_after_it_could_not_be(bench: Bench) -> None:
    bucket = bench.bucket()
    found = bench.run(bench.mapped(ItemReader=reader(bucket, "late", InputType="JSON")))
    assert found["error"] == "States.ItemReaderFailed"
    bench.s3.put_object(Bucket=bucket, Key="late", Body=b"[1,2]")
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    assert json.loads(bench.ended(found["executionArn"])["output"]) == [1, 2]


# -- stopping, times


def test_stop_aborts_the_map_run(bench: Bench) -> None:
    go = threading.Event()

    def work(event: Any) -> Any:
        go.wait(20)
        return event

    bench.functions.handlers["stopped"] = work
    execution = bench.start(bench.mapped(bench.task("stopped")), {"items": [1, 2]})
    while not (runs := bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]):
        time.sleep(0.01)
    bench.sfn.stop_execution(executionArn=execution, error="Enough", cause="of it")
    found = bench.ended(execution)
    go.set()
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Enough", "of it")
    assert bench.sfn.describe_map_run(mapRunArn=runs[0]["mapRunArn"])["status"] == "ABORTED"
    types = [event["type"] for event in bench.events(execution)]
    assert types[-3:] == ["MapRunAborted", "MapStateAborted", "ExecutionAborted"]


def test_express_children_have_five_minutes(bench: Bench) -> None:
    inner = {"Long": {"Type": "Wait", "Seconds": 301, "End": True}}
    found = bench.run(bench.mapped(inner, kind="EXPRESS", ToleratedFailurePercentage=100), {"items": [1]})
    assert bench.map_run(found["executionArn"])["executionCounts"]["timedOut"] == 1


def test_hours_of_waiting_pass_at_once(bench: Bench) -> None:
    inner = {"Long": {"Type": "Wait", "Seconds": 36_000, "End": True}}
    began = time.monotonic()
    found = bench.run(bench.mapped(inner, MaxConcurrency=1), {"items": list(range(24))})
    assert found["stopDate"].timestamp() - found["startDate"].timestamp() >= 24 * 36_000
    assert time.monotonic() - began < 3_600


# -- JSONPath


def test_json_path_fields(bench: Bench) -> None:
    bucket = bench.bucket({"file": JSONL})
    state = {
        "Type": "Map",
        "ItemReader": {
            "Resource": READ,
            "ReaderConfig": {"InputType": "JSONL", "MaxItemsPath": "$.most"},
            "Parameters": {"Bucket": bucket, "Key.$": "$.key"},
        },
        "ItemSelector": {"row.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index", "run.$": "$.run"},
        "ItemBatcher": {"MaxItemsPerBatchPath": "$.batch", "BatchInput": {"run.$": "$.run"}},
        "MaxConcurrencyPath": "$.batch",
        "ToleratedFailurePercentagePath": "$.most",
        "ResultWriter": {"Resource": WRITE, "Parameters": {"Bucket": bucket, "Prefix.$": "$.run"}},
        "ResultSelector": {"key.$": "$.ResultWriterDetails.Key"},
        "ResultPath": "$.results",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "Each",
            "States": {"Each": {"Type": "Pass", "End": True}},
        },
        "End": True,
    }
    given = {"most": 3, "key": "file", "batch": 2, "run": "r1"}
    output = bench.output({"StartAt": "Map", "States": {"Map": state}}, given)
    assert {key: output[key] for key in given} == given
    assert output["results"]["key"].startswith("r1/")
    (file,) = json.loads(bench.body(bucket, output["results"]["key"]))["ResultFiles"]["SUCCEEDED"]
    inputs = [json.loads(record["Input"]) for record in json.loads(bench.body(bucket, file["Key"]))]
    assert [len(each["Items"]) for each in inputs] == [2, 1]
    assert inputs[0]["BatchInput"] == {"run": "r1"}
    assert inputs[1]["Items"] == [{"row": ROWS[2], "at": 2, "run": "r1"}]


def test_tolerance_can_be_raised_while_running(bench: Bench) -> None:
    raised = threading.Event()

    def work(event: Any) -> Any:
        raised.wait(20)
        if event:
            raise ValueError("bad")
        return event

    bench.functions.handlers["tolerated"] = work
    execution = bench.start(bench.mapped(bench.task("tolerated")), {"items": [0, 1, 1]})
    while not (runs := bench.sfn.list_map_runs(executionArn=execution)["mapRuns"]):
        time.sleep(0.01)
    bench.sfn.update_map_run(mapRunArn=runs[0]["mapRunArn"], toleratedFailureCount=2)
    raised.set()
    assert bench.ended(execution)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(("kind", "rate"), [("STANDARD", 100), ("EXPRESS", 1_000)], ids=["standard", "express"])
def test_children_start_no_faster_than_on_aws_where_asked(bench: Bench, kind: str, rate: int) -> None:
    bench.engine.services.dispatch_rates = True
    try:
        found = bench.run(bench.mapped(kind=kind), {"items": list(range(301))})
    finally:
        bench.engine.services.dispatch_rates = False
    assert found["stopDate"].timestamp() - found["startDate"].timestamp() >= 300 / rate


def test_batched_input_of_a_child_is_kept_to_the_byte(bench: Bench) -> None:
    found = bench.run(bench.mapped(ItemBatcher={"MaxItemsPerBatch": 2}), {"items": ["é", {"a": 1.5}]})
    run = bench.map_run(found["executionArn"])
    (child,) = bench.sfn.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    assert child["itemCount"] == 2
    described = bench.sfn.describe_execution(executionArn=child["executionArn"])
    assert described["input"] == '{"Items":["é",{"a":1.5}]}'
