"""Pipelines of the construct on the local AWS, under enforced IAM: what only a run shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from cdk_distributed_map import Batching, Capture, Combiner, DistributedMapPipeline, ItemSource, Worker
from cdk_distributed_map.local.faults import Faults
from cdk_distributed_map.local.server import LocalAws

HANDLER = """
from distmap import combine_results, process_items


@process_items
def handler(item):
    return item["to"] - item["from"]


@combine_results
def combine(results):
    return {"count": sum(1 for result in results if result.succeeded)}
"""


class EverySecond(Faults):
    """Faults of which inactive functions happen at every second call, while it is switched on."""

    on = False
    calls = 0

    def strikes(self, name: str, *, function: str | None = None) -> bool:
        """Say whether a fault happens now."""
        if name != "inactive" or not self.on:
            return super().strikes(name, function=function)
        self.calls += 1
        return self.calls % 2 == 1


@pytest.fixture(scope="module")
def faults() -> EverySecond:
    """What goes wrong."""
    return EverySecond()


@pytest.fixture(scope="module")
def local(faults: EverySecond, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS with the pipelines that the tests run."""
    folder = tmp_path_factory.mktemp("pipelines")
    code = folder / "worker"
    code.mkdir()
    (code / "handler.py").write_text(HANDLER)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Pipelines")
    DistributedMapPipeline(
        stack,
        "Ranges",
        items=ItemSource.captured(Capture.ranges()),
        worker=Worker.python(str(code), handler="handler.handler"),
        combine=Combiner.python(str(code), handler="handler.combine"),
        max_concurrency=1,
        batching=Batching.none(),
        state_machine_name="Ranges",
    )
    DistributedMapPipeline(
        stack,
        "Guarded",
        items=ItemSource.captured(Capture.ranges(number=3, chunk=1), max_items="$.items_at_most"),
        worker=Worker.states(first_fails),
        max_concurrency="$.at_once",
        tolerated_failure_count="$.count",
        tolerated_failure_percentage="$.percent",
        state_machine_name="Guarded",
    )
    app.synth()
    with LocalAws(faults=faults) as aws:
        aws.deploy(folder / "cdk.out")
        yield aws


def first_fails(scope: Construct) -> sfn.IChainable:
    """Return states that fail for the first item."""
    language = sfn.QueryLanguage.JSONATA
    fail = sfn.Fail(scope, "First", error="TheFirst", query_language=language)
    return (
        sfn.Choice(scope, "Which", query_language=language)
        .when(sfn.Condition.jsonata("{% $states.input.index = 0 %}"), fail)
        .otherwise(sfn.Succeed(scope, "Another", query_language=language))
    )


def refusals(local: LocalAws, execution: str) -> list[str]:
    """Return the errors of the tasks of an execution, in their order."""
    history = local.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000)["events"]
    return [event["taskFailedEventDetails"]["error"] for event in history if "taskFailedEventDetails" in event]


def test_functions_that_were_idle_for_weeks_are_waited_for(local: LocalAws, faults: EverySecond) -> None:
    faults.on = True
    run = local.run("Ranges", {"number": 10, "chunk": 5})
    faults.on = False

    assert run.check().output["combined"] == {"count": 2}
    # Capture, account and combine; those of the worker are in the histories of its children.
    assert refusals(local, run.arn) == ["Lambda.CodeArtifactUserPendingException"] * 3
    assert faults.calls == 10


def test_a_log_group_has_the_name_of_its_stack_and_the_stacks_id(local: LocalAws) -> None:
    stack_id = local.client("cloudformation").describe_stacks(StackName="Pipelines")["Stacks"][0]["StackId"]
    groups = local.client("logs").describe_log_groups(logGroupNamePrefix="/aws/vendedlogs/")["logGroups"]
    names = [str(group["logGroupName"]) for group in groups]

    assert len(names) == len(set(names)) == 2
    for name in names:
        assert name.startswith("/aws/vendedlogs/states/Pipelines-")
        assert name.endswith(stack_id.split("/")[2])


GUARDED = {"items_at_most": 3, "at_once": 2, "count": 1, "percent": 50}


def test_numbers_from_the_input_within_their_bounds_pass(local: LocalAws) -> None:
    assert local.run("Guarded", GUARDED).status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"items_at_most": 0}, "max_items must be a whole number between 1 and 100,000,000, got 0"),
        ({"items_at_most": 100_000_001}, "max_items must be a whole number between 1 and 100,000,000, got 100000001"),
        ({"items_at_most": 1.5}, "max_items must be a whole number between 1 and 100,000,000, got 1.5"),
        ({"items_at_most": "3"}, "max_items must be a whole number between 1 and 100,000,000, got 3"),
        ({"at_once": 0}, "max_concurrency must be a whole number between 1 and 10,000, got 0"),
        ({"at_once": None}, "max_concurrency must be a whole number between 1 and 10,000, got null"),
        ({"count": -1}, "tolerated_failure_count must be a whole number from 0, got -1"),
        ({"percent": "5"}, "tolerated_failure_percentage must be a number from 0 to 100, got 5"),
        ({"percent": 100.5}, "tolerated_failure_percentage must be a number from 0 to 100, got 100.5"),
    ],
    ids=str,
)
def test_fails_when_a_number_from_the_input_means_something_else_to_aws(
    local: LocalAws, given: dict[str, Any], said: str
) -> None:
    run = local.run("Guarded", {**GUARDED, **given})

    assert (run.status, run.error) == ("FAILED", "States.QueryEvaluationError")
    assert said in str(run.cause)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"count": 0}, "Distmap.ToleranceExceeded"),
        ({"percent": 0}, "Distmap.ToleranceExceeded"),
        ({"count": 2}, None),
    ],
    ids=["no-failure", "no-percent", "both"],
)
def test_a_tolerance_of_0_from_the_input_tolerates_nothing(
    local: LocalAws, given: dict[str, Any], error: str | None
) -> None:
    assert local.run("Guarded", {**GUARDED, **given}).error == error
