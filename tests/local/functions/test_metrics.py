"""Metrics in the lines of functions, as CloudWatch takes them from its embedded metric format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cdk_distributed_map.local.functions.logs import LogWriter
from cdk_distributed_map.local.functions.metrics import MetricError, metrics_of
from tests.local.assemblies import Writer, function, role

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdk_distributed_map.local.server import LocalAws

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
DIRECTIVE = {
    "Namespace": "distmap",
    "Dimensions": [["Pipeline"], ["Pipeline", "Kind"]],
    "Metrics": [{"Name": "Failed", "Unit": "Count"}, {"Name": "Seconds", "StorageResolution": 1}],
}
DOCUMENT = {
    "_aws": {"Timestamp": AT.timestamp() * 1000, "CloudWatchMetrics": [DIRECTIVE]},
    "Pipeline": "Nightly",
    "Kind": "map",
    "Failed": 3,
    "Seconds": [0.5, 2],
    "note": "kept in the log alone",
}


def line(**changes: Any) -> str:
    return json.dumps({name: value for name, value in {**DOCUMENT, **changes}.items() if value is not None})


def directed(**changes: Any) -> str:
    told = {"Timestamp": 0, "CloudWatchMetrics": [{**DIRECTIVE, **changes}]}
    return line(_aws=told)


def test_each_metric_is_there_once_for_each_set_of_dimensions() -> None:
    found = metrics_of(line())
    assert {namespace for namespace, _ in found} == {"distmap"}
    one, two = (
        [{"Name": "Pipeline", "Value": "Nightly"}],
        [
            {"Name": "Pipeline", "Value": "Nightly"},
            {"Name": "Kind", "Value": "map"},
        ],
    )
    shown = [(each["MetricName"], each["Dimensions"], each["Values"], each["Unit"]) for _, each in found]
    assert shown == [
        ("Failed", one, [3], "Count"),
        ("Failed", two, [3], "Count"),
        ("Seconds", one, [0.5, 2], "None"),
        ("Seconds", two, [0.5, 2], "None"),
    ]
    assert [each["StorageResolution"] for _, each in found] == [60, 60, 1, 1]
    assert {each["Timestamp"] for _, each in found} == {AT}


def test_a_metric_may_have_no_dimensions() -> None:
    assert [each["Dimensions"] for _, each in metrics_of(directed(Dimensions=[[]]))] == [[], []]


@pytest.mark.parametrize("text", ["", "no metrics", '{"a": 1}', '{"CloudWatchMetrics": []}', '["CloudWatchMetrics"]'])
def test_other_lines_have_none(text: str) -> None:
    assert metrics_of(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[INFO] {line()}", "it is no JSON by itself .* print the document alone, in one line"),
        (line(Failed=None), "'Failed' must be a number or up to 100 of them, got null"),
        (line(Failed="3"), "'Failed' must be a number"),
        (line(Failed=True), "'Failed' must be a number"),
        (line(Seconds=[1] * 101), "'Seconds' must be a number or up to 100"),
        (line(Kind=None), "the dimension 'Kind' must be text at the top of the document, got null"),
        (line(Kind=7), "the dimension 'Kind' must be text at the top of the document, got 7"),
        (line(_aws={"CloudWatchMetrics": []}), "_aws.Timestamp must be milliseconds since 1970, got null"),
        (line(_aws={"Timestamp": 0, "CloudWatchMetrics": {}}), "_aws.CloudWatchMetrics must be an array"),
        (directed(Namespace=""), "Namespace must be text"),
        (directed(Dimensions=["Pipeline"]), "Dimensions must be arrays"),
        (directed(Dimensions=[["Kind"] * 31]), "a metric has up to 30 dimensions"),
        (directed(Metrics=[{"Unit": "Count"}]), "each metric needs a Name"),
        (directed(Metrics=[{"Name": "Failed"}] * 101), "Metrics must be an array of up to 100"),
        (directed(Metrics=[{"Name": "Failed", "StorageResolution": 5}]), "StorageResolution must be 1 or 60, got 5"),
    ],
)
def test_fails_when_a_line_is_not_in_the_format(text: str, message: str) -> None:
    with pytest.raises(MetricError, match=message):
        metrics_of(text)


def test_what_is_wrong_with_metrics_is_said_once_and_the_logs_are_written(local: LocalAws) -> None:
    said: list[str] = []
    writer = LogWriter(local.client, warn=said.append)
    writer.close()
    config: Any = SimpleNamespace(log_group="/aws/lambda/metrics-wrong")
    result: Any = SimpleNamespace(log=f"{line(Kind=7)}\n{line(Kind=7)}")
    writer.write(config, result)
    writer.flush()
    reason = "the dimension 'Kind' must be text at the top of the document, got 7"
    assert said == [f"CloudWatch takes no metrics from a line of {config.log_group}: {reason}"]
    assert len(local.client("logs").filter_log_events(logGroupName="/aws/lambda/metrics-wrong")["events"]) == 2


def test_the_metrics_of_a_function_are_there_as_soon_as_it_has_ended(
    local: LocalAws, assembly: Writer, physical: Callable[[str, str], str]
) -> None:
    local.deploy(assembly.stack("Metrics", {"Role": role(), "F": function("say")}).write())
    now = datetime.now(UTC)
    told = {**DOCUMENT, "_aws": {**DOCUMENT["_aws"], "Timestamp": now.timestamp() * 1000}}  # type: ignore[dict-item]
    local.client("lambda").invoke(FunctionName=physical("Metrics", "F"), Payload=json.dumps(json.dumps(told)))
    cloudwatch = local.client("cloudwatch")
    span = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5)}
    named = {"Namespace": "distmap", "MetricName": "Failed", "Dimensions": [{"Name": "Pipeline", "Value": "Nightly"}]}
    (point,) = cloudwatch.get_metric_statistics(**named, **span, Period=60, Statistics=["Sum"])["Datapoints"]
    assert (point["Sum"], point["Unit"]) == (3, "Count")
    query = {"Id": "a", "MetricStat": {"Metric": {**named, "MetricName": "Seconds"}, "Period": 60, "Stat": "Maximum"}}
    (answer,) = cloudwatch.get_metric_data(MetricDataQueries=[query], **span)["MetricDataResults"]
    assert answer["Values"] == [2]
