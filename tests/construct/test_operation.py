"""What operators see and use: logs, metrics, alarms, dashboards, events, the bucket's lifecycle, tags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Alarms, Capture, ItemSource, Worker

if TYPE_CHECKING:
    from tests.construct.conftest import Lab

MACHINE = {"Ref": "PStateMachineD7DE3D71"}


def machine_properties(lab: Lab) -> dict[str, Any]:
    (found,) = lab.resources("AWS::StepFunctions::StateMachine").values()
    properties: dict[str, Any] = found["Properties"]
    return properties


# -- logs and tracing


def test_errors_are_logged_without_data_by_default(lab: Lab) -> None:
    lab.pipeline()

    logging = machine_properties(lab)["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ERROR", False)
    (group,) = lab.resources("AWS::Logs::LogGroup").values()
    assert group["Properties"]["RetentionInDays"] == 30
    assert group["DeletionPolicy"] == "Retain"


def test_logs_can_be_chosen(lab: Lab) -> None:
    lab.pipeline(
        worker=lab.python_worker(),
        log_level=sfn.LogLevel.ALL,
        log_execution_data=True,
        log_retention=logs.RetentionDays.ONE_YEAR,
        removal_policy=cdk.RemovalPolicy.DESTROY,
    )

    logging = machine_properties(lab)["LoggingConfiguration"]
    assert (logging["Level"], logging["IncludeExecutionData"]) == ("ALL", True)
    groups = list(lab.resources("AWS::Logs::LogGroup").values())
    assert [group["Properties"]["RetentionInDays"] for group in groups] == [365, 365]
    assert {group["DeletionPolicy"] for group in groups} == {"Delete"}


@pytest.mark.parametrize("tracing", [False, True], ids=["off", "on"])
def test_tracing(lab: Lab, *, tracing: bool) -> None:
    lab.pipeline(worker=lab.python_worker(), tracing=tracing)

    assert machine_properties(lab).get("TracingConfiguration", {}).get("Enabled", False) is tracing
    (function,) = lab.resources("AWS::Lambda::Function").values()
    assert ("TracingConfig" in function["Properties"]) is tracing


def test_timeout_and_comment_of_the_machine(lab: Lab) -> None:
    definition = lab.definition(lab.pipeline(timeout=cdk.Duration.hours(5), comment="nightly"))

    assert definition["TimeoutSeconds"] == 18_000
    assert definition["Comment"] == "nightly"


def test_a_machine_is_standard_and_has_no_timeout_of_its_own(lab: Lab) -> None:
    definition = lab.definition(lab.pipeline())

    assert "TimeoutSeconds" not in definition
    assert machine_properties(lab).get("StateMachineType", "STANDARD") == "STANDARD"


# -- the bucket


def test_the_payload_bucket_is_private_encrypted_and_cleans_up(lab: Lab) -> None:
    lab.pipeline(payload_prefix="team/", expire_runs_after=cdk.Duration.days(7))
    (bucket,) = lab.resources("AWS::S3::Bucket").values()
    properties = bucket["Properties"]

    assert bucket["DeletionPolicy"] == "Retain"
    assert properties["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )
    assert "VersioningConfiguration" not in properties
    assert properties["LifecycleConfiguration"]["Rules"] == [
        {
            "Id": "expire-runs",
            "Prefix": "team/runs/",
            "ExpirationInDays": 7,
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            "Status": "Enabled",
        }
    ]
    (policy,) = lab.resources("AWS::S3::BucketPolicy").values()
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_item_files_that_users_keep_do_not_expire(lab: Lab) -> None:
    lab.pipeline()
    (bucket,) = lab.resources("AWS::S3::Bucket").values()

    prefixes = [rule["Prefix"] for rule in bucket["Properties"]["LifecycleConfiguration"]["Rules"]]
    assert prefixes == ["runs/"]


def test_a_given_bucket_is_used_as_it_is(lab: Lab) -> None:
    given = lab.bucket("Payload")
    pipeline = lab.pipeline(payload_bucket=given)

    assert pipeline.payload_bucket is pipeline.results_bucket is given
    assert lab.resources("AWS::S3::Bucket") == {}


def test_tags_reach_everything(lab: Lab) -> None:
    pipeline = lab.pipeline(items=ItemSource.captured(Capture.ranges()), worker=lab.python_worker())
    cdk.Tags.of(pipeline).add("team", "data")
    kinds = ["AWS::S3::Bucket", "AWS::StepFunctions::StateMachine", "AWS::Lambda::Function", "AWS::IAM::Role",
             "AWS::Logs::LogGroup"]  # fmt: skip

    resources = [each for kind in kinds for each in lab.resources(kind).values()]
    assert len(resources) == 10
    assert not [each for each in resources if {"Key": "team", "Value": "data"} not in each["Properties"]["Tags"]]


# -- metrics


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("metric_started", "ExecutionsStarted"),
        ("metric_succeeded", "ExecutionsSucceeded"),
        ("metric_failed", "ExecutionsFailed"),
        ("metric_timed_out", "ExecutionsTimedOut"),
        ("metric_aborted", "ExecutionsAborted"),
    ],
)
def test_metrics_of_runs(lab: Lab, method: str, name: str) -> None:
    pipeline = lab.pipeline()
    metric = getattr(pipeline, method)(period=cdk.Duration.minutes(1))

    assert metric.namespace == "AWS/States"
    assert metric.metric_name == name
    assert lab.stack.resolve(metric.dimensions) == {"StateMachineArn": MACHINE}
    assert metric.period.to_seconds() == 60


def test_metrics_of_children_are_those_of_the_labelled_machines(lab: Lab) -> None:
    pipeline = lab.pipeline()
    cloudwatch.Alarm(lab.stack, "Failed", metric=pipeline.metric_items_failed(), threshold=1, evaluation_periods=1)
    (alarm,) = lab.resources("AWS::CloudWatch::Alarm").values()
    entries = alarm["Properties"]["Metrics"]
    stats = [entry["MetricStat"] for entry in entries if "MetricStat" in entry]
    (expression,) = [entry["Expression"] for entry in entries if "Expression" in entry]

    seen = {
        (stat["Metric"]["MetricName"], stat["Metric"]["Dimensions"][0]["Value"]["Fn::Join"][1][-1]) for stat in stats
    }
    assert seen == {
        (name, label)
        for name in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
        for label in ("/P", "/P-ItemFile")
    }
    assert {stat["Stat"] for stat in stats} == {"Sum"}
    assert expression.count("FILL(") == 6


def test_metrics_of_children_of_a_captured_source_have_one_label(lab: Lab) -> None:
    metric = lab.pipeline(items=ItemSource.captured(Capture.ranges())).metric_items_succeeded()

    assert isinstance(metric, cloudwatch.MathExpression)
    assert metric.expression.count("FILL(") == 1


def test_metrics_of_children_of_two_pipelines_fit_one_graph(lab: Lab) -> None:
    metrics = [lab.pipeline(name).metric_items_failed() for name in ("First", "Second")]
    cloudwatch.Dashboard(lab.stack, "Both").add_widgets(cloudwatch.GraphWidget(left=metrics))

    assert lab.template()


@pytest.mark.parametrize(
    ("method", "name"), [("metric_worker_throttles", "Throttles"), ("metric_worker_errors", "Errors")]
)
def test_metrics_of_the_worker(lab: Lab, method: str, name: str) -> None:
    metric = getattr(lab.pipeline(), method)()

    assert (metric.namespace, metric.metric_name) == ("AWS/Lambda", name)


@pytest.mark.parametrize("method", ["metric_worker_throttles", "metric_worker_errors"])
def test_fails_when_the_metric_of_a_worker_that_is_no_function_is_asked_for(lab: Lab, method: str) -> None:
    pipeline = lab.pipeline(worker=Worker.states(lambda scope: sfn.Pass(scope, "Work")))
    with pytest.raises(ValueError, match=r"worker is a chain of states, not a function"):
        getattr(pipeline, method)()


# -- alarms and dashboard


def test_there_are_no_alarms_by_default(lab: Lab) -> None:
    pipeline = lab.pipeline()

    assert pipeline.dashboard is None
    assert lab.resources("AWS::CloudWatch::Alarm") == {}
    assert lab.resources("AWS::CloudWatch::Dashboard") == {}


def test_alarms_tell_the_topic(lab: Lab) -> None:
    topic = sns.Topic(lab.stack, "Topic")
    lab.pipeline(alarms=Alarms(actions=[actions.SnsAction(topic)], throttles=7))
    alarms = {
        each["Properties"]["MetricName"]: each["Properties"]
        for each in lab.resources("AWS::CloudWatch::Alarm").values()
    }

    assert {name: each["Threshold"] for name, each in alarms.items()} == {
        "ExecutionsFailed": 1,
        "ExecutionsTimedOut": 1,
        "Throttles": 7,
    }
    for each in alarms.values():
        assert each["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert each["TreatMissingData"] == "notBreaching"
        assert each["AlarmActions"] == [{"Ref": "TopicBFC7AF6E"}]


def test_a_worker_of_states_has_no_alarm_for_throttling(lab: Lab) -> None:
    lab.pipeline(worker=Worker.states(lambda scope: sfn.Pass(scope, "Work")), alarms=Alarms())

    assert len(lab.resources("AWS::CloudWatch::Alarm")) == 2


@pytest.mark.parametrize("kind", ["function", "states"])
def test_a_dashboard_shows_runs_children_worker_and_account(lab: Lab, workers: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(worker=workers["smallest"][kind](lab), dashboard=True)
    (board,) = lab.resources("AWS::CloudWatch::Dashboard").values()
    body = json.dumps(board)

    assert isinstance(pipeline.dashboard, cloudwatch.Dashboard)
    assert not [title for title in ("Runs", "Children", "Map Runs of the account") if f'\\"{title}\\"' not in body]
    assert ("Concurrency of the worker" in body) is (kind == "function")


# -- events


def test_events_of_runs_that_end(lab: Lab) -> None:
    topic = sns.Topic(lab.stack, "Topic")
    pipeline = lab.pipeline()
    pipeline.on_finished("Finished", target=targets.SnsTopic(topic))
    pipeline.on_failed("Failed")
    rules = {key: each["Properties"] for key, each in lab.resources("AWS::Events::Rule").items()}
    patterns = {key: each["EventPattern"] for key, each in rules.items()}

    assert [pattern["detail"]["status"] for pattern in patterns.values()] == [
        ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"],
        ["FAILED", "TIMED_OUT", "ABORTED"],
    ]
    for pattern in patterns.values():
        assert pattern["source"] == ["aws.states"]
        assert pattern["detail-type"] == ["Step Functions Execution Status Change"]
        assert pattern["detail"]["stateMachineArn"] == [MACHINE]
    assert [len(each.get("Targets", [])) for each in rules.values()] == [1, 0]
