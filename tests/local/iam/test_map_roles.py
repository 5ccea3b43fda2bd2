"""What a Distributed Map may do under its state machine's role: by the files it writes, nested, and redriven."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from cdk_distributed_map.local.execution.executions import LocalExecution
from cdk_distributed_map.local.server import LocalAws

ACCOUNT = "000000000000"
Json = dict[str, Any]
Deploy = Callable[..., str]


def allow(actions: str | list[str], resource: str, effect: str = "Allow") -> Json:
    return {"Effect": effect, "Action": actions, "Resource": resource}


def arn(kind: str, name: str) -> str:
    return f"arn:aws:states:us-east-1:{ACCOUNT}:{kind}:{name}"


def distributed(label: str, start: Json, **more: Any) -> Json:
    """Return a map over two items in Standard children."""
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": f"{label}S"}
    states = {f"{label}S": start}
    return {"Type": "Map", "Label": label, "ItemProcessor": {**processor, "States": states}, "End": True, **more}


PASS = {"Type": "Pass", "End": True}


def document(statements: list[Json]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture
def deploy(local: LocalAws) -> Deploy:
    """Creates a state machine of one state under a role with the statements that are made for its name."""

    def create(state: Json, statements: Callable[[str], list[Json]]) -> str:
        name = f"m{uuid.uuid4().hex[:12]}"
        principal = {"Service": "states.amazonaws.com"}
        trust = document([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}])
        role = local.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        give(local, name, statements(name))
        definition = json.dumps({"StartAt": "M", "States": {"M": state}})
        local.client("stepfunctions").create_state_machine(name=name, definition=definition, roleArn=role)
        return name

    return create


def give(local: LocalAws, name: str, statements: list[Json]) -> None:
    """Give the role of a state machine its policy."""
    local.client("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(statements))


def redriven(local: LocalAws, run: LocalExecution) -> LocalExecution:
    local.client("stepfunctions").redrive_execution(executionArn=run.arn)
    return local.wait(run)


@pytest.mark.parametrize("refused", ["manifest.json", "SUCCEEDED_0.json"])
@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject"])
def test_fails_when_one_file_may_not_be_written(local: LocalAws, deploy: Deploy, refused: str, action: str) -> None:
    bucket = f"b{uuid.uuid4().hex[:16]}"
    local.client("s3").create_bucket(Bucket=bucket)
    place = {"Bucket": bucket, "Prefix": "out"}
    state = distributed("L", PASS, ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Parameters": place})

    def statements(name: str) -> list[Json]:
        return [
            allow("states:StartExecution", arn("stateMachine", name)),
            allow("s3:*", f"arn:aws:s3:::{bucket}/out/*"),
            allow(action, f"arn:aws:s3:::{bucket}/*/{refused}", "Deny"),
        ]

    name = deploy(state, statements)
    run = local.run(name, [1, 2])
    assert (run.status, run.error) == ("FAILED", "States.ResultWriterFailed")
    assert f"assumed-role/{name}/" in str(run.cause)
    assert f'is not authorized to perform: {action} on resource: "arn:aws:s3:::{bucket}/out/' in str(run.cause)
    assert f'/{refused}" with an explicit deny in an identity-based policy' in str(run.cause)
    give(local, name, statements(name)[:2])
    assert local.run(name, [1, 2]).status == "SUCCEEDED"


def test_results_need_no_more_than_to_put_get_and_list(local: LocalAws, deploy: Deploy) -> None:
    # Recorded on AWS, five times of five; its pages ask for the actions of uploads in parts too.
    bucket = f"b{uuid.uuid4().hex[:16]}"
    local.client("s3").create_bucket(Bucket=bucket)
    place = {"Bucket": bucket, "Prefix": "out"}
    name = deploy(
        distributed("L", PASS, ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Parameters": place}),
        lambda name: [
            allow("states:StartExecution", arn("stateMachine", name)),
            allow(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{bucket}/out/*"),
            allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"),
        ],
    )
    assert local.run(name, [1, 2]).status == "SUCCEEDED"


def nested() -> Json:
    return distributed("Outer", distributed("Inner", PASS))


def test_nested_maps_need_no_more_than_to_start_their_state_machine(local: LocalAws, deploy: Deploy) -> None:
    name = deploy(nested(), lambda name: [allow("states:StartExecution", arn("stateMachine", name))])
    run = local.run(name, [[1], [2]])
    assert (run.status, run.output) == ("SUCCEEDED", [[1], [2]])


@pytest.mark.parametrize("granted", ["{}/Outer", "{}/*", "{}-other"])
def test_fails_when_children_may_not_be_started(local: LocalAws, deploy: Deploy, granted: str) -> None:
    name = deploy(nested(), lambda name: [allow("states:*", arn("stateMachine", granted.format(name)))])
    run = local.run(name, [[1]])
    assert (run.status, run.error) == ("FAILED", "States.Runtime")
    assert f"perform: states:StartExecution on resource: {arn('stateMachine', name)} because" in str(run.cause)


@pytest.mark.parametrize("kind", ["STANDARD", "EXPRESS"])
def test_only_standard_children_need_a_permission_to_be_redriven(local: LocalAws, deploy: Deploy, kind: str) -> None:
    state = distributed("L", {"Type": "Fail", "Error": "Odd"})
    state["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] = kind
    name = deploy(state, lambda name: [allow("states:StartExecution", arn("stateMachine", name))])
    run = local.run(name, [1])
    assert run.error == "States.ExceedToleratedFailureThreshold"
    again = redriven(local, run)
    if kind == "EXPRESS":
        assert again.error == "States.ExceedToleratedFailureThreshold"
        return
    child = re.escape(arn("execution", f"{name}/L:")) + "[0-9a-f-]{36}"
    assert (again.status, again.error) == ("FAILED", "States.Runtime")
    assert re.search(f"perform: states:RedriveExecution on resource: {child} because", str(again.cause))


def test_a_role_that_may_redrive_does(local: LocalAws, deploy: Deploy) -> None:
    state = distributed("L", {"Type": "Fail", "Error": "Odd"})
    name = deploy(
        state,
        lambda name: [
            allow("states:StartExecution", arn("stateMachine", name)),
            allow("states:RedriveExecution", arn("execution", f"{name}/L:*")),
        ],
    )
    run = local.run(name, [1])
    assert redriven(local, run).error == "States.ExceedToleratedFailureThreshold"


def test_fails_when_a_version_may_not_be_read(local: LocalAws, deploy: Deploy) -> None:
    bucket, s3 = f"b{uuid.uuid4().hex[:16]}", local.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"[1]")["VersionId"]
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": bucket, "Key": "k", "VersionId": version},
    }

    def statements(name: str, *actions: str) -> list[Json]:
        start = allow("states:StartExecution", arn("stateMachine", name))
        return [start, allow(["s3:GetObject", *actions], f"arn:aws:s3:::{bucket}/k")]

    name = deploy(distributed("L", PASS, ItemReader=reader), statements)
    run = local.run(name)
    assert (run.status, run.error) == ("FAILED", "States.ItemReaderFailed")
    assert f'perform: s3:GetObjectVersion on resource: "arn:aws:s3:::{bucket}/k" because' in str(run.cause)
    give(local, name, statements(name, "s3:GetObjectVersion"))
    assert local.run(name).output == [1]


# -- what is not there


def sdk(action: str, **parameters: str) -> Json:
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::aws-sdk:s3:{action}",
        "Parameters": parameters,
        "End": True,
    }


def reading(bucket: str, key: str) -> Json:
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": bucket, "Key": key},
    }
    return distributed("L", PASS, ItemReader=reader)


RUNS = {"Condition": {"StringLike": {"s3:prefix": "runs/*"}}}
LISTS: dict[str, Json | None] = {"may list": {}, "may list runs": RUNS, "may not list": None}


@pytest.mark.parametrize(
    "way",
    [
        ("getObject", ("S3.NoSuchKeyException", "Status Code: 404"), ("S3.S3Exception", "Status Code: 403")),
        ("headObject", ("S3.NoSuchKeyException", "Status Code: 404"), ("S3.S3Exception", "Status Code: 403")),
        ("copyObject", ("S3.NoSuchKeyException", "Status Code: 404"), ("S3.S3Exception", "Status Code: 403")),
        ("reader", ("States.ItemReaderFailed", "404"), ("States.ItemReaderFailed", "s3:ListBucket")),
    ],
    ids=lambda way: str(way[0]),
)
@pytest.mark.parametrize("may", LISTS)
def test_only_a_role_that_may_list_is_told_that_an_object_is_missing(
    local: LocalAws, deploy: Deploy, way: tuple[str, Any, Any], may: str
) -> None:
    name, missing, denied = way
    listing = LISTS[may]
    bucket = f"b{uuid.uuid4().hex[:16]}"
    local.client("s3").create_bucket(Bucket=bucket)
    key = "runs/none"
    states = {
        "getObject": sdk("getObject", Bucket=bucket, Key=key),
        "headObject": sdk("headObject", Bucket=bucket, Key=key),
        "copyObject": sdk("copyObject", Bucket=bucket, Key="new", CopySource=f"{bucket}/{key}"),
        "reader": reading(bucket, key),
    }
    machine = deploy(
        states[name],
        lambda name: [
            allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/*"),
            allow("states:StartExecution", arn("stateMachine", name)),
            *([] if listing is None else [{**allow("s3:ListBucket", f"arn:aws:s3:::{bucket}"), **listing}]),
        ],
    )
    run = local.run(machine, {})
    error, cause = denied if listing is None else missing
    assert (run.status, run.error) == ("FAILED", error)
    assert cause in str(run.cause)
