"""Whom a deployed pipeline tells of items that did not succeed, under enforced IAM, and what its own event says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs

from cdk_distributed_map import (
    Accounting,
    Batching,
    Capture,
    DistributedMapPipeline,
    ItemSource,
    ReservedConcurrency,
    Worker,
)
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs.client import Client
from tests.cli.command import exit_codes, run_here
from tests.deployments import Deploy

HANDLER = """
from distmap import process_items


@process_items(fail_at_percentage=None)
def handler(item):
    if item["from"] % 3 == 1:
        raise ValueError(f"from {item['from']}")
    return item["to"]
"""


@pytest.fixture(scope="module")
def local(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> LocalAws:
    """A local AWS with a pipeline that tells a queue with a key, a FIFO queue, and an event bus."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "handler.py").write_text(HANDLER)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Told")
    made = {
        "Keyed": sqs.Queue(stack, "Keyed", encryption_master_key=kms.Key(stack, "Key")),
        "InOrder": sqs.Queue(stack, "InOrder", fifo=True),
        "OfBus": sqs.Queue(stack, "OfBus"),
        "Finished": sqs.Queue(stack, "Finished"),
        "OfFailedRuns": sqs.Queue(stack, "OfFailedRuns"),
        "OfNested": sqs.Queue(stack, "OfNested"),
    }
    bus = events.EventBus(stack, "Bus")
    pattern = events.EventPattern(source=["distmap"], detail_type=["Distmap Item Failed"])
    events.Rule(stack, "All", event_bus=bus, event_pattern=pattern, targets=[targets.SqsQueue(made["OfBus"])])
    pipeline = DistributedMapPipeline(
        stack,
        "Ranges",
        items=ItemSource.captured(Capture.ranges(chunk=1)),
        worker=Worker.python(str(folder), handler="handler.handler"),
        batching=Batching(max_items=4),
        tolerated_failure_percentage=100,
        # The redrive is the test's: without the rule nobody else goes on with what wasn't taken.
        accounting=Accounting(failed_runs=False),
        on_items_failed=[made["Keyed"], made["InOrder"], bus],
        state_machine_name="Ranges",
    )
    DistributedMapPipeline(
        stack,
        "Early",
        items=ItemSource.captured(Capture.ranges(chunk=1)),
        worker=Worker.python(str(folder), handler="handler.handler"),
        batching=Batching.none(),
        max_concurrency=1,
        accounting=Accounting(early_stop_percentage=0),
        on_items_failed=made["OfFailedRuns"],
        state_machine_name="Early",
    )
    DistributedMapPipeline(
        stack,
        "Nested",
        items=ItemSource.captured(Capture.ranges(chunk=2)),
        worker=Worker.nested(
            items=ItemSource.state_array("$.value.inner"),
            worker=Worker.python(
                str(folder), handler="handler.handler", reserved_concurrency=ReservedConcurrency.none()
            ),
            batching=Batching(max_items=4),
            tolerated_failure_count=1,
        ),
        on_items_failed=made["OfNested"],
        state_machine_name="Nested",
    )
    assert pipeline.account is not None
    cdk.CfnOutput(stack, "Role", value=pipeline.account.role.role_name)  # type: ignore[union-attr]  # it has one
    pipeline.on_finished("OnFinished", target=targets.SqsQueue(made["Finished"]))
    for name, queue in made.items():
        cdk.CfnOutput(stack, f"{name}Url", value=queue.queue_url)
    app.synth()
    deploy(folder / "cdk.out")
    return shared_aws


def output_of(local: LocalAws, name: str) -> str:
    (stack,) = local.client("cloudformation").describe_stacks(StackName="Told")["Stacks"]
    return str({each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}[name])


def url_of(local: LocalAws, name: str) -> str:
    return output_of(local, f"{name}Url")


def bodies(local: LocalAws, name: str, count: int) -> list[dict[str, Any]]:
    """Take so many messages from a queue, once they are there, and see that there are no more."""
    client, url = local.client("sqs"), url_of(local, name)
    found: list[dict[str, Any]] = []
    while True:
        wait = 20 if len(found) < count else 0
        got = client.receive_message(QueueUrl=url, WaitTimeSeconds=wait, MaxNumberOfMessages=10).get("Messages", [])
        if not got:
            assert len(found) == count
            return found
        for each in got:
            client.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
            found.append(json.loads(each["Body"]))


