"""What starts runs by itself: the rules and schedules, what they may do, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler

from cdk_distributed_map import Overlap
from tests.construct.lab import Lab

HOURLY = scheduler.ScheduleExpression.rate(cdk.Duration.hours(1))


def only(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (found,) = resources.values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def starters(lab: Lab) -> list[str]:
    return [key for key in lab.resources("AWS::StepFunctions::StateMachine") if "Starter" in key]


def rights_of(lab: Lab, role: str) -> list[tuple[Any, Any]]:
    (role_id,) = [key for key in lab.resources("AWS::IAM::Role") if role in key]
    return [(each["Action"], each["Resource"]) for each in lab.statements(role_id)]


def test_a_schedule_starts_what_keeps_runs_apart(lab: Lab) -> None:
    pipeline = lab.pipeline()
    made = pipeline.schedule(HOURLY, input={"items": [1]})

    assert made.node.id == "Schedule"
    schedule = only(lab.resources("AWS::Scheduler::Schedule"))
    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    assert json.loads(schedule["Target"]["Input"]) == {"items": [1]}
    (starter,) = starters(lab)
    assert schedule["Target"]["Arn"] == {"Ref": starter}
    machine = {"Ref": lab.stack.get_logical_id(pipeline.state_machine.node.default_child)}  # type: ignore[arg-type]  # it has one
    assert rights_of(lab, "SkippingStarterRole") == [
        (["states:ListExecutions", "states:StartExecution"], machine),
    ]
    assert rights_of(lab, "SchedulerRole") == [("states:StartExecution", {"Ref": starter})]


def test_runs_that_may_overlap_are_started_directly(lab: Lab) -> None:
    lab.pipeline().schedule(HOURLY, overlap=Overlap.ALLOW)

    assert starters(lab) == []
    assert only(lab.resources("AWS::Scheduler::Schedule"))["Target"]["Input"] == "{}"


def test_schedules_and_events_share_what_keeps_runs_apart(lab: Lab) -> None:
    pipeline = lab.pipeline()
    pipeline.schedule(HOURLY)
    pipeline.schedule(HOURLY, id="Again")
    pipeline.start_on_event(events.EventPattern(source=["orders"]))
    pipeline.start_on_event(events.EventPattern(source=["returns"]), id="OnReturns")

    assert len(starters(lab)) == 2  # one that skips, one that waits
    names = {
        lab.definition(pipeline.node.find_child(f"{kind}Starter"))["States"]["start"]["Arguments"]["Name"]  # type: ignore[arg-type]  # a state machine
        for kind in ("Skipping", "Waiting")
    }
    assert len(names) == 1, "a run that both would start has one name"


def test_rules_may_start_runs_of_this_account_alone(lab: Lab) -> None:
    pipeline = lab.pipeline()
    pipeline.start_on_event(events.EventPattern(source=["orders"]), overlap=Overlap.ALLOW)
    pipeline.start_on_event(events.EventPattern(source=["returns"]), id="OnReturns", overlap=Overlap.ALLOW)

    machine = {"Ref": lab.stack.get_logical_id(pipeline.state_machine.node.default_child)}  # type: ignore[arg-type]  # it has one
    assert rights_of(lab, "RuleRole") == [("states:StartExecution", machine)]
    (trust,) = [
        statement
        for role in lab.resources("AWS::IAM::Role").values()
        for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        (None, None, None),
        ("in/", None, {"prefix": "in/"}),
        (None, ".json", {"suffix": ".json"}),
        ("in/", ".json", {"wildcard": "in/*.json"}),
        ("a\\b/", ".json", {"wildcard": "a\\\\b/*.json"}),
    ],
    ids=["all", "prefix", "suffix", "both", "backslash"],
)
def test_a_rule_for_objects_matches_keys(lab: Lab, prefix: str | None, suffix: str | None, expected: Any) -> None:
    bucket = s3.Bucket(lab.stack, "Owned")
    lab.pipeline(accounting=None).start_on_s3_event(bucket, prefix=prefix, suffix=suffix)

    (rule,) = [each["Properties"] for key, each in lab.resources("AWS::Events::Rule").items() if "StartOnObject" in key]
    assert rule["EventPattern"]["source"] == ["aws.s3"]
    assert rule["EventPattern"]["detail"].get("object") == (None if expected is None else {"key": [expected]})
    (owned,) = [each for key, each in lab.resources("AWS::S3::Bucket").items() if key.startswith("Owned")]
    notified = owned["Properties"]["NotificationConfiguration"]
    assert notified == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert "Custom::S3BucketNotifications" not in json.dumps(lab.template())


def test_a_bucket_whose_notifications_the_cdk_sets_is_left_to_it(lab: Lab) -> None:
    bucket = s3.Bucket(lab.stack, "Owned", event_bridge_enabled=True)
    lab.pipeline().start_on_s3_event(bucket)

    owned = next(each for key, each in lab.resources("AWS::S3::Bucket").items() if key.startswith("Owned"))
    assert "NotificationConfiguration" not in owned.get("Properties", {})


def test_a_bucket_made_elsewhere_must_send_its_events_itself(lab: Lab) -> None:
    lab.pipeline().start_on_s3_event(lab.bucket())

    (warning,) = lab.warnings("distmap:BucketSendsNoEvents")
    assert "start no runs unless it sends its events to EventBridge" in warning


def test_a_starter_keeps_inputs_under_the_pipelines_key(lab: Lab) -> None:
    pipeline = lab.pipeline(encryption_key=kms.Key(lab.stack, "Key"))
    pipeline.schedule(HOURLY)

    (starter,) = starters(lab)
    properties = lab.resources("AWS::StepFunctions::StateMachine")[starter]["Properties"]
    assert properties["EncryptionConfiguration"]["Type"] == "CUSTOMER_MANAGED_KMS_KEY"
    assert properties["StateMachineName"]


@pytest.mark.parametrize("prefix", [None, "r", "runs/", "runs/x/"], ids=["all", "begins so", "runs", "below"])
def test_fails_when_a_runs_own_files_would_start_runs(lab: Lab, prefix: str | None) -> None:
    pipeline = lab.pipeline()

    with pytest.raises(ValueError, match=r"each run would start others: give another prefix, or another bucket"):
        pipeline.start_on_s3_event(pipeline.payload_bucket, prefix=prefix)
    pipeline.start_on_s3_event(pipeline.payload_bucket, prefix="in/")


@pytest.mark.parametrize("argument", ["prefix", "suffix"])
def test_fails_when_a_key_is_a_pattern(lab: Lab, argument: str) -> None:
    given: Any = {argument: "in/*"}
    with pytest.raises(ValueError, match=argument):
        lab.pipeline().start_on_s3_event(lab.bucket(), **given)
