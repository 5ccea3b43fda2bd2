"""What operators see and use: logs, metrics, alarms, dashboards, events, the bucket's lifecycle, tags."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Accounting, Alarms, Capture, DistributedMapPipeline, ItemSource, Worker
from tests.construct.job_workers import batch_worker, durable_worker, ecs_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.construct.lab import Lab

MACHINE = {"Ref": "PStateMachineD7DE3D71"}


def machine_properties(lab: Lab) -> dict[str, Any]:
    (found,) = lab.resources("AWS::StepFunctions::StateMachine").values()
    properties: dict[str, Any] = found["Properties"]
    return properties


# -- logs and tracing


def test_errors_are_logged_without_data_by_default(lab: Lab) -> None:
    lab.pipeline(accounting=Accounting.none())

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
    assert [group["Properties"]["RetentionInDays"] for group in groups] == [365, 365, 365]
    assert {group["DeletionPolicy"] for group in groups} == {"Delete"}


def test_the_log_group_keeps_out_of_the_accounts_resource_policy_and_out_of_another_stacks_way(lab: Lab) -> None:
    lab.pipeline("P", accounting=Accounting.none())
    (group,) = lab.resources("AWS::Logs::LogGroup").values()

    stack_id = {"Fn::Select": [2, {"Fn::Split": ["/", {"Ref": "AWS::StackId"}]}]}
    assert group["Properties"]["LogGroupName"] == {
        "Fn::Join": ["", ["/aws/vendedlogs/states/", {"Ref": "AWS::StackName"}, "-PLogGroupCABFEA96-", stack_id]]
    }


def test_log_groups_of_two_pipelines_have_names_of_their_own(lab: Lab) -> None:
    lab.pipeline("First", accounting=Accounting.none())
    lab.pipeline("Second", accounting=Accounting.none())
    names = [group["Properties"]["LogGroupName"] for group in lab.resources("AWS::Logs::LogGroup").values()]

    assert names[0] != names[1]


def test_a_log_group_can_be_given(lab: Lab) -> None:
    given = logs.LogGroup(lab.stack, "Group", log_group_name="/aws/vendedlogs/states/ours")
    pipeline = lab.pipeline(log_group=given, accounting=Accounting.none())

    assert pipeline.log_group is given
    assert list(lab.resources("AWS::Logs::LogGroup")) == ["GroupC77FDACD"]
    (destination,) = machine_properties(lab)["LoggingConfiguration"]["Destinations"]
    assert destination == {"CloudWatchLogsLogGroup": {"LogGroupArn": {"Fn::GetAtt": ["GroupC77FDACD", "Arn"]}}}


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_machine_that_logs_nothing_has_no_logs_and_no_rights_to_them(lab: Lab, *, encrypted: bool) -> None:
    key = kms.Key(lab.stack, "Key") if encrypted else None
    pipeline = lab.pipeline(log_level=sfn.LogLevel.OFF, encryption_key=key, accounting=Accounting.none())

    assert pipeline.log_group is None
    assert "LoggingConfiguration" not in machine_properties(lab)
    assert lab.resources("AWS::Logs::LogGroup") == {}
    assert "logs" not in json.dumps(lab.statements(lab.role_id(pipeline.role)))


def test_a_role_that_cannot_be_changed_needs_no_right_to_logs_that_are_off(lab: Lab) -> None:
    role = iam.Role.from_role_arn(lab.stack, "R", "arn:aws:iam::111122223333:role/r", mutable=False)
    lab.pipeline(role=role, log_level=sfn.LogLevel.OFF, encryption_key=kms.Key(lab.stack, "Key"))

    (text,) = lab.warnings("distmap:RoleLacksPermissions")
    assert "logs" not in text


def test_fails_when_logs_are_off_but_something_is_said_about_them(lab: Lab) -> None:
    with pytest.raises(ValueError, match="log_group is given but log_level is OFF"):
        lab.pipeline("A", log_level=sfn.LogLevel.OFF, log_group=logs.LogGroup(lab.stack, "Group"))
    with pytest.raises(ValueError, match="log_execution_data is given but log_level is OFF"):
        lab.pipeline("B", log_level=sfn.LogLevel.OFF, log_execution_data=True)


def test_fails_when_the_log_group_is_a_name(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"log_group must be a log group, got '/aws/x': .*from_log_group_name"):
        lab.pipeline(log_group="/aws/x")


@pytest.mark.parametrize("tracing", [False, True], ids=["off", "on"])
def test_tracing_is_of_the_machine_and_its_functions(lab: Lab, *, tracing: bool) -> None:
    lab.pipeline(worker=lab.python_worker(), tracing=tracing)

    assert machine_properties(lab).get("TracingConfiguration", {}).get("Enabled", False) is tracing
    functions = list(lab.resources("AWS::Lambda::Function").values())
    assert len(functions) == 2
    assert [("TracingConfig" in function["Properties"]) for function in functions] == [tracing, tracing]


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
    lab.pipeline(payload_prefix="team/", expire_runs_after=cdk.Duration.days(20))
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
            "ExpirationInDays": 20,
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 20},
            "Status": "Enabled",
        }
    ]
    (policy,) = lab.resources("AWS::S3::BucketPolicy").values()
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def rules(lab: Lab) -> list[tuple[str, str, int]]:
    """Return id, prefix and days of each lifecycle rule of the only bucket."""
    (bucket,) = lab.resources("AWS::S3::Bucket").values()
    found = bucket["Properties"].get("LifecycleConfiguration", {"Rules": []})["Rules"]
    for rule in found:
        assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": rule["ExpirationInDays"]}
    return [(rule["Id"], rule["Prefix"], rule["ExpirationInDays"]) for rule in found]


def test_runs_of_every_pipeline_in_a_bucket_that_one_has_made_expire(lab: Lab) -> None:
    first = lab.pipeline("First", payload_prefix="first/")
    lab.pipeline("Second", payload_bucket=first.payload_bucket)
    lab.pipeline(
        "Third",
        payload_bucket=first.payload_bucket,
        payload_prefix="third/",
        expire_runs_after=cdk.Duration.days(90),
    )

    assert rules(lab) == [
        ("expire-runs", "first/runs/", 30),
        ("expire-runs-of-/", "runs/", 30),
        ("expire-runs-of-third/", "third/runs/", 90),
    ]


def test_a_bucket_of_ones_own_gets_a_rule_where_it_is_wanted(lab: Lab) -> None:
    made = s3.Bucket(lab.stack, "Made")
    lab.pipeline("Kept", payload_bucket=made, payload_prefix="kept/")
    lab.pipeline("Expiring", payload_bucket=made, payload_prefix="expiring/", expire_runs_after=cdk.Duration.days(15))

    assert rules(lab) == [("expire-runs-of-expiring/", "expiring/runs/", 15)]


def test_the_longest_prefix_makes_an_id_that_s3_takes(lab: Lab) -> None:
    lab.pipeline(
        payload_bucket=s3.Bucket(lab.stack, "Made"),
        payload_prefix=f"{'p' * 239}/",
        expire_runs_after=cdk.Duration.days(15),
    )

    ((name, _, _),) = rules(lab)
    assert len(name) == 255


def test_two_pipelines_in_the_same_place_have_one_rule(lab: Lab) -> None:
    first = lab.pipeline("First")
    lab.pipeline("Second", payload_bucket=first.payload_bucket)

    assert rules(lab) == [("expire-runs", "runs/", 30)]


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
    assert len(resources) == 13
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
def test_a_metric_of_runs_is_that_of_the_state_machine(lab: Lab, method: str, name: str) -> None:
    pipeline = lab.pipeline()
    metric = getattr(pipeline, method)(period=cdk.Duration.minutes(1))

    assert metric.namespace == "AWS/States"
    assert metric.metric_name == name
    assert lab.stack.resolve(metric.dimensions) == {"StateMachineArn": MACHINE}
    assert metric.period.to_seconds() == 60


def test_metrics_of_children_are_those_of_the_labelled_machines(lab: Lab) -> None:
    pipeline = lab.pipeline()
    cloudwatch.Alarm(lab.stack, "Failed", metric=pipeline.metric_children_failed(), threshold=1, evaluation_periods=1)
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
    metric = lab.pipeline(items=ItemSource.captured(Capture.ranges())).metric_children_succeeded()

    assert isinstance(metric, cloudwatch.MathExpression)
    assert metric.expression.count("FILL(") == 1


def test_metrics_of_children_take_options(lab: Lab) -> None:
    metric = lab.pipeline().metric_children_failed(
        label="lost",
        statistic="Maximum",
        period=cdk.Duration.minutes(1),
        color="#ff0000",
        unit=None,
        region="eu-west-1",
    )

    assert isinstance(metric, cloudwatch.MathExpression)
    assert (metric.label, metric.color, metric.period.to_minutes()) == ("lost", "#ff0000", 1)
    parts: list[Any] = list(metric.using_metrics.values())
    assert {(each.statistic, each.region, each.period.to_minutes()) for each in parts} == {("Maximum", "eu-west-1", 1)}


def test_fails_when_an_option_of_a_metric_of_children_is_unknown(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"takes account, color, label, period, region, statistic, unit, got 'stat'"):
        lab.pipeline().metric_children_succeeded(stat="Sum")


ITEM_METRICS = {
    "metric_items_captured": "ItemsCaptured",
    "metric_items_succeeded": "ItemsSucceeded",
    "metric_items_failed": "ItemsFailed",
    "metric_items_unprocessed": "ItemsUnprocessed",
    "metric_items_pending": "ItemsPending",
    "metric_items_missing": "ItemsMissing",
    "metric_items_recovered": "ItemsRecovered",
    "metric_items_duplicated": "ItemsDuplicated",
    "metric_rounds": "Rounds",
}


UNEMITTED = {"no-account": Accounting.none(), "no-metrics": Accounting(metrics=False)}


@pytest.fixture(scope="module")
def accounted(new_lab: Callable[..., Lab]) -> Callable[[str | None], DistributedMapPipeline]:
    """A pipeline whose account emits metrics, or one of those that emit none."""
    return functools.cache(lambda kind: new_lab().pipeline(accounting=None if kind is None else UNEMITTED[kind]))


@pytest.mark.parametrize(("method", "name"), ITEM_METRICS.items(), ids=ITEM_METRICS)
def test_metrics_of_items_are_those_that_the_account_emits(
    accounted: Callable[[str | None], DistributedMapPipeline], method: str, name: str
) -> None:
    metric = getattr(accounted(None), method)(period=cdk.Duration.minutes(1))

    assert (metric.namespace, metric.metric_name, metric.statistic) == ("Distmap", name, "Sum")
    assert metric.dimensions == {"Pipeline": "Stack/P"}
    assert metric.period.to_minutes() == 1


@pytest.mark.parametrize("method", ITEM_METRICS)
@pytest.mark.parametrize("kind", UNEMITTED)
def test_fails_when_a_metric_of_items_is_asked_for_that_is_not_emitted(
    accounted: Callable[[str | None], DistributedMapPipeline], method: str, kind: str
) -> None:
    pipeline = accounted(kind)
    with pytest.raises(ValueError, match=r"'Stack/P' emits no metrics of items: leave out Accounting"):
        getattr(pipeline, method)()


def test_metrics_of_children_of_two_pipelines_fit_one_graph(lab: Lab) -> None:
    metrics = [lab.pipeline(name).metric_children_failed() for name in ("First", "Second")]
    cloudwatch.Dashboard(lab.stack, "Both").add_widgets(cloudwatch.GraphWidget(left=metrics))

    assert lab.template()


@pytest.mark.parametrize(
    ("method", "name"), [("metric_worker_throttles", "Throttles"), ("metric_worker_errors", "Errors")]
)
def test_metrics_of_the_worker(lab: Lab, method: str, name: str) -> None:
    metric = getattr(lab.pipeline(), method)()

    assert (metric.namespace, metric.metric_name) == ("AWS/Lambda", name)


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        (lambda _: Worker.states(lambda scope: sfn.Pass(scope, "Work")), "a chain of states, not a function: use what"),
        (ecs_worker, "a task of ECS, not a function: use the cluster and the task definition"),
        (batch_worker, "a job of AWS Batch, not a function: use the job definition and the queue"),
    ],
    ids=["states", "ecs", "batch"],
)
@pytest.mark.parametrize("nested", [False, True], ids=["root", "nested"])
def test_fails_when_the_function_of_a_worker_that_is_none_is_asked_for(
    lab: Lab, worker: Callable[[Lab], Worker], why: str, *, nested: bool
) -> None:
    made = worker(lab)
    pipeline = lab.pipeline(
        worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=made) if nested else made
    )
    for ask in (lambda: pipeline.worker, pipeline.metric_worker_throttles, pipeline.metric_worker_errors):
        with pytest.raises(ValueError, match=f"the worker is {why}"):
            ask()


def test_a_durable_function_is_the_worker_that_is_observed(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=durable_worker(lab), alarms=Alarms(), dashboard=True)

    assert pipeline.worker.function_arn.endswith(":function:durable:3")
    assert pipeline.metric_worker_errors().namespace == "AWS/Lambda"
    throttled = [
        each["Properties"]
        for each in lab.resources("AWS::CloudWatch::Alarm").values()
        if each["Properties"].get("MetricName") == "Throttles"
    ]
    assert throttled


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
        "ItemsMissing": 1,
        "AsyncEventsDropped": 1,
    }
    for each in alarms.values():
        assert each["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert each["TreatMissingData"] == "notBreaching"
        assert each["AlarmActions"] == [{"Ref": "TopicBFC7AF6E"}]


def test_a_worker_of_states_has_no_alarm_for_throttling(lab: Lab) -> None:
    lab.pipeline(worker=Worker.states(lambda scope: sfn.Pass(scope, "Work")), alarms=Alarms())

    alarms = lab.resources("AWS::CloudWatch::Alarm").values()
    assert "Throttles" not in {each["Properties"]["MetricName"] for each in alarms}


def test_the_dimension_of_metrics_is_ascii_as_cloudwatch_wants_it(lab: Lab) -> None:
    pipeline = lab.pipeline("Größe 1")

    assert pipeline.metric_items_failed().dimensions == {"Pipeline": "Stack/Gr%C3%B6%C3%9Fe 1"}
    told = [each for each in lab.resources("AWS::Lambda::Function").values() if "DISTMAP_ACCOUNT" in str(each)]
    assert "/Gr%C3%B6%C3%9Fe 1" in str(told)


def test_an_alarm_for_failed_items_is_made_where_it_is_wanted(lab: Lab) -> None:
    lab.pipeline(alarms=Alarms(items_failed=20))

    alarms = [each["Properties"] for each in lab.resources("AWS::CloudWatch::Alarm").values()]
    (alarm,) = [each for each in alarms if each["MetricName"] == "ItemsFailed"]
    assert (alarm["Threshold"], alarm["Dimensions"]) == (20, [{"Name": "Pipeline", "Value": "Stack/P"}])


def test_without_metrics_of_items_there_is_no_alarm_for_them(lab: Lab) -> None:
    lab.pipeline(alarms=Alarms(), accounting=Accounting(metrics=False, failed_runs=False))

    alarms = [each["Properties"] for each in lab.resources("AWS::CloudWatch::Alarm").values()]
    assert {each["MetricName"] for each in alarms} == {"ExecutionsFailed", "ExecutionsTimedOut"} | {"Throttles"}


def test_fails_when_an_alarm_for_failed_items_has_no_metric(lab: Lab) -> None:
    with pytest.raises(ValueError, match="items_failed of Alarms needs metrics of items, which accounting turns off"):
        lab.pipeline(alarms=Alarms(items_failed=1), accounting=Accounting.none())


@pytest.mark.parametrize("kind", ["function", "states"])
def test_a_dashboard_shows_runs_children_worker_and_account(lab: Lab, workers: dict[str, Any], kind: str) -> None:
    pipeline = lab.pipeline(worker=workers["smallest"][kind](lab), dashboard=True)
    (board,) = lab.resources("AWS::CloudWatch::Dashboard").values()
    body = json.dumps(board)

    assert isinstance(pipeline.dashboard, cloudwatch.Dashboard)
    assert not [
        title for title in ("Runs", "Items", "Children", "Map Runs of the account") if f'\\"{title}\\"' not in body
    ]
    assert ("Concurrency of the worker" in body) is (kind == "function")


# -- events


def test_events_of_runs_that_end(lab: Lab) -> None:
    topic = sns.Topic(lab.stack, "Topic")
    pipeline = lab.pipeline(accounting=Accounting(failed_runs=False))
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
