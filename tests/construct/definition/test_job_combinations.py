"""Workers that aren't plain functions, with everything else that a pipeline can have."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn

from cdk_distributed_map import Batching, Capture, Combiner, DistributedMapPipeline, ItemBy, ItemSource, Worker
from cdk_distributed_map.graphs import walk
from tests.construct.evaluation import evaluated
from tests.construct.job_workers import JOB_WORKERS, durable_worker
from tests.construct.lab import Lab

CONTAINERS = ["ecs", "batch"]
ROLES = {"ecs": "TaskTaskRole", "batch": "JobRole"}
RUN = {"id": "arn:run", "name": "r", "bucket": "payload", "prefix": "runs/r", "path": ""}
CHILD = {"Execution": {"Name": "child-1", "RedriveCount": 0}}


def result_key(state: dict[str, Any], **run: Any) -> str:
    item = {"index": 7, "value": 1, "run": {**RUN, **run}}
    found: str = evaluated(state["Output"]["key"], {"input": item, "context": CHILD})
    return found


def processing(definition: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the states that run the worker."""
    return [state for name, state in walk(definition) if name.endswith("process")]


def statements(lab: Lab, role_id: str) -> dict[str, list[Any]]:
    """Return what a role may by action: resources of each statement."""
    found: dict[str, list[Any]] = {}
    for statement in lab.statements(role_id):
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            found.setdefault(action, []).extend(resources if isinstance(resources, list) else [resources])
    return found


def job_role(lab: Lab, kind: str) -> str:
    (role_id,) = [each for each in lab.resources("AWS::IAM::Role") if each.startswith(ROLES[kind])]
    return role_id


def patterns(lab: Lab, kind: str) -> list[str]:
    """Return the keys that a container may write, as patterns."""
    return [
        str(part).partition("/")[2]
        for resource in statements(lab, job_role(lab, kind))["s3:PutObject"]
        for part in [resource["Fn::Join"][1][-1]]
    ]


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_container_works_inside_a_nested_map(lab: Lab, kind: str) -> None:
    inner = JOB_WORKERS[kind](lab, item=ItemBy.FILE)
    pipeline = lab.pipeline(worker=Worker.nested(items=ItemSource.state_array("$.value"), worker=inner))
    (state,) = processing(lab.definition(pipeline))

    keys = {result_key(state), result_key(state, path="/3"), result_key(state, path="/3/17")}
    assert len(keys) == 3
    for key in keys:
        assert any(fnmatchcase(key, pattern) for pattern in patterns(lab, kind)), (key, patterns(lab, kind))
    assert any(key.startswith("runs/r/tasks/3/17/7/") for key in keys)
    service = "ecs:RunTask" if kind == "ecs" else "batch:SubmitJob"
    assert service in statements(lab, lab.role_id(pipeline.role))


@pytest.mark.parametrize("kind", JOB_WORKERS)
def test_a_fragment_has_states_of_its_own_and_its_machine_their_rights(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=JOB_WORKERS[kind](lab))
    machine = sfn.StateMachine(
        lab.stack, "Machine", definition_body=sfn.DefinitionBody.from_chainable(pipeline.fragment)
    )

    names = {kind for kind in statements(lab, lab.role_id(machine.role)) if not kind.startswith("logs:")}
    own = statements(lab, lab.role_id(pipeline.role))
    of_job = {action for action in own if action.partition(":")[0] in {"ecs", "batch", "iam", "events"}}
    assert of_job <= names
    assert ("lambda:InvokeFunction" if kind == "durable" else "s3:GetObject") in names
    both = [*processing(lab.definition(machine)), *processing(lab.definition(pipeline))]
    assert both == [both[0]] * 2


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_key_is_for_containers_too(lab: Lab, kind: str) -> None:
    key = kms.Key(lab.stack, "Key")
    pipeline = lab.pipeline(
        worker=JOB_WORKERS[kind](lab, item=ItemBy.FILE), encryption_key=key, state_machine_name="Keyed"
    )

    assert {"kms:GenerateDataKey", "kms:Decrypt"} <= statements(lab, job_role(lab, kind)).keys()
    assert {"kms:GenerateDataKey", "kms:Decrypt"} <= statements(lab, lab.role_id(pipeline.role)).keys()


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_prefix_is_before_the_files_of_containers_too(lab: Lab, kind: str) -> None:
    pipeline = lab.pipeline(worker=JOB_WORKERS[kind](lab), payload_bucket=lab.bucket(), payload_prefix="team/a/")
    key = result_key(lab.state(pipeline, "process"), prefix="team/a/runs/r")

    assert key.startswith("team/a/runs/r/tasks/7/")
    assert all(pattern.startswith("team/a/runs/*/tasks/") for pattern in patterns(lab, kind))
    assert any(fnmatchcase(key, pattern) for pattern in patterns(lab, kind))


def test_a_durable_function_runs_in_an_express_child_within_its_five_minutes(lab: Lab) -> None:
    pipeline = lab.pipeline(worker=durable_worker(lab), child_type=sfn.StateMachineType.EXPRESS)
    state = lab.state(pipeline, "process")

    assert lab.state(pipeline, "map")["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] == "EXPRESS"
    assert state["Resource"].endswith(":aws-sdk:lambda:invoke")  # it waits by itself, without .sync
    assert state["TimeoutSeconds"] <= 300
    delays = [
        sum(
            min(each["IntervalSeconds"] * each["BackoffRate"] ** n, each["MaxDelaySeconds"])
            for n in range(each["MaxAttempts"])
        )
        for each in state["Retry"]
    ]
    assert 0 < sum(delays) <= 60


def test_captures_combiners_and_workers_may_be_functions_of_images(lab: Lab, tmp_path: Path) -> None:
    def image(id: str) -> lambda_.DockerImageFunction:
        folder = tmp_path / id
        folder.mkdir()
        (folder / "Dockerfile").write_text("FROM public.ecr.aws/lambda/python:3.13\n")
        return lambda_.DockerImageFunction(lab.stack, id, code=lambda_.DockerImageCode.from_image_asset(str(folder)))

    functions = [image(each) for each in ("Capturing", "Combining", "Working")]
    pipeline: DistributedMapPipeline = lab.pipeline(
        items=ItemSource.captured(Capture.function(functions[0])),
        combine=Combiner.function(functions[1]),
        worker=Worker.function(functions[2]),
        batching=Batching(max_items=10),
    )

    invoked = json.dumps(statements(lab, lab.role_id(pipeline.role))["lambda:InvokeFunction"])
    assert all(re.search(rf'"{each.node.id}[0-9A-F]{{8}}"', invoked) for each in functions)
    for logical_id, function in lab.resources("AWS::Lambda::Function").items():
        if logical_id.startswith(("Capturing", "Combining", "Working")):
            properties = function["Properties"]
            assert (properties["PackageType"], "Layers" in properties) == ("Image", False)
