"""Distributed Map: what is written of it, and what a redrive runs again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

# -- results


def test_export_without_writer_config_has_metadata(bench: Bench) -> None:
    bucket = bench.bucket()
    found = bench.run(bench.mapped(ResultWriter=bench.writer(bucket)), {"items": [{"a": 1}]})
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
    bench.functions.handlers["fails"] = bench.failing_on(1)
    bucket = bench.bucket()
    made = bench.mapped(
        bench.task("fails"), ToleratedFailureCount=1, ResultWriter=bench.writer(bucket, Transformation="COMPACT")
    )
    bench.output(made, {"items": [1]})
    (record,) = json.loads(bench.body(bucket, next(key for key in bench.keys(bucket) if "FAILED" in key)))
    assert record["Error"] == "ValueError"
    assert json.loads(record["Cause"])["errorMessage"] == "bad item 1"
    assert record["RedriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    assert "Output" not in record
    assert list(record) == sorted(record)
    assert record["OutputDetails"] == {"Included": True}


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
def test_results_are_written_in_the_form_that_is_set(
    bench: Bench, config: dict[str, str], suffix: str, expected: bytes
) -> None:
    bucket = bench.bucket()
    bench.output(bench.mapped(ResultWriter=bench.writer(bucket, **config)), {"items": [[1, 2], [3]]})
    key = next(key for key in bench.keys(bucket) if "SUCCEEDED" in key)
    assert key.endswith(f"SUCCEEDED_0.{suffix}")
    assert bench.body(bucket, key) == expected


def test_flatten_writes_what_is_no_array_as_it_is(bench: Bench) -> None:
    bucket = bench.bucket()
    config = {"Transformation": "FLATTEN", "OutputType": "JSONL"}
    bench.output(bench.mapped(ResultWriter=bench.writer(bucket, **config)), {"items": [1, "a", {"b": 2}, None]})
    key = next(key for key in bench.keys(bucket) if "SUCCEEDED" in key)
    assert bench.body(bucket, key) == b'1\n"a"\n{"b":2}\nnull\n'


def test_files_have_the_content_types_of_aws(bench: Bench) -> None:
    bucket = bench.bucket()
    bench.output(bench.mapped(ResultWriter=bench.writer(bucket)), {"items": [1]})
    keys = bench.keys(bucket)
    found = {key.rsplit("/", 1)[-1]: bench.s3.head_object(Bucket=bucket, Key=key)["ContentType"] for key in keys}
    assert found == {"SUCCEEDED_0.json": "binary/octet-stream", "manifest.json": "application/octet-stream"}


def test_express_children_have_nothing_of_redrives_in_their_records(bench: Bench) -> None:
    bucket = bench.bucket()
    found = bench.run(bench.mapped(kind="EXPRESS", ResultWriter=bench.writer(bucket)), {"items": [1]})
    (record,) = json.loads(bench.body(bucket, next(key for key in bench.keys(bucket) if "SUCCEEDED" in key)))
    assert [field for field in record if "Redrive" in field] == ["RedriveCount"]
    run = bench.map_run(found["executionArn"])["mapRunArn"]
    (listed,) = bench.sfn.list_executions(mapRunArn=run)["executions"]
    name, _, number = listed["name"].partition(":")
    assert record["Name"] == name
    assert record["ExecutionArn"].endswith(f":{name}:{number}")
    assert number


def test_writer_config_alone_formats_the_output(bench: Bench) -> None:
    made = bench.mapped(ResultWriter={"WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}})
    assert bench.output(made, {"items": [[1, 2], [3]]}) == [1, 2, 3]


def test_result_files_roll_over(bench: Bench) -> None:
    bench.engine.services.result_file_bytes, before = 40, bench.engine.services.result_file_bytes
    bucket = bench.bucket()
    try:
        made = bench.mapped(ResultWriter=bench.writer(bucket, Transformation="COMPACT", OutputType="JSONL"))
        bench.output(made, {"items": ["x" * 15] * 5})
    finally:
        bench.engine.services.result_file_bytes = before
    written = [key for key in bench.keys(bucket) if "SUCCEEDED" in key]
    assert [key.rsplit("_", 1)[-1] for key in written] == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert b"".join(bench.body(bucket, key) for key in written) == b'"xxxxxxxxxxxxxxx"\n' * 5


def test_fails_when_results_cannot_be_written(bench: Bench) -> None:
    before = bench.functions.invocations
    bench.functions.handlers["never"] = bench.failing_on()
    found = bench.run(bench.mapped(bench.task("never"), ResultWriter=bench.writer("nosuchbucket")), {"items": [1]})
    assert found["error"] == "States.ResultWriterFailed"
    assert "test manifest" in found["cause"]
    assert bench.functions.invocations == before
    assert bench.sfn.list_map_runs(executionArn=found["executionArn"])["mapRuns"] == []
    types = [event["type"] for event in bench.events(found["executionArn"])]
    assert types[-3:] == ["MapStateStarted", "MapStateFailed", "ExecutionFailed"]


@pytest.mark.parametrize(
    "place",
    [{"Bucket": "b", "Prefix": 5}, {"Bucket": None}, {"Prefix": "p"}, {"Bucket": "b", "Key": "k"}, "b"],
    ids=["prefix", "bucket", "no-bucket", "key", "text"],
)
def test_fails_when_the_place_of_results_is_not_one(bench: Bench, place: Any) -> None:
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Arguments": "{% $states.input.place %}"}
    found = bench.run(bench.mapped(ResultWriter=writer), {"items": [1], "place": place})
    assert found["error"] == "States.Runtime"
    assert "ResultWriter needs Bucket and Prefix as strings, got: " in found["cause"]


def test_fails_when_the_output_is_over_256_kib(bench: Bench) -> None:
    bucket = bench.bucket({"file": b"".join(b'"%s"\n' % (b"x" * 100_000) for _ in range(3))})
    made = bench.mapped(ItemReader=bench.reader(bucket, "file", InputType="JSONL"))
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
    made = bench.mapped(
        bench.task("redriven"), MaxConcurrency=1, ResultWriter=bench.writer(bucket, Transformation="COMPACT")
    )
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
    files = json.loads(bench.body(bucket, key))["ResultFiles"]["SUCCEEDED"]
    assert [file["Key"].count("/Redrive-1/") for file in files] == [0, 1]
    assert [json.loads(bench.body(bucket, file["Key"])) for file in files] == [[1], [2, 3]]
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
    found = bench.run(bench.mapped(ItemReader=bench.reader(bucket, "late", InputType="JSON")))
    assert found["error"] == "States.ItemReaderFailed"
    bench.s3.put_object(Bucket=bucket, Key="late", Body=b"[1,2]")
    bench.sfn.redrive_execution(executionArn=found["executionArn"])
    assert json.loads(bench.ended(found["executionArn"])["output"]) == [1, 2]
