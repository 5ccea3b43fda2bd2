"""What an update of the stack does to runs that are under way, as docs/construct.md says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3

from cdk_distributed_map import Accounting, Batching, DistributedMapPipeline, ItemSource, ReservedConcurrency, Worker
from cdk_distributed_map.local.execution.executions import LocalExecution
from cdk_distributed_map.local.server import LocalAws
from tests.deployments import Deploy

# Waits at its first item until the gate is open, which is when the stack has been updated.
WORKER = """
import os
import time

import boto3
from distmap import process_items


@process_items
def handler(item):
    s3, gate = boto3.client("s3"), os.environ["GATE"]
    if item["n"] == 0:
        s3.put_object(Bucket=gate, Key="waiting/" + item["run"])
        while s3.list_objects_v2(Bucket=gate, Prefix="open")["KeyCount"] == 0:
            time.sleep(0.05)
    if item["n"] == 1 and item["run"] == "Relabelled":
        raise ValueError("no luck")
    return "VERSION"
"""
ANOTHER = "def handler(event, context):\n    return 'another'\n"
PIPELINES = ("Recoded", "Reworked", "Relabelled")


def assembly(folder: Path, *, updated: bool) -> Path:
    """Synthesize the stack as it is first, or as it is updated."""
    version = "new" if updated else "old"
    code = folder / version
    code.mkdir()
    (code / "handler.py").write_text(WORKER.replace("VERSION", version))
    app = cdk.App(analytics_reporting=False, outdir=str(folder / f"cdk.out.{version}"))
    stack = cdk.Stack(app, "Updated")
    gate = s3.Bucket(stack, "Gate")
    cdk.CfnOutput(stack, "GateName", value=gate.bucket_name)
    another = lambda_.Function(
        stack,
        "Another",
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline(ANOTHER),
    )
    made: dict[str, DistributedMapPipeline] = {}
    for name in PIPELINES:
        if name == "Reworked":
            worker = Worker.function(another if updated else made["Recoded"].worker)
        else:
            source = code if name == "Recoded" else folder / "old"
            worker = Worker.python(
                str(source),
                handler="handler.handler",
                environment={"GATE": gate.bucket_name},
                timeout=cdk.Duration.minutes(10),
                # That of Recoded is called by two runs.
                reserved_concurrency=ReservedConcurrency.none(),
            )
        made[name] = pipeline = DistributedMapPipeline(
            stack,
            name,
            items=ItemSource.state_array(),
            worker=worker,
            max_concurrency=1,
            batching=Batching.none(),
            label="After" if updated and name == "Relabelled" else name,
            state_machine_name=name,
            # What an update does to children and redrives is seen without rounds.
            accounting=Accounting.none(),
        )
        actions = ["s3:ListBucket", "s3:PutObject"]
        resources = [gate.bucket_arn, gate.arn_for_objects("*")]
        pipeline.worker.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=resources))
    app.synth()
    return folder / f"cdk.out.{version}"


@dataclass
class Updated:
    """A local AWS whose stack was updated while each pipeline ran, and how the runs ended."""

    aws: LocalAws
    runs: dict[str, LocalExecution]

    def children(self, name: str) -> list[dict[str, Any]]:
        """Return the children of a run, the first started first."""
        sfn = self.aws.client("stepfunctions")
        (map_run,) = sfn.list_map_runs(executionArn=self.runs[name].arn)["mapRuns"]
        listed = sfn.list_executions(mapRunArn=map_run["mapRunArn"])["executions"]
        found = [sfn.describe_execution(executionArn=each["executionArn"]) for each in listed]
        return sorted(found, key=lambda each: str(each["input"]))


@pytest.fixture(scope="module")
def updated(shared_aws: LocalAws, deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> Updated:
    folder = tmp_path_factory.mktemp("updates")
    aws = shared_aws
    gate = deploy(assembly(folder, updated=False))["Updated"]["GateName"]
    started = {
        name: aws.start_execution(name, {"items": [{"n": n, "run": name} for n in range(3)]}) for name in PIPELINES
    }
    for name in PIPELINES:
        aws.client("s3").get_waiter("object_exists").wait(
            Bucket=gate, Key=f"waiting/{name}", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    deploy(assembly(folder, updated=True))
    aws.client("s3").put_object(Bucket=gate, Key="open")
    return Updated(aws, {name: aws.wait(run) for name, run in started.items()})


def test_children_that_start_after_an_update_run_the_new_code(updated: Updated) -> None:
    outputs = [each["output"] for each in updated.children("Recoded")]

    assert ["old" in outputs[0], *("new" in each for each in outputs[1:])] == [True, True, True]


def test_children_keep_their_states_and_lose_the_right_to_call_a_worker_that_was_taken_out(updated: Updated) -> None:
    first, second, *_ = updated.children("Reworked")

    assert first["status"] == "SUCCEEDED"
    assert second["status"] == "FAILED"
    assert "not authorized to perform: lambda:InvokeFunction" in second["cause"]
    assert updated.runs["Reworked"].error == "States.ExceedToleratedFailureThreshold"


def test_a_run_goes_on_under_its_former_label_but_cannot_be_redriven(updated: Updated) -> None:
    run = updated.runs["Relabelled"]
    children = updated.children("Relabelled")
    assert [each["status"] for each in children[:2]] == ["SUCCEEDED", "FAILED"]
    assert "Relabelled/Relabelled:" in children[1]["executionArn"]

    updated.aws.client("stepfunctions").redrive_execution(executionArn=run.arn)
    again = updated.aws.wait(run.arn)
    assert again.error == "States.Runtime"
    assert "states:RedriveExecution" in str(again.cause)
