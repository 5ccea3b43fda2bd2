"""Tasks of ECS and jobs of AWS Batch on a local AWS: commands stand for images, under the roles of the template."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_

from cdk_distributed_map import DistributedMapPipeline, ItemBy, ItemSource, Worker
from cdk_distributed_map.local.functions import FunctionSettings
from cdk_distributed_map.local.server import LocalAws
from cdk_distributed_map.runs import Client, Run

# What a container does: no more of distmap than its variables.
TASK = """
import json, os, sys

def s3():
    # Half of what boto3 takes to start, and only where it is needed.
    import botocore.session
    return botocore.session.get_session().create_client("s3")

if "DISTMAP_ITEM" in os.environ:
    text = os.environ["DISTMAP_ITEM"]
else:
    place = {"Bucket": os.environ["DISTMAP_ITEM_BUCKET"], "Key": os.environ["DISTMAP_ITEM_KEY"]}
    text = s3().get_object(**place)["Body"].read()
item = json.loads(text)
assert str(item["index"]) == os.environ["DISTMAP_INDEX"]
number = item["value"]["n"]
if number == 13:
    print("thirteen is wrong")
    sys.exit(3)
if number == 14:
    sys.exit(0)
result = json.dumps({"square": number**2, "by": os.environ.get("KIND"), "bytes": len(text)})
if number == 15:
    result = "no JSON"
if number == 16:
    result = json.dumps(["a"] * 50_000)
