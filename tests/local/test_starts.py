"""Runs that schedules and events start, on a local AWS under enforced IAM, and that they don't overlap unless asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import DistributedMapPipeline, FileFormat, ItemShape, ItemSource, Overlap, Worker
from cdk_distributed_map.local.embedded.schedules import ScheduleError, fire
from cdk_distributed_map.local.server import LocalAws
from tests.deployments import Deploy

LONG_AGO = scheduler.ScheduleExpression.at(datetime(2026, 1, 1, tzinfo=UTC), cdk.TimeZone.ETC_UTC)
# A worker that waits until somebody answers its token, so that a run goes on for as long as a test wants it to.
WAITING = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"


def held(queue: sqs.Queue) -> Worker:
    def states(scope: Any) -> sfn.IChainable:
        state = {
            "Type": "Task",
            "QueryLanguage": "JSONata",
            "Resource": WAITING,
            "Arguments": {
                "QueueUrl": queue.queue_url,
                "MessageBody": {"token": "{% $states.context.Task.Token %}", "item": "{% $states.input %}"},
            },
        }
        return sfn.CustomState(scope, "Held", state_json=state)

    return Worker.states(states, item_shape=ItemShape.BARE)


@pytest.fixture(scope="module")
def local(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    folder = tmp_path_factory.mktemp("starts")
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Starts")
    made = {name: sqs.Queue(stack, f"{name}Queue") for name in ("Scheduled", "Objects", "Ordered", "Held", "HeldEnds")}
    bare = Worker.states(lambda scope: sfn.Pass(scope, "Pass"), item_shape=ItemShape.BARE)
    bucket = s3.Bucket(stack, "Data")
    of_array = ItemSource.state_array("$.items")

    nightly = DistributedMapPipeline(stack, "Nightly", items=of_array, worker=bare, state_machine_name="Nightly")
    nightly.schedule(LONG_AGO, input={"items": [1, 2]})
    yearly = scheduler.ScheduleExpression.cron(year="2199", month="1", day="1", hour="3", minute="0")
    nightly.schedule(yearly, input={"items": ["yearly"]}, overlap=Overlap.ALLOW, id="Yearly")
    nightly.on_finished("Ended", target=targets.SqsQueue(made["Scheduled"]))

    objects = DistributedMapPipeline(
        stack,
        "Objects",
        items=ItemSource.from_execution_input(buckets=[bucket], format=FileFormat.json()),
        worker=bare,
        state_machine_name="Objects",
    )
    objects.start_on_s3_event(bucket, prefix="in/", suffix=".json")
    objects.on_finished("Ended", target=targets.SqsQueue(made["Objects"]))

    orders = DistributedMapPipeline(stack, "Orders", items=of_array, worker=bare, state_machine_name="Orders")
    orders.start_on_event(
        events.EventPattern(source=["orders"]),
        input=events.RuleTargetInput.from_event_path("$.detail"),
        overlap=Overlap.ALLOW,
    )
    orders.on_finished("Ended", target=targets.SqsQueue(made["Ordered"]))

    one = DistributedMapPipeline(stack, "One", items=of_array, worker=held(made["Held"]), state_machine_name="One")
    made["Held"].grant_send_messages(one.role)
    one.on_finished("Ended", target=targets.SqsQueue(made["HeldEnds"]))
    for overlap in (Overlap.SKIP, Overlap.WAIT):
        rule = one.start_on_event(
            events.EventPattern(source=[overlap.value]),
            input=events.RuleTargetInput.from_event_path("$.detail"),
            overlap=overlap,
            id=f"On{overlap.value.title()}",
        )
        assert rule.node.id == f"On{overlap.value.title()}"
    cdk.CfnOutput(stack, "Bucket", value=bucket.bucket_name)
    for name in ("SkippingStarter", "WaitingStarter"):
        machine = one.node.find_child(name)
        assert isinstance(machine, sfn.StateMachine)
        made["Held"].grant_send_messages(machine)  # for the test that holds starters in the middle
        cdk.CfnOutput(stack, name, value=machine.state_machine_arn)
    for name, queue in made.items():
        cdk.CfnOutput(stack, f"{name}Url", value=queue.queue_url)
    app.synth()
    deploy(folder / "cdk.out")
    return shared_aws


def output(aws: LocalAws, name: str) -> str:
    (stack,) = aws.client("cloudformation").describe_stacks(StackName="Starts")["Stacks"]
    (value,) = [each["OutputValue"] for each in stack["Outputs"] if each["OutputKey"] == name]
    return str(value)


def message(aws: LocalAws, queue: str) -> Any:
    """Return what comes into a queue next; long polling waits for it."""
    client, url = aws.client("sqs"), output(aws, f"{queue}Url")
    for _ in range(2):
        for found in client.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages", []):
            client.delete_message(QueueUrl=url, ReceiptHandle=found["ReceiptHandle"])
            return json.loads(found["Body"])
    raise AssertionError(f"nothing came into {queue}")


def runs(aws: LocalAws, machine: str) -> list[dict[str, Any]]:
    found = aws.client("stepfunctions").list_executions(stateMachineArn=aws.state_machine(machine))["executions"]
    return list(found)


def test_a_schedule_starts_runs_with_its_input(local: LocalAws) -> None:
    ended = message(local, "Scheduled")["detail"]

    assert (ended["status"], json.loads(ended["input"])) == ("SUCCEEDED", {"items": [1, 2]})
    assert ended["name"].startswith("after-")
    assert json.loads(ended["output"])["ledger"]["succeeded"] == 2


def test_a_schedule_fires_when_it_is_told_to(local: LocalAws) -> None:
    for _ in range(2):
        assert "NightlyYearly" in fire(local.client("scheduler"), "Yearly")

    for _ in range(2):
        ended = message(local, "Scheduled")["detail"]
        assert json.loads(ended["input"]) == {"items": ["yearly"]}


@pytest.mark.parametrize(
    ("name", "why"), [("Hourly", "no schedule has the name 'Hourly'"), ("Nightly", "several schedules have 'Nightly'")]
)
def test_fails_when_no_single_schedule_is_named(local: LocalAws, name: str, why: str) -> None:
    with pytest.raises(ScheduleError, match=f"{why}.*: name one of those that are deployed: .*Nightly"):
        fire(local.client("scheduler"), name)


def test_an_object_starts_a_run_over_it(local: LocalAws) -> None:
    bucket, client = output(local, "Bucket"), local.client("s3")
    for key in ("in/a.csv", "out/a.json", "in/a b+ü.json"):
        client.put_object(Bucket=bucket, Key=key, Body=json.dumps([1, 2, 3]))
    ended = message(local, "Objects")["detail"]

    assert ended["status"] == "SUCCEEDED"
    given = json.loads(ended["input"])
    assert (given["bucket"], given["key"]) == (bucket, "in/a b+ü.json")
    assert json.loads(ended["output"])["ledger"]["succeeded"] == 3
    assert len(runs(local, "Objects")) == 1


def test_runs_overlap_where_they_may(local: LocalAws) -> None:
    entries = [{"Source": "orders", "DetailType": "Order", "Detail": json.dumps({"items": [n]})} for n in range(3)]
    local.client("events").put_events(Entries=entries)

    ended = [message(local, "Ordered")["detail"] for _ in entries]
    assert sorted(json.loads(each["input"])["items"][0] for each in ended) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["SkippingStarter", "WaitingStarter"])
def test_of_starts_that_all_saw_that_nothing_runs_one_wins(local: LocalAws, kind: str) -> None:
    states = local.client("stepfunctions")
    described = states.describe_state_machine(stateMachineArn=output(local, kind))
    definition = json.loads(described["definition"])
    # Each is held once it has looked, and goes on when all of them have.
    looked = definition["States"]["runs that go on"]
    definition["States"]["held"] = {
        "Type": "Task",
        "QueryLanguage": "JSONata",
        "Resource": WAITING,
        "Arguments": {
            "QueueUrl": output(local, "HeldUrl"),
            "MessageBody": {"token": "{% $states.context.Task.Token %}"},
        },
        "Output": "{% $states.input %}",
        "Next": looked["Next"],
    }
    looked["Next"] = "held"
    held = states.create_state_machine(
        name=f"Held{kind}", definition=json.dumps(definition), roleArn=described["roleArn"]
    )["stateMachineArn"]
    before = len(runs(local, "One"))
    started = [
        states.start_execution(stateMachineArn=held, input=json.dumps({"items": [n]}))["executionArn"] for n in range(3)
    ]
    tokens = [message(local, "Held")["token"] for _ in started]
    for token in tokens:
        states.send_task_success(taskToken=token, output="{}")

    first = message(local, "Held")
    assert len(runs(local, "One")) == before + 1
    states.send_task_success(taskToken=first["token"], output="{}")
    message(local, "HeldEnds")
    if kind == "SkippingStarter":
        ends = [local.wait(arn).output for arn in started]
        assert len([each for each in ends if each == {"skipped": "another run goes on"}]) == 2
        return
    # Those that lost wait, look again, and each has its run, one after the other.
    items = {first["item"]}
    for _ in range(2):
        tokens = [message(local, "Held") for _ in range(3 - len(items))]
        for held_one in tokens:
            states.send_task_success(taskToken=held_one["token"], output="{}")
        run = message(local, "Held")
        items.add(run["item"])
        states.send_task_success(taskToken=run["token"], output="{}")
        message(local, "HeldEnds")
    assert items == {0, 1, 2}


def test_of_simultaneous_starts_one_wins_and_the_next_runs_wait(local: LocalAws) -> None:
    states = local.client("stepfunctions")
    skipping, waiting = output(local, "SkippingStarter"), output(local, "WaitingStarter")
    started = [
        states.start_execution(stateMachineArn=skipping, input=json.dumps({"items": [n]}))["executionArn"]
        for n in range(8)
    ]
    outputs = [local.wait(arn).output for arn in started]
    winners = [each for each in outputs if "started" in each]

    assert len(winners) == 1
    assert len([each for each in outputs if each == {"skipped": "another run goes on"}]) == 7

    # One that waits is started when that run has ended, although it failed, and not before.
    later = states.start_execution(stateMachineArn=waiting, input=json.dumps({"items": ["later"]}))["executionArn"]
    first = message(local, "Held")
    states.send_task_failure(taskToken=first["token"], error="Wrong")
    assert message(local, "HeldEnds")["detail"]["status"] == "FAILED"
    second = message(local, "Held")
    assert second["item"] == "later"
    assert local.wait(later).output == {"started": runs(local, "One")[0]["executionArn"]}

    # The first run goes on again by a redrive: it counts as any other.
    states.send_task_success(taskToken=second["token"], output="{}")
    assert message(local, "HeldEnds")["detail"]["status"] == "SUCCEEDED"
    states.redrive_execution(executionArn=winners[0]["started"])
    again = message(local, "Held")
    skipped = states.start_execution(stateMachineArn=skipping, input=json.dumps({"items": [9]}))["executionArn"]
    assert local.wait(skipped).output == {"skipped": "another run goes on"}
    states.send_task_success(taskToken=again["token"], output="{}")
    message(local, "HeldEnds")
