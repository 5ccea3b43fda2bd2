"""Templates and definitions as they were reviewed: the smallest and the everything-on one of every kind.

After a wanted change: ``make snapshots`` (which is ``pytest tests/construct --snapshot-update``), then read the diff.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import (
    Accounting,
    Alarms,
    Batching,
    Capture,
    Combiner,
    ItemSource,
    OutputType,
    Overlap,
    Rerun,
    Results,
    Transformation,
)
from tests.construct.job_workers import JOB_WORKERS

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from tests.construct.lab import Lab


def everything(lab: Lab) -> dict[str, Any]:
    """What can be said of any map, all of it."""
    return {
        "max_concurrency": 50,
        "batching": Batching(
            max_items="$.batch", max_bytes=200_000, batch_input={"mode": "full", "day.$": "$.day", "all": [1, None]}
        ),
        "tolerated_failure_count": 0,
        "tolerated_failure_percentage": "{% $states.input.percent %}",
        "item_selector": {"id.$": "$$.Map.Item.Value.id", "by": "{% $states.context.Execution.Name %}"},
        "results": Results(
            transformation=Transformation.FLATTEN, output_type=OutputType.JSON, bucket=lab.bucket("Results")
        ),
        "combine": Combiner.python(str(lab.code), handler="handler.handler"),
        "payload_prefix": "team/",
        "timeout": cdk.Duration.hours(5),
        "comment": "everything on",
        "label": "Full",
    }


def test_smallest_template_of_a_source(
    lab: Lab, sources: dict[str, Any], source_kind: str, json_snapshot: SnapshotAssertion
) -> None:
    lab.pipeline(items=sources["smallest"][source_kind](lab))

    assert lab.masked_template() == json_snapshot


def test_everything_on_template_of_a_source(
    lab: Lab, sources: dict[str, Any], source_kind: str, json_snapshot: SnapshotAssertion
) -> None:
    lab.pipeline(items=sources["full"][source_kind](lab))

    assert lab.masked_template() == json_snapshot


def test_smallest_template_of_a_worker(
    lab: Lab, workers: dict[str, Any], worker_kind: str, json_snapshot: SnapshotAssertion
) -> None:
    lab.pipeline(worker=workers["smallest"][worker_kind](lab))

    assert lab.masked_template() == json_snapshot


def test_everything_on_template_of_a_worker(
    lab: Lab, workers: dict[str, Any], worker_kind: str, json_snapshot: SnapshotAssertion
) -> None:
    options = everything(lab)
    if worker_kind == "nested":
        del options["batching"]
    lab.pipeline(worker=workers["full"][worker_kind](lab), **options)

    assert lab.masked_template() == json_snapshot


def test_everything_on_template_of_operation(lab: Lab, json_snapshot: SnapshotAssertion) -> None:
    pipeline = lab.pipeline(
        worker=lab.python_worker(),
        child_type=sfn.StateMachineType.EXPRESS,
        on_failure=sfn.Fail(lab.stack, "Handled"),
        expire_runs_after=cdk.Duration.days(7),
        removal_policy=cdk.RemovalPolicy.DESTROY,
        encryption_key=kms.Key(lab.stack, "Key"),
        log_level=sfn.LogLevel.ALL,
        log_execution_data=True,
        tracing=True,
        alarms=Alarms(),
        dashboard=True,
    )
    pipeline.on_finished("Finished")
    pipeline.on_failed("Failed")

    assert lab.masked_template() == json_snapshot


def test_definition_of_a_fragment_in_a_machine_of_the_user(lab: Lab, json_snapshot: SnapshotAssertion) -> None:
    fragment = lab.pipeline().fragment
    chain = sfn.Pass(lab.stack, "Before").next(fragment).next(sfn.Pass(lab.stack, "After"))
    machine = sfn.StateMachine(lab.stack, "Own", definition_body=sfn.DefinitionBody.from_chainable(chain))

    assert lab.definition(machine) == json_snapshot


def test_everything_on_template_of_an_account(lab: Lab, json_snapshot: SnapshotAssertion) -> None:
    pipeline = lab.pipeline(
        items=ItemSource.captured(Capture.ranges()),
        worker=lab.python_worker(),
        batching=Batching(max_items=100),
        tolerated_failure_count="$.count",
        tolerated_failure_percentage=2.5,
        accounting=Accounting(rounds=5, early_stop_percentage="$.stop", memory_size=3000),
        rerun=Rerun(
            rounds=2,
            errors=["Throttled", "States.Timeout"],
            permanent_errors=["NotFound"],
            wait=cdk.Duration.seconds(30),
            backoff_rate=3,
            max_wait=cdk.Duration.minutes(30),
        ),
        on_items_failed=[sqs.Queue(lab.stack, "Queue"), events.EventBus(lab.stack, "Bus")],
        alarms=Alarms(items_failed=10),
    )
    # Under the pipeline's role: the CDK's own default differs by its version.
    body = sfn.DefinitionBody.from_chainable(pipeline.fragment)
    own = sfn.StateMachine(lab.stack, "Own", definition_body=body, role=pipeline.role)
    pipeline.account_for_failed_runs_of("OfOwn", own)

    assert lab.masked_template() == json_snapshot


@pytest.mark.parametrize("kind", JOB_WORKERS)
def test_children_of_a_worker_that_is_no_function(lab: Lab, kind: str, json_snapshot: SnapshotAssertion) -> None:
    pipeline = lab.pipeline(worker=JOB_WORKERS[kind](lab))

    assert lab.state(pipeline, "map")["ItemProcessor"] == json_snapshot


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.WAIT], ids=lambda overlap: overlap.value)
def test_definition_of_what_keeps_runs_apart(lab: Lab, overlap: Overlap, json_snapshot: SnapshotAssertion) -> None:
    pipeline = lab.pipeline()
    pipeline.start_on_event(events.EventPattern(source=["orders"]), overlap=overlap)
    (starter,) = [each for each in pipeline.node.children if each.node.id.endswith("Starter")]

    assert lab.definition(starter) == json_snapshot  # type: ignore[arg-type]  # a state machine