def test_every_target_is_told_of_every_item_that_did_not_succeed(
    local: LocalAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = local.run("Ranges", {"number": 10})

    ledger = run.check().output["ledger"]
    assert (ledger["captured"], ledger["failed"], ledger["pushed"]) == (10, 3, 3)
    events_told = bodies(local, "OfBus", 3)
    assert {(each["source"], each["detail-type"]) for each in events_told} == {("distmap", "Distmap Item Failed")}
    assert {tuple(each["resources"]) for each in events_told} == {(run.arn,)}
    for told in (bodies(local, "Keyed", 3), bodies(local, "InOrder", 3), [each["detail"] for each in events_told]):
        by_index = {each["index"]: each for each in told}
        assert sorted(by_index) == [1, 4, 7]
        item = by_index[4]
        assert (item["key"], item["runId"], item["pipeline"]) == (f"{run.arn}/4", run.arn, "Told/Ranges")
        assert (item["outcome"], item["error"], item["cause"]) == ("FAILED", "ValueError", "from 4")
        assert item["item"] == {"from": 4, "to": 5}
    (event,) = bodies(local, "Finished", 1)
    assert json.loads(event["detail"]["output"])["ledger"] == ledger
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    for recount in ([], ["--recount"]):
        assert run_here("ledger", "Ranges", str(run.name), *recount) == exit_codes.ITEMS_FAILED
        assert "pushed to every target\t3" in capsys.readouterr().out


def test_fails_when_a_queue_refuses_and_a_redrive_goes_on_with_it(local: LocalAws) -> None:
    client, url = local.client("sqs"), url_of(local, "InOrder")
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    client.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})

    run = local.run("Ranges", {"number": 6})

    assert (run.status, run.error) == ("FAILED", "Distmap.PushFailed")
    told = json.loads(str(run.cause))["errorMessage"]
    assert told.startswith(f"2 of 2 items that did not succeed were not taken by the queue {url}: AccessDenied")
    bodies(local, "Keyed", 2)
    bodies(local, "OfBus", 2)
    client.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})

    local.client("stepfunctions").redrive_execution(executionArn=run.arn)

    assert local.wait(run.arn).check().output["ledger"]["pushed"] == 2
    assert sorted(each["index"] for each in bodies(local, "InOrder", 2)) == [1, 4]
    bodies(local, "Keyed", 0)
    bodies(local, "OfBus", 0)


def test_items_of_nested_maps_are_told_too(local: LocalAws, tmp_path: Path) -> None:
    rows = [{"inner": [{"from": number, "to": 0} for number in range(first, first + 3)]} for first in (0, 3)]
    (tmp_path / "items.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    client = Client(endpoint_url=local.endpoint_url)
    with (tmp_path / "items.jsonl").open("rb") as items:
        run = client.pipeline("Nested").start(items=items)

    ledger = local.wait(run.arn).check().output["ledger"]

    assert (ledger["captured"], ledger["succeeded"], ledger["pushed"]) == (2, 2, 2)
    told = sorted(bodies(local, "OfNested", 2), key=lambda each: str(each["path"]))
    assert [(each["path"], each["index"], each["cause"], each["key"]) for each in told] == [
        ("0", 1, "from 1", f"{run.arn}/0/1"),
        ("1", 1, "from 4", f"{run.arn}/1/1"),
    ]
    assert {each["map"] for each in told} == {each["label"] for each in run.ledger().to_json()["nested"]}
    assert list(run.failures())  # the client has them from the files of the maps


def test_fails_when_more_items_of_a_nested_map_failed_than_are_tolerated(local: LocalAws, tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps({"inner": [{"from": number, "to": 0} for number in (0, 1, 4)]}))
    with (tmp_path / "items.jsonl").open("rb") as items:
        run = Client(endpoint_url=local.endpoint_url).pipeline("Nested").start(items=items)

    ended = local.wait(run.arn)

    assert (ended.status, ended.error) == ("FAILED", "Distmap.ToleranceExceeded")
    assert "2 of 3 items of the nested map Nested-Nested in item 0 did not succeed, and 1 is tolerated" in str(
        ended.cause
    )
    bodies(local, "OfNested", 2)


def test_items_of_a_run_that_failed_in_its_map_are_told_by_its_rule(local: LocalAws) -> None:
    run = local.run("Early", {"number": 3})

    assert (run.status, run.error) == ("FAILED", "States.ExceedToleratedFailureThreshold")
    told = {each["index"]: each for each in bodies(local, "OfFailedRuns", 2)}
    assert {index: each["outcome"] for index, each in told.items()} == {1: "FAILED", 2: "PENDING"}
    assert told[1]["runId"] == run.arn
    assert told[2]["item"] == {"from": 2, "to": 3}


@contextmanager
def without(local: LocalAws, *actions: str) -> Iterator[None]:
    """Take rights from the account function for a while."""
    iam, role = local.client("iam"), output_of(local, "Role")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    before = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
    for name, policy in before.items():
        kept = [each for each in policy["Statement"] if not {*actions} & {*_listed(each["Action"])}]
        document = json.dumps({**policy, "Statement": kept})
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
    yield
    for name, policy in before.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def test_fails_when_the_role_may_not_send(local: LocalAws) -> None:
    with without(local, "sqs:SendMessage", "events:PutEvents"):
        run = local.run("Ranges", {"number": 2})

    assert (run.status, run.error) == ("FAILED", "Distmap.PushFailed")
    assert str(run.cause).count("1 of 1 items that did not succeed were not taken by") == 3
    assert "is not authorized to perform: events:PutEvents" in str(run.cause)
    for name in ("Keyed", "InOrder", "OfBus"):
        bodies(local, name, 0)


def test_a_run_whose_account_function_failed_is_accounted_for_when_it_is_redriven(local: LocalAws) -> None:
    with without(local, "s3:PutObject"):
        run = local.run("Ranges", {"number": 5})
    assert (run.status, run.error) == ("FAILED", "AccessDenied")
    assert "s3:PutObject" in str(run.cause)

    local.client("stepfunctions").redrive_execution(executionArn=run.arn)

    ledger = local.wait(run.arn).check().output["ledger"]
    assert (ledger["captured"], ledger["succeeded"], ledger["failed"], ledger["rounds"]) == (5, 3, 2, 0)
    for name in ("Keyed", "InOrder", "OfBus"):
        bodies(local, name, 2)