s3().put_object(Bucket=os.environ["DISTMAP_RESULT_BUCKET"], Key=os.environ["DISTMAP_RESULT_KEY"], Body=result)
"""


def ecs_worker(stack: cdk.Stack, vpc: ec2.IVpc, family: str, item: ItemBy) -> Worker:
    definition = ecs.FargateTaskDefinition(stack, f"{family}Task", family=family)
    definition.add_container(
        "main", image=ecs.ContainerImage.from_registry("squares"), environment={"KIND": "of the definition"}
    )
    cluster = stack.node.try_find_child("Cluster")
    if not isinstance(cluster, ecs.Cluster):
        cluster = ecs.Cluster(stack, "Cluster", vpc=vpc)
    return Worker.ecs_task(cluster, definition, item=item)


def batch_worker(stack: cdk.Stack) -> Worker:
    # The embedded AWS makes no job definitions of templates: this one is registered once the role is there.
    arn = "arn:aws:batch:us-east-1:000000000000:job-"
    definition = batch.EcsJobDefinition.from_job_definition_arn(stack, "Definition", f"{arn}definition/squares-job:1")
    queue = batch.JobQueue.from_job_queue_arn(stack, "Queue", f"{arn}queue/squares")
    role = iam.Role(stack, "JobRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
    cdk.CfnOutput(stack, "JobRoleArn", value=role.role_arn)
    return Worker.batch_job(definition, queue, job_role=role)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    folder = tmp_path_factory.mktemp("containers")
    (folder / "task.py").write_text(TASK)
    app = cdk.App(analytics_reporting=False, outdir=str(folder / "cdk.out"))
    stack = cdk.Stack(app, "Containers")
    vpc = ec2.Vpc.from_vpc_attributes(
        stack, "Vpc", vpc_id="vpc-1", availability_zones=["us-east-1a"], private_subnet_ids=["subnet-1"]
    )
    durable = lambda_.Function.from_function_attributes(
        stack,
        "DurableFunction",
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:durable:3",
        same_environment=True,
    )
    workers = {
        "Environment": ecs_worker(stack, vpc, "squares", ItemBy.ENVIRONMENT),
        "File": ecs_worker(stack, vpc, "squares-by-file", ItemBy.FILE),
        "Unknown": ecs_worker(stack, vpc, "unknown", ItemBy.ENVIRONMENT),
        "Job": batch_worker(stack),
        "Durable": Worker.durable_function(durable),
    }
    for name, worker in workers.items():
        DistributedMapPipeline(
            stack,
            name,
            items=ItemSource.state_array("$.items"),
            worker=worker,
            tolerated_failure_count=1,
            state_machine_name=name,
        )
    app.synth()
    command = [sys.executable, str(folder / "task.py")]
    commands = dict.fromkeys(("squares", "squares-by-file", "squares-job"), command)
    with LocalAws(functions=FunctionSettings(commands=commands)) as aws:
        outputs = aws.deploy(folder / "cdk.out")
        aws.client("batch").register_job_definition(
            jobDefinitionName="squares-job",
            type="container",
            containerProperties={"image": "squares", "jobRoleArn": outputs["Containers"]["JobRoleArn"]},
        )
        yield aws


@pytest.fixture
def run(local: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)

    def one(pipeline: str, items: list[Any], *, name: str = "squares") -> Run:
        local.run(local.state_machine(pipeline), {"items": items}, name=name)
        return Client().run(pipeline, name)

    return one


@pytest.mark.parametrize("pipeline", ["Environment", "File", "Job"])
def test_a_container_works_on_each_item_and_its_file_is_the_result(run: Callable[..., Run], pipeline: str) -> None:
    done = run(pipeline, [{"n": 2}, {"n": 13}, {"n": 4}])

    ledger = done.ledger()
    assert (ledger.captured, ledger.succeeded, ledger.failed, ledger.adds_up) == (3, 2, 1, True)
    results = {result.index: result.value for result in done.results()}
    assert {index: value["square"] for index, value in results.items()} == {0: 4, 2: 16}
    assert {value["by"] for value in results.values()} == ({None} if pipeline == "Job" else {"of the definition"})
    (failure,) = done.failures()
    assert (failure.index, failure.error) == (1, "States.TaskFailed")
    assert '"ExitCode":3' in str(failure.cause).replace(" ", "")
    assert "thirteen is wrong" in str(failure.cause)


def test_an_item_too_large_for_the_environment_goes_by_file(run: Callable[..., Run]) -> None:
    large = {"n": 3, "text": "x" * 50_000}

    (failure,) = run("Environment", [large], name="large").failures()
    assert "fit into an environment: use item=ItemBy.FILE" in str(failure.cause)
    (result,) = run("File", [large], name="large").results()
    assert (result.value["square"], result.value["bytes"] > 50_000) == (9, True)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (14, "reading it gave S3."),
        (15, "reading it gave States.QueryEvaluationError: "),
        (16, "reading it gave States.DataLimitExceeded: "),
    ],
    ids=["no file", "no JSON", "too large"],
)
@pytest.mark.parametrize("pipeline", ["Environment", "Job"])
def test_fails_when_a_container_writes_no_result(run: Callable[..., Run], pipeline: str, number: int, why: str) -> None:
    (failure,) = run(pipeline, [{"n": number}], name=f"no-result-{number}").failures()

    assert failure.error == "Distmap.NoResult"
    assert str(failure.cause).startswith("the item has no result in s3://")
    remedy = "/result.json: write it, as JSON text that fits into 256 KiB with its quotes counted twice, to"
    assert remedy in str(failure.cause)
    assert why in str(failure.cause)


def test_fails_when_no_command_stands_for_an_image(run: Callable[..., Run]) -> None:
    (failure,) = run("Unknown", [{"n": 2}]).failures()

    assert "runs no container images, and has no command in place of 'unknown'" in str(failure.cause)
    assert "DISTMAP_LOCAL_COMMANDS" in str(failure.cause)


def test_fails_when_a_function_is_durable(run: Callable[..., Run]) -> None:
    (failure,) = run("Durable", [{"n": 2}]).failures()

    assert "doesn't run durable functions" in str(failure.cause)


@pytest.mark.parametrize("commands", [{"a": "python3"}, {"a": []}, {"a": [1]}, ["a"]], ids=str)
def test_fails_when_commands_are_no_lists_of_words(commands: Any) -> None:
    with pytest.raises(ValueError, match="commands must hold a list of words for each name"):
        FunctionSettings(commands=commands)


def test_fails_when_the_variable_is_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMAP_LOCAL_COMMANDS", "squares=python3")
    with pytest.raises(ValueError, match="DISTMAP_LOCAL_COMMANDS must be JSON text, got 'squares=python3'"):
        FunctionSettings()


def test_the_variable_names_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTMAP_LOCAL_COMMANDS", '{"squares": ["python3", "task.py"]}')
    assert FunctionSettings(cache=tmp_path).commands == {"squares": ["python3", "task.py"]}
